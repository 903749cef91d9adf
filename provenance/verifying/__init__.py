"""The verdict on an image: gathering evidence, weighing it, in worker processes for folders."""
