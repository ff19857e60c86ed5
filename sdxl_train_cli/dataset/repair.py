"""One picture made what SDXL training takes: upright, sRGB, of one frame, no larger than needed. Writes nothing."""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from sdxl_train_cli.dataset.picture import SUFFIXES, formats, orientation
from sdxl_train_cli.errors import DatasetError, Problem

if TYPE_CHECKING:
    from PIL.Image import Image as Picture
    from PIL.ImageCms import ImageCmsProfile

LARGEST_PIXELS = 178_956_970
"""Of one picture, where Pillow itself stops: half a GB decoded, and as much again to work on it."""
_ALPHA_MODES = ("RGBA", "LA", "PA", "La", "RGBa")


class Alpha(str, Enum):
    """What becomes of transparency."""

    WHITE = "white"
    KEEP = "keep"


@dataclass(frozen=True)
class Wish:
    """What the pictures are for."""

    alpha: Alpha
    quality: int
    """Of JPEG files that are written anew, 1 to 100."""
    needed: Callable[[int, int], tuple[int, int]]
    """The size that a picture of this width and height may be shrunk to."""


@dataclass(frozen=True)
class Repaired:
    """What a picture has become."""

    suffix: str
    content: bytes | None
    """None where the file is right as it is, byte for byte."""
    did: tuple[str, ...]
    """In words, one for each change to what the picture shows."""


def repair(path: Path, wish: Wish) -> Repaired:
    """Decode every byte, and change what must be changed; DatasetError where it can't be read."""
    from PIL import Image  # noqa: PLC0415 - only a look at pictures pays for it

    with _decoding(path), Image.open(path, formats=formats()) as image:
        return _repaired(image, path, wish)


def require_readable(path: Path) -> None:
    """Decode every byte; DatasetError where that can't be done."""
    from PIL import Image  # noqa: PLC0415 - only a look at pictures pays for it

    with _decoding(path), Image.open(path, formats=formats()) as image:
        image.load()


@contextlib.contextmanager
def _decoding(path: Path) -> Iterator[None]:
    from PIL import Image, UnidentifiedImageError  # noqa: PLC0415 - only a look at pictures pays for it

    try:
        yield
    except UnidentifiedImageError as error:
        raise DatasetError(f"{path} is not a picture that can be read") from error
    except Image.DecompressionBombError as error:
        raise _too_large(path) from error
    except DatasetError:
        raise
    except MemoryError as error:
        raise DatasetError(f"{path} takes more memory than there is", "shrink it in a picture editor") from error
    except Exception as error:  # decoders of a dozen formats: anything can come out of a broken file
        reason = isinstance(error, OSError) and error.strerror
        raise DatasetError(f"{path} can't be read: {reason or error}") from error


def _too_large(path: Path) -> DatasetError:
    limit = f"{LARGEST_PIXELS / 1e6:.0f} million"
    return DatasetError(Problem(f"{path} has more than {limit} pixels", "shrink it in a picture editor"))


def _repaired(image: Picture, path: Path, wish: Wish) -> Repaired:
    if image.width * image.height > LARGEST_PIXELS:
        raise _too_large(path)
    form, frames = str(image.format), getattr(image, "n_frames", 1)
    did = [] if frames == 1 or form == "MPO" else [f"kept the first of {frames} frames"]
    sideways = orientation(image)
    width, height = image.size if sideways <= 4 else image.size[::-1]  # noqa: PLR2004 - EXIF: 5 to 8 lie on their side
    size = wish.needed(width, height)
    if size != (width, height) and form in {"JPEG", "MPO"}:
        image.draft(None, (2 * max(size), 2 * max(size)))  # decodes at half or a quarter: as good, and much less memory
    image.load()
    steps = (lambda one: _upright(one, sideways), _eight_bits, _in_srgb, lambda one: _opaque(one, wish.alpha), _in_rgb)
    changed = image
    for step in steps:
        changed, words = step(changed)
        did += [words] if words else []
    if size not in {changed.size, (width, height)}:
        did.append(f"shrunk from {width}x{height} to {size[0]}x{size[1]}")
        changed = changed.resize(size, resample=1)  # Lanczos
    if form not in SUFFIXES:
        did.append(f"{form} became PNG")
    if not did:
        suffix = path.suffix.lower()
        return Repaired(suffix if suffix in SUFFIXES[form] else SUFFIXES[form][0], None, ())
    return _encoded(changed, form, did, wish.quality)


