"""The commands about credentials, watermarks and keys."""
