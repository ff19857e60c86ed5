"""Convert one picture to what SDXL training needs: upright, sRGB, one frame, no larger than needed. Writes nothing."""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from PIL import Image, ImageCms, UnidentifiedImageError
from PIL.Image import Image as Picture
from PIL.Image import Transpose
from PIL.ImageCms import ImageCmsProfile

from sdxl_train_cli.dataset.decode_memory import DecodeMemory, TooLargeError, needed_bytes
from sdxl_train_cli.dataset.picture import SUFFIXES, formats, is_opaque, open_file, orientation, strips
from sdxl_train_cli.errors import DatasetError

_WORK = 12
"""Bytes per pixel used besides the decoded picture: three copies."""
_EDITOR = "shrink it in a picture editor"
_ALPHA_MODES = ("RGBA", "LA", "PA", "La", "RGBa")


class Alpha(str, Enum):
    """How to handle transparency."""

    WHITE = "white"
    KEEP = "keep"


class UnusablePictureError(DatasetError):
    """A picture that can't be decoded completely, or contains nothing to train on."""

    def __init__(self, path: Path, reason: str, hint: str | None = None) -> None:
        super().__init__(f"{path} {reason}", hint)
        self.reason = reason
        """In words that can follow the picture's name."""


class _NoNumbersError(ValueError):
    """Pixel values that no picture can have."""


@dataclass(frozen=True)
class RepairOptions:
    """How to convert pictures."""

    alpha: Alpha
    quality: int
    """Quality of rewritten JPEG files, 1 to 100."""
    needed: Callable[[int, int], tuple[int, int]]
    """Returns the size that a picture of this width and height may be shrunk to."""


@dataclass(frozen=True)
class RepairedPicture:
    """Result of a repair."""

    suffix: str
    content: bytes | None
    """The new file's bytes. None if the original is fine as it is."""
    did: tuple[str, ...]
    """Descriptions of the changes that are visible in the picture."""


def repair(path: Path, options: RepairOptions, memory: DecodeMemory | None = None) -> RepairedPicture:
    """Decode the picture completely and make the necessary changes. UnusablePictureError if it can't be read."""
    with _opened(path) as image:
        return _repaired(image, path, options, memory or DecodeMemory())


def require_readable(path: Path, memory: DecodeMemory | None = None) -> None:
    """Decode every byte. UnusablePictureError if that fails."""
    with _opened(path) as image:
        whole = image.size
        image.draft(None, (1, 1))
        with (memory or DecodeMemory()).reserve(needed_bytes(image, whole)), contextlib.closing(image):
            image.load()


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Picture]:
    """Open the picture, reading only its header. Any error within the block becomes UnusablePictureError."""
    try:
        with open_file(path) as file, Image.open(file, formats=formats()) as image:
            yield image
    except TooLargeError as error:
        raise UnusablePictureError(path, f"has {error}", _EDITOR) from error
    except UnidentifiedImageError as error:
        raise UnusablePictureError(path, "is not a readable picture") from error
    except Image.DecompressionBombError as error:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0) / 1e6
        raise UnusablePictureError(path, f"has more than {limit:.0f} million pixels", _EDITOR) from error
    except _NoNumbersError as error:
        raise UnusablePictureError(path, "holds pixels that are not numbers") from error
    except MemoryError as error:
        raise UnusablePictureError(path, "needs more memory than there is", _EDITOR) from error
    except Exception as error:  # a dozen decoders raise anything on a broken file
        reason = isinstance(error, OSError) and error.strerror
        raise UnusablePictureError(path, f"can't be read: {reason or error}") from error


def _repaired(image: Picture, path: Path, options: RepairOptions, memory: DecodeMemory) -> RepairedPicture:
    form, frames = str(image.format), getattr(image, "n_frames", 1)
    did = [] if frames == 1 or form == "MPO" else [f"kept the first of {frames} frames"]
    whole = image.size
    shrunk = max(options.needed(*whole))
    if shrunk < max(whole) and form in {"JPEG", "MPO"}:
        image.draft(None, (2 * shrunk, 2 * shrunk))  # decodes at half or a quarter size: same quality, much less memory
    factor = min(image.width, image.height) // (2 * shrunk)
    with memory.reserve(needed_bytes(image, whole, 0 if factor > 1 else _WORK)), contextlib.closing(image):
        image.load()
        sideways = orientation(image)  # a PNG may have it at its end
        width, height = whole if sideways <= 4 else whole[::-1]  # noqa: PLR2004 - EXIF: 5 to 8 lie on their side
        size = options.needed(width, height)
        smaller, said = _reduced(image, factor) if factor > 1 else (image, [])
        changed, words = _changed(smaller, sideways, (width, height), size, options.alpha)
        return _made(changed, form, path, [*did, *said, *words], options.quality)


