"""Detecting the watermark: as it was embedded, then over scale and rotation."""
