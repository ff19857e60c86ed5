"""Thumbnails as text for embedding into a page."""

from __future__ import annotations

import base64
import io
import os
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

from sdxl_train_cli.dataset.decode_memory import DecodeMemory, needed_bytes

QUALITY = 80
_LEAST_SIDE = 16


def data_uri(
    picture: Path, side: int, quality: int = QUALITY, most: int | None = None, memory: DecodeMemory | None = None
) -> str:
    """The picture as a WebP of at most `side` pixels, as a `data:` URL. ValueError if it can't be read.

    It is oriented as stored, ignoring EXIF, and transparent parts show the colour below, as sd-scripts sees it. If the
    URL exceeds `most` characters, the picture is shrunk.
    """
    try:
        with Image.open(picture) as image:
            whole = image.size
            image.draft("RGB", (2 * side, 2 * side))  # decode a JPEG only as large as needed
            with (memory or DecodeMemory()).reserve(needed_bytes(image, whole)):
                if image.mode != "RGB":  # a needless second copy would double the memory
                    image.thumbnail((4 * side, 4 * side), Image.Resampling.NEAREST, reducing_gap=None)
                small = image if image.mode == "RGB" else image.convert("RGB")
                small.thumbnail((side, side))  # frees the full-size picture
            found = _packed(small, quality)
            while most is not None and len(found) > most and side > _LEAST_SIDE:
                side = side * 7 // 10
                small.thumbnail((side, side))
                found = _packed(small, quality)
    except Exception as error:  # decoders raise anything on a broken file
        raise ValueError(f"{picture.name} can't be read") from error
    return found


def _packed(image: Image.Image, quality: int) -> str:
    packed = io.BytesIO()
    image.save(packed, "WEBP", quality=quality)
    return "data:image/webp;base64," + base64.b64encode(packed.getvalue()).decode()


def data_uris(
    pictures: Sequence[Path], side: int, quality: int, most: int, memory: DecodeMemory | None = None
) -> Iterator[str | None]:
    """Thumbnails in order, made on all cores, as the decoders release the GIL. None for an unreadable picture."""

    def made(picture: Path) -> str | None:
        try:
            return data_uri(picture, side, quality, most, memory)
        except ValueError:
            return None

    pool = ThreadPoolExecutor(os.cpu_count() or 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # warnings about odd pictures, which are shown anyway
            yield from pool.map(made, pictures)
    finally:
        pool.shutdown(cancel_futures=True)  # don't wait for the rest after Ctrl-C
