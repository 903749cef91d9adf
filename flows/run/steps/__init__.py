"""What happens to a drawn image: scores, marks, files, its catalog row."""
