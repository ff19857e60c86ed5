"""Which files sd-scripts takes for pictures, by name, and the nearest folder that holds some."""

from __future__ import annotations

import contextlib
import os
from collections import deque
from pathlib import Path

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
"""Suffixes that sd-scripts recognises (library/train_util.py: IMAGE_EXTENSIONS), in lower or upper case, not mixed."""
OTHER_PICTURES = (".gif", ".tif", ".tiff", ".heic", ".avif", ".jxl", ".psd")
MOST_FOLDERS = 10_000
"""Limit for inner folders to look into, in total."""
SYSTEM_FOLDERS = frozenset({"$recycle.bin", "system volume information", "lost+found", "found.000"})
"""Folders at the root of a drive that hold nobody's pictures, in lower case."""


def is_picture(path: Path) -> bool:
    """Whether sd-scripts treats it as a picture: by name only, even a broken link. Hidden files are skipped."""
    return is_picture_name(path.name)


def is_picture_name(name: str) -> bool:
    """Whether sd-scripts treats a file of this name as a picture."""
    return name.lower().endswith(PICTURE_SUFFIXES) and not name.startswith(".")


def is_own_folder(name: str) -> bool:
    """Whether a folder of this name may hold someone's pictures: it is neither hidden nor the system's."""
    return not name.startswith(".") and name.lower() not in SYSTEM_FOLDERS


class InnerFolders:
    """Looks for pictures below folders, nearest first, in a limited number of them. Links are not followed."""

    def __init__(self, most: int = MOST_FOLDERS) -> None:
        self._left = most

    def nearest(self, folder: Path) -> Path | None:
        """The nearest folder below that holds a picture itself; None if there is none, or too far away."""
        waiting = deque(_inside(folder))
        while waiting and self._left > 0:
            self._left -= 1
            here = waiting.popleft()
            if holds_pictures(here):
                return here
            waiting.extend(_inside(here))
        return None


def holds_pictures(folder: Path) -> bool:
    """Whether the folder holds a picture itself. No where it can't be listed."""
    with contextlib.suppress(OSError), os.scandir(folder) as found:
        return any(is_picture_name(entry.name) for entry in found)
    return False


def _inside(folder: Path) -> list[Path]:
    with contextlib.suppress(OSError), os.scandir(folder) as found:
        inner = [entry.path for entry in found if is_own_folder(entry.name) and entry.is_dir(follow_symlinks=False)]
        return list(map(Path, sorted(inner)))
    return []
