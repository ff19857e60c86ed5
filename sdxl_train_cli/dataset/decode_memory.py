"""Limit the memory used for decoding: what one picture needs, and a shared budget for many at once.

All figures were measured with Pillow 12, as the growth of a process that decodes one picture.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

USUAL_BYTES = 100_000_000
LARGEST_BYTES = 850_000_000
"""Limit for a single picture, so that no command takes a GB."""
LARGEST_FILE = 1 << 30
"""File size limit in bytes. No picture that Pillow opens is larger."""
_BYTES_PER_PIXEL = {"WEBP": 17, "JPEG2000": 20, "AVIF": 11, "TIFF": 12, "GIF": 9}
"""For formats whose decoders keep copies of their own: a WebP is decoded into two canvases, and copied twice."""
_OF_PROGRESSIVE = 2
"""Bytes per pixel and channel of a progressive JPEG, which is kept in full at any decoding scale."""
_SLOW = {"bmp_rle", "ppm_plain"}
"""Decoders written in Python, which take minutes instead of seconds. Extra counted memory rules out large pictures."""
_OF_SLOW = 100
_NARROW = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16L": 2, "I;16B": 2}
_WIDE = 4


class TooLargeError(ValueError):
    """A picture would take too much memory or time. The message continues the words `it has`."""


class DecodeMemory:
    """Memory budget shared by threads. A picture waits until it fits; one larger than the budget waits to be alone."""

    def __init__(self, size: int = USUAL_BYTES) -> None:
        self._all = self._free = size
        self._changed = Condition()

    @contextmanager
    def reserve(self, size: int) -> Iterator[None]:
        """Reserve `size` bytes within the block."""
        wanted = min(size, self._all)
        with self._changed:
            self._changed.wait_for(lambda: self._free >= wanted)
            self._free -= wanted
        try:
            yield
        finally:
            with self._changed:
                self._free += wanted
                self._changed.notify_all()


def needed_bytes(image: Image, whole: tuple[int, int], work: int = 0) -> int:
    """Bytes needed to decode an opened picture. `whole` is its full size, before any draft made it smaller.

    `work` is the number of additional bytes per pixel for processing. TooLargeError names the limit in pixels.
    """
    own = _BYTES_PER_PIXEL.get(image.format or "") or (_OF_SLOW if _is_slow(image) else _NARROW.get(image.mode, _WIDE))
    kept = whole[0] * whole[1] * len(image.getbands()) * _OF_PROGRESSIVE if image.info.get("progressive") else 0
    needed = image.width * image.height * (own + work) + kept
    if needed > LARGEST_BYTES:
        pixels = whole[0] * whole[1] / 1e6
        limit = int(pixels * LARGEST_BYTES / needed)
        words = f"{pixels:.0f} million pixels; for a {image.format} like this the limit is {limit} million"
        raise TooLargeError(words)
    return needed


def _is_slow(image: Image) -> bool:
    return any(tile[0] in _SLOW for tile in getattr(image, "tile", ()))
