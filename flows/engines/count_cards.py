"""Prints how many CUDA devices there are, in a process of its own: torch takes half a gigabyte of memory."""

import torch

print(torch.cuda.device_count())
