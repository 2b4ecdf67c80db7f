"""The machine, in words that name neither it nor anything on it."""

import os
import platform
from pathlib import Path

import torch


def machine() -> str:
    """Its cores, memory, GPU, and the version of torch, in one line."""
    parts = (f"{len(os.sched_getaffinity(0))} cores of {_processor()}", _memory(), _gpu())
    return f"{', '.join(parts)}, torch {torch.__version__.split('+')[0]}"


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    told = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(told, platform.machine())


def _memory() -> str:
    return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB"


def _gpu() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
