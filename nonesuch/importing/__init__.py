"""Importing folders of other programs' images into a catalog."""
