"""The scorers that are built in, one module each."""
