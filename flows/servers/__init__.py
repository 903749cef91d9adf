"""Prefect's servers and processes as this program starts them: without the current folder, and never left behind."""
