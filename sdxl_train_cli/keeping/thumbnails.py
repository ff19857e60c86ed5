"""Small pictures as text that a page can hold."""

from __future__ import annotations

import base64
import io
from pathlib import Path

QUALITY = 80


def data_uri(picture: Path, side: int) -> str:
    """The picture as a WebP of at most `side` pixels, as a `data:` address; ValueError where it can't be read."""
    from PIL import Image  # noqa: PLC0415 - only a report pays for it

    try:
        with Image.open(picture) as image:
            small = image.convert("RGB")
            small.thumbnail((side, side))
            packed = io.BytesIO()
            small.save(packed, "WEBP", quality=QUALITY)
    except Exception as error:  # decoders: anything can come out of a broken file
        raise ValueError(f"{picture.name} can't be read") from error
    return "data:image/webp;base64," + base64.b64encode(packed.getvalue()).decode()
