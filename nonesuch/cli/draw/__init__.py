"""The commands that plan and draw."""
