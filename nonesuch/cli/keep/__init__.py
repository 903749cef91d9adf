"""The commands that import, export, check and clean up."""
