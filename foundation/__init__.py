"""What every room stands on: the error root, atomic files, canonical JSON, safe image opening.

It imports none of the other rooms and nothing heavier than Pillow.
"""
