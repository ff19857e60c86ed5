"""Files of torch's own format, which can hold code that loading runs: what they would call, told without loading them.

A state to go on from and older weights are such files. Newer torch refuses what is odd in them, older torch runs it.
"""

from __future__ import annotations

import pickletools
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from sdxl_train_cli import files

SUFFIXES = (".ckpt", ".pt", ".pth", ".bin", ".pkl")
"""Whatever else a file is called, sd-scripts reads it as safetensors or not at all."""
_HARMLESS = re.compile(
    r"collections (OrderedDict|defaultdict|Counter|deque)|_codecs encode"
    r"|(builtins|__builtin__) (set|frozenset|list|dict|tuple|int|float|complex|bool|bytes|bytearray|str|slice|object)"
    r"|numpy\.(_?core\.)?multiarray (_reconstruct|scalar)|numpy (ndarray|dtype)|numpy\.dtypes \w+"
    r"|torch\._utils _rebuild_\w+|torch\._tensor _rebuild_from_type_v2|torch\.serialization _get_layout"
    r"|torch\.storage (TypedStorage|UntypedStorage)|torch(\.cuda)? \w+Storage"
    r"|torch (Size|device|Tensor|Generator|[a-z]+\d+(_\w+)?|float|double|half|int|long|short|bool|strided)"
    r"|torch\.nn\.parameter (Parameter|Buffer)"
)
"""What weights, an optimizer's and a scheduler's state and random numbers are made of."""
_ZIP = b"PK\x03\x04"
_MOST_BYTES = 256 * 1024 * 1024
"""Of the part that can hold code; tensors stand elsewhere in the file."""


def foreign_code(path: Path) -> str | None:
    """The first thing that loading the file would call and that no trainer's file needs; None where there is none.

    What is no such file at all can't be loaded, and so calls nothing. OSError where it can't be read.
    """
    with files.open_plain(path) as file:
        start = file.read(len(_ZIP))
        file.seek(0)
        if start == _ZIP:
            return next(_in_archive(file), None)
        return next(_called(file), None)  # before torch 1.6: one pickle after another


def _in_archive(file: IO[bytes]) -> Iterator[str]:
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
            if len(set(names)) != len(names):
                yield "two parts of one name"  # readers differ in which they take
            for name in names:
                folder, _, last = name.rpartition("/")
                if last == "constants.pkl" or "/code/" in f"/{folder}/":
                    yield f"a program ({name})"
                if last.endswith(".pkl"):
                    if archive.getinfo(name).file_size > _MOST_BYTES:
                        yield f"a part of {archive.getinfo(name).file_size:,} bytes ({name})"
                        return
                    with archive.open(name) as part:
                        yield from _called(part)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError):
        yield "an archive that can't be looked into"


def _called(file: IO[bytes]) -> Iterator[str]:
    """What pickles that stand one after another call, up to where they are none any more."""
    try:
        while True:
            for operation, argument, _ in pickletools.genops(file):
                if operation.name in {"GLOBAL", "INST"}:
                    if not _HARMLESS.fullmatch(str(argument)):
                        yield ".".join(str(argument).split())
                elif operation.name in {"STACK_GLOBAL", "EXT1", "EXT2", "EXT4"}:
                    yield "code whose name is put together"  # torch writes none such
    except (ValueError, EOFError, KeyError, IndexError, MemoryError, OverflowError):
        return  # where reading it would end too
