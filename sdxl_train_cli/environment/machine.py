"""The computer that trains: its memory, swap, disks and the settings of its system that stop runs."""

from __future__ import annotations

import contextlib
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil

from sdxl_train_cli import gpu
from sdxl_train_cli.gpu import GIB, Gpu

if sys.platform == "win32":
    import winreg

_LIMIT, _CURRENT = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
"""What a container may take, and what it takes (Linux, cgroup v2)."""
_FILE_SYSTEM_KEY = r"SYSTEM\CurrentControlSet\Control\FileSystem"


@dataclass(frozen=True)
class Machine:
    """What a computer has. None where it can't be told."""

    system: str
    """As sys.platform: linux, win32, darwin."""
    gpus: tuple[Gpu, ...]
    free_memory_gib: float
    """With swap; in a container, at most what is left to it."""
    memory_gib: float
    swap_gib: float
    home_free_gib: float | None
    output_free_gib: float | None
    long_paths: bool | None
    """Whether Windows takes paths of more than 260 characters. None elsewhere."""


def look(home: Path, output: Path) -> Machine:
    """Look at this computer."""
    return Machine(
        system=sys.platform,
        gpus=gpu.devices(),
        free_memory_gib=free_bytes() / GIB,
        memory_gib=psutil.virtual_memory().total / GIB,
        swap_gib=psutil.swap_memory().total / GIB,
        home_free_gib=_disk_free_gib(home),
        output_free_gib=_disk_free_gib(output),
        long_paths=_takes_long_paths(),
    )


def free_bytes() -> int:
    """Memory and swap that are free to this process; in a container, at most what is left to it."""
    free = psutil.virtual_memory().available + psutil.swap_memory().free
    with contextlib.suppress(OSError, ValueError):  # no container, or one without a limit
        free = min(free, int(_LIMIT.read_text()) - int(_CURRENT.read_text()))
    return max(0, free)


def _disk_free_gib(folder: Path) -> float | None:
    """Free space on the disk of a folder, which need not exist yet."""
    with contextlib.suppress(OSError, StopIteration):
        existing = next(path for path in (folder, *folder.parents) if path.exists())
        return shutil.disk_usage(existing).free / GIB
    return None


def _takes_long_paths() -> bool | None:
    if sys.platform == "win32":
        with contextlib.suppress(OSError), winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, _FILE_SYSTEM_KEY) as key:
            return bool(winreg.QueryValueEx(key, "LongPathsEnabled")[0])
        return False
    return None
