"""Where an image came from: watermark, XMP, credentials, keys, foreign metadata, verdicts.

`marking.mark_image` gives a drawn picture its marks; `verify.verify_file` questions any picture.
"""