def _changed(
    image: Picture, sideways: int, before: tuple[int, int], size: tuple[int, int], alpha: Alpha
) -> tuple[Picture, list[str]]:
    did = list[str]()
    steps = (lambda one: _upright(one, sideways), _eight_bits, _in_srgb, lambda one: _opaque(one, alpha), _in_rgb)
    changed = image
    for step in steps:
        changed, words = step(changed)
        did += [words] if words else []
    if size not in {changed.size, before}:
        did.append(f"shrunk from {before[0]}x{before[1]} to {size[0]}x{size[1]}")
        changed = changed.resize(size, resample=1)  # Lanczos
    return changed, did


def _reduced(image: Picture, factor: int) -> tuple[Picture, list[str]]:
    """Shrink by an integer factor, strip by strip. A JPEG's decoder does it; for all other formats we do."""
    rows = max(1, next(strips(image))[3] // factor) * factor
    whole: Picture | None = None
    did: str | None = None
    for top in range(0, image.height, rows):
        strip = image.crop((0, top, image.width, min(image.height, top + rows)))
        if image.mode.startswith("I;16"):
            strip, did = _eight_bits(strip)
        elif "transparency" in image.info or image.mode in {"PA", "La", "RGBa"}:
            strip = strip.convert("RGBA")
        elif image.mode in {"P", "1"}:
            strip = strip.convert("RGB" if image.mode == "P" else "L")
        if whole is None:  # before the first one: permanent allocations must not fragment freed memory
            whole = Image.new(strip.mode, (-(-image.width // factor), -(-image.height // factor)))
        whole.paste(strip.reduce(factor), (0, top // factor))
    found = whole or image
    found.info = {key: image.info[key] for key in ("icc_profile",) if key in image.info}
    return found, [did] if did else []


def _made(changed: Picture, form: str, path: Path, did: list[str], quality: int) -> RepairedPicture:
    if form not in SUFFIXES:
        did.append(f"{form} became PNG")
    if not did:
        suffix = path.suffix.lower()
        return RepairedPicture(suffix if suffix in SUFFIXES[form] else SUFFIXES[form][0], None, ())
    return _encoded(changed, form, did, quality)


def _encoded(image: Picture, form: str, did: list[str], quality: int) -> RepairedPicture:
    clean = image.copy() if image.info else image
    clean.info = {}  # drop the old profile, orientation and palette
    content = io.BytesIO()
    if form in {"JPEG", "MPO"} and image.mode == "RGB":
        clean.save(content, "JPEG", quality=quality, subsampling=0, optimize=True)
        return RepairedPicture(".jpg", content.getvalue(), tuple(did))
    clean.save(content, "PNG")
    return RepairedPicture(".png", content.getvalue(), tuple(did))


def _upright(image: Picture, turned: int) -> tuple[Picture, str | None]:
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
        raise _NoNumbersError
    scale = 1.0 if image.mode == "I" and most <= 255 else 1 / 256 if image.mode.startswith("I") else 255 / (most or 1)  # noqa: PLR2004
    return _with_info(wide.point(lambda value: value * scale + 0).convert("L"), image), f"{image.mode} became 8 bits"


def _in_srgb(image: Picture) -> tuple[Picture, str | None]:
    """Apply the colour profile. sd-scripts would take the numbers as sRGB whatever they mean."""
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
        return image, None  # ignore a broken profile, as sd-scripts does


def _transformed(image: Picture, source: ImageCmsProfile) -> Picture:
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
    if not _has_alpha(image):
        return image, None
    full = image if image.mode == "RGBA" else image.convert("RGBA")
    if image.mode == "RGBA" and is_opaque(full):  # as sd-scripts will read it
        return image, None
    if alpha is Alpha.KEEP:
        return full, None if image.mode == "RGBA" else f"{image.mode} became RGBA"
    laid = Image.new("RGB", full.size)
    for box in strips(full):
        strip = full.crop(box)
        laid.paste(Image.alpha_composite(Image.new("RGBA", strip.size, "white"), strip).convert("RGB"), box)
    return laid, "transparency laid on white"


def _in_rgb(image: Picture) -> tuple[Picture, str | None]:
    if image.mode in {"RGB", "RGBA", "L"}:  # sd-scripts converts L to RGB without loss
        return image, None
    return image.convert("RGB"), f"{image.mode} became RGB"


def _has_alpha(image: Picture) -> bool:
    return image.mode in _ALPHA_MODES or "transparency" in image.info


def _with_info(image: Picture, before: Picture) -> Picture:
    image.info = {key: before.info[key] for key in ("icc_profile", "transparency") if key in before.info}
    return image
