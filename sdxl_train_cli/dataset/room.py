"""Room for pixels: however many pictures are decoded at a time, together they take no more memory than this."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition

USUAL_PIXELS = 24_000_000
"""About 100 MB: Pillow keeps four bytes for each."""


class Room:
    """A picture waits until there is room for it; one that is larger than the room waits until it is alone."""

    def __init__(self, pixels: int = USUAL_PIXELS) -> None:
        self._all = self._free = pixels
        self._changed = Condition()

    @contextmanager
    def taken(self, pixels: int) -> Iterator[None]:
        """Take so many pixels for the time of the block."""
        wanted = min(pixels, self._all)
        with self._changed:
            self._changed.wait_for(lambda: self._free >= wanted)
            self._free -= wanted
        try:
            yield
        finally:
            with self._changed:
                self._free += wanted
                self._changed.notify_all()
