"""What other programs say of their images, in the sweep file's own words: AUTOMATIC1111's parameters, ComfyUI's graph."""
