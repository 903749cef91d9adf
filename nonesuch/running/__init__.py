"""Starting flows from Python or the command line, and their metrics for monitoring."""
