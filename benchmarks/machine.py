"""What every benchmark says of where and when it ran."""

from __future__ import annotations

import os
import platform
from datetime import date
from pathlib import Path


def machine() -> str:
    """The kind of machine in a few words: processor, cores this process may use, accelerator."""
    name = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []:
        if line.startswith("model name"):
            name = line.split(":", 1)[1].strip()
            break
    cores = len(os.sched_getaffinity(0))
    return f"{name}, {platform.machine()}, {cores} core{'s' if cores != 1 else ''}, {_accelerator()}"


def _accelerator() -> str:
    import torch

    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else "no GPU"


def today() -> str:
    """ISO date."""
    return date.today().isoformat()
