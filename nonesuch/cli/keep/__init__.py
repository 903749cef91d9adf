"""The commands that bring in, take out and keep in shape."""