def _encoded(image: Picture, form: str, did: list[str], quality: int) -> Repaired:
    clean = image.copy() if image.info else image
    clean.info = {}  # no profile, orientation or palette of before
    content = io.BytesIO()
    if form in {"JPEG", "MPO"} and image.mode == "RGB":
        clean.save(content, "JPEG", quality=quality, subsampling=0, optimize=True)
        return Repaired(".jpg", content.getvalue(), tuple(did))
    clean.save(content, "PNG")
    return Repaired(".png", content.getvalue(), tuple(did))


def _upright(image: Picture, turned: int) -> tuple[Picture, str | None]:
    from PIL.Image import Transpose  # noqa: PLC0415 - as above

    turns = {2: Transpose.FLIP_LEFT_RIGHT, 3: Transpose.ROTATE_180, 4: Transpose.FLIP_TOP_BOTTOM,
             5: Transpose.TRANSPOSE, 6: Transpose.ROTATE_270, 7: Transpose.TRANSVERSE,
             8: Transpose.ROTATE_90}  # fmt: skip
    if turned == 1:
        return image, None
    return _with_info(image.transpose(turns[turned]), image), "turned upright as EXIF says"


def _eight_bits(image: Picture) -> tuple[Picture, str | None]:
    if not image.mode.startswith(("I", "F")):
        return image, None
    wide = image.convert("F")
    least, most = wide.getextrema()
    least, most = float(least), float(most)  # type: ignore[arg-type]  # of one band
    if not (math.isfinite(least) and math.isfinite(most)):
        raise DatasetError(f"{getattr(image, 'filename', 'it')} holds pixels that are no numbers")
    scale = 1.0 if image.mode == "I" and most <= 255 else 1 / 256 if image.mode.startswith("I") else 255 / (most or 1)  # noqa: PLR2004
    return _with_info(wide.point(lambda value: value * scale + 0).convert("L"), image), f"{image.mode} became 8 bits"


def _in_srgb(image: Picture) -> tuple[Picture, str | None]:
    """Apply the colour profile; sd-scripts would read the numbers as sRGB whatever they mean."""
    from PIL import ImageCms  # noqa: PLC0415 - as above

    profile = image.info.get("icc_profile")
    if not profile:
        return image, None
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        name = ImageCms.getProfileDescription(source).strip()
        if "srgb" in name.lower():
            return image, None
        return _with_info(_transformed(image, source), image), f"colours from {name or 'a profile'} to sRGB"
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image, None  # a broken profile says nothing: sd-scripts passes over it too


def _transformed(image: Picture, source: ImageCmsProfile) -> Picture:
    from PIL import ImageCms  # noqa: PLC0415 - as above

    alpha = image.convert("RGBA").getchannel("A") if _has_alpha(image) else None
    plain = image.convert("RGB") if alpha is not None or image.mode not in {"RGB", "L", "CMYK", "LAB"} else image
    target = ImageCms.createProfile("sRGB")
    changed = ImageCms.profileToProfile(plain, source, ImageCms.ImageCmsProfile(target), outputMode="RGB")
    if changed is None:
        raise ValueError(source)
    if alpha is not None:
        changed.putalpha(alpha)
    return changed


def _opaque(image: Picture, alpha: Alpha) -> tuple[Picture, str | None]:
    from PIL import Image  # noqa: PLC0415 - as above

    if not _has_alpha(image):
        return image, None
    full = image.convert("RGBA")
    least, _ = full.getchannel("A").getextrema()
    if least == 255 and image.mode == "RGBA":  # noqa: PLR2004 - opaque, as sd-scripts will read it
        return image, None
    if alpha is Alpha.KEEP:
        return full, None if image.mode == "RGBA" else f"{image.mode} became RGBA"
    ground = Image.new("RGBA", full.size, "white")
    return Image.alpha_composite(ground, full).convert("RGB"), "transparency laid on white"


def _in_rgb(image: Picture) -> tuple[Picture, str | None]:
    if image.mode in {"RGB", "RGBA", "L"}:  # sd-scripts makes RGB of L without loss
        return image, None
    return image.convert("RGB"), f"{image.mode} became RGB"


def _has_alpha(image: Picture) -> bool:
    return image.mode in _ALPHA_MODES or "transparency" in image.info


def _with_info(image: Picture, before: Picture) -> Picture:
    image.info = {key: before.info[key] for key in ("icc_profile", "transparency") if key in before.info}
    return image
