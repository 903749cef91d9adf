"""The catalog's files: parts, locks, indexes, rewriting, retention, and outputs at a URL."""
