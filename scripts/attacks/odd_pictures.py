"""Hostile folders of pictures: names, kinds of file and contents that no camera makes."""

from __future__ import annotations

import contextlib
import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from attacks.attempt import Attempt

ROOM = 100
"""Bytes of a name that leave room for a path."""
ODD_NAMES = (
    b"10_cat",
    b"99999999999999999999_cat",
    b"-1_x",
    b"0_x",
    b"1_",
    b"_",
    b"\x1b]0;owned\x07",
    b"a\nb",
    b"a\rb",
    b"\xff\xfe",
    b"x" * 250,
    "\u00e9".encode() * 120,
    b" ",
    b"...",
    b".hidden",
    b"-rf",
    b"--help",
    b"1_\x1b[31m",
    b"con",
    b"a:b",
    b"a*b?",
    b"'",
    b'"',
    b"$(touch pwned)",
    b"`x`",
    b"[old]",
    b"{x}",
    b"%s",
    b"~",
    "\u202egnp".encode(),
    b"1" * 200 + b"_x",
    b"\x7f",
    "\uff11_x".encode(),
    b"1e5_x",
    b"01_x",
    b"1_2_3",
    b"a\tb",
    "\u0301".encode(),
    b"\xc2\x9b31m",
)


def pictures(attempt: Attempt) -> None:
    """A folder with odd names, odd files and odd pictures."""
    drawn, data = attempt.drawn, attempt.folder / "data"
    for _ in range(drawn.choice((1, 2, 4, 8))):
        folder = data
        if attempt.chance(0.4):
            folder = data / os.fsdecode(drawn.choice(ODD_NAMES))
        stem = os.fsdecode(drawn.choice((*ODD_NAMES, b"0", b"1", b"new")))
        suffix = drawn.choice((".png", ".jpg", ".PNG", ".webp", ".bmp", ".jpeg", ".avif", ".gif", ""))
        try:
            folder.mkdir(parents=True, exist_ok=True)
            odd_picture(attempt, folder / f"{stem}{suffix}")
            if attempt.chance(0.5):
                _odd_caption(
                    attempt, folder / f"{stem}{drawn.choice(('.txt', '.caption', '.npz', '_sdxl.npz', '.json'))}"
                )
        except (OSError, ValueError):
            continue
    attempt.call(looks("data", attempt))


def odd_picture(attempt: Attempt, path: Path) -> None:
    """Put anything where a picture is expected."""
    drawn = attempt.drawn
    content = io.BytesIO()
    mode = drawn.choice(("RGB", "RGBA", "L", "P", "1", "CMYK", "I;16", "F", "LA"))
    with contextlib.suppress(OSError, ValueError, KeyError):
        Image.new(mode, drawn.choice(_SIZES)).save(content, drawn.choice(("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP")))
    good, target = content.getvalue(), drawn.choice((path.name, "..", "nowhere", "../mine/novel.txt", "."))
    acts: tuple[Callable[[], object], ...] = (
        path.mkdir,
        lambda: os.mkfifo(path),
        lambda: path.symlink_to(target),
        lambda: path.write_bytes(b""),
        lambda: path.write_bytes(_png(*drawn.choice(_LIES))),
        lambda: path.write_bytes(attempt.spoiler.content(good)),
        lambda: path.write_bytes(good),
    )
    drawn.choices(acts, (1, 1, 1, 1, 2, 3, 3))[0]()


_LIES = ((2**31 - 1, 2**31 - 1), (20_000, 20_000), (1, 65_535), (0, 0), (30_000, 300))
_SIZES = ((64, 48), (1, 1), (1, 3000), (2000, 3), (512, 512), (1024, 768), (65, 63))


def _png(width: int, height: int) -> bytes:
    """A picture that says it is so large, and holds nothing."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", len(head)) + b"IHDR" + head + struct.pack(">I", zlib.crc32(b"IHDR" + head))
    data = zlib.compress(b"\0" * 100)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk
        + struct.pack(">I", len(data))
        + b"IDAT"
        + data
        + struct.pack(">I", zlib.crc32(b"IDAT" + data))
    )


def _odd_caption(attempt: Attempt, path: Path) -> None:
    """Put anything where a caption is expected."""
    long = (b" " * 500_000, b"(" * 50_000, b"cat, " * 100_000, b"\0" * 1000, b"x" * 2_000_000)
    acts: tuple[Callable[[], object], ...] = (
        lambda: os.mkfifo(path),
        path.mkdir,
        lambda: path.write_bytes(attempt.drawn.choice(long)),
        lambda: path.write_bytes(attempt.spoiler.lines("a photo of a cat, sitting, (red:1.2), [blue]\n", ",")),
    )
    attempt.drawn.choices(acts, (1, 1, 2, 4))[0]()


def looks(name: str, attempt: Attempt) -> list[list[str]]:
    """All that looks at a dataset of this name."""
    run = ["lora", "--model", "model.safetensors", "--data", name, "--no-vram-check", "--name", "new", "--steps", "3"]
    return [
        ["dataset", "check", name],
        ["dataset", "check", name, "--json"],
        ["dataset", "check", name, "--strict"],
        ["dataset", "show", name],
        ["dataset", "show", name, "--json"],
        ["dataset", "show", name, "--html", "page.html"],
        ["dataset", "fix", name, "--to", "fixed"],
        ["dataset", "fix", name, "--to", "fixed", "--trigger", "ohwx"],
        ["dataset", "caption", name],
        [*run, "--dry-run"],
        run if attempt.chance(0.2) else [*run, "--dry-run"],
        ["dataset", "check", name, "--trigger", "ohwx", "--reg", "data", "--repeats", "3"],
    ]
