"""Marking images of other programs, late timestamps, verdicts, and recovering stripped images."""
