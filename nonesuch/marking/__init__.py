"""Marking images of other programs, late timestamps, and recovering stripped images."""
