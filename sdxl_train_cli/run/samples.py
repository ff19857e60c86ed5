"""Find a run's sample pictures as they appear, and detect blank ones."""

from __future__ import annotations

import contextlib
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from sdxl_train_cli import files

_MOST_PIXELS = 32_000_000
"""More than any sample has. A larger picture would exhaust the supervisor's memory."""
SUFFIXES = {".png", ".jpg", ".jpeg", ".webp"}


class NewSamples:
    """New sample pictures in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known = set(_pictures(folder))

    def new(self) -> list[Path]:
        """Pictures that have appeared since the last call, oldest first."""
        found = [path for path in _pictures(self._folder) if path not in self._known]
        self._known.update(found)
        return found


def _pictures(folder: Path) -> list[Path]:
    with contextlib.suppress(OSError):
        return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    return []


def color_spread(path: Path) -> int | None:
    """Largest brightness difference within a colour channel, 0 to 255. None if unreadable (yet)."""
    try:
        with files.open_plain(path) as file, Image.open(file) as picture:
            if picture.width * picture.height > _MOST_PIXELS:
                return None
            bands = picture.convert("RGB").getextrema()
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    return max(int(band[1]) - int(band[0]) for band in bands if isinstance(band, tuple))
