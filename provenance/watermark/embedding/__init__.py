"""Embedding the watermark into an image."""
