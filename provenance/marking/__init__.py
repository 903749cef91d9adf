"""Writing marks into an image: watermark, XMP packet, encoding, manifest."""
