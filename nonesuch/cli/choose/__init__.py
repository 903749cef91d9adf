"""The commands that choose from a catalog."""
