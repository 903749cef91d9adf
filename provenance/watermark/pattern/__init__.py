"""The watermark's pattern: its carriers, its code, the error bounds that follow."""
