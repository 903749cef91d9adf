"""Putting the mark into an image."""
