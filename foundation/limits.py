"""Limits on how much of an untrusted file is read and decoded."""

MAX_BYTES = 256 << 20  # largest file that is read
MAX_PIXELS = 120_000_000  # largest image that is decoded: 360 MB as RGB
