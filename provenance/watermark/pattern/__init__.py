"""The mark itself: its carriers, its code, the error bounds that follow."""
