"""Write a safetensors file with other metadata. Its tensors stay byte for byte."""

from __future__ import annotations

import hashlib
import json
import shutil
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from sdxl_train_cli import files
from sdxl_train_cli.errors import ModelError, UsageError
from sdxl_train_cli.sdscripts import checkpoint, model_spec

SPEC_HASH, MODEL_HASH, LEGACY_HASH = model_spec.HASH, "sshs_model_hash", "sshs_legacy_hash"
"""Hashes that metadata holds. The first two are of the tensors' bytes: Stability-AI's ModelSpec writes it behind 0x,
sd-scripts' addnet_hash_safetensors plain. The third is of a piece of the file that its ss_ keys shift."""
_TRAINING = "ss_"
_ALIGNMENT = 8
_PIECE_BYTES = 1 << 20
_METADATA = "__metadata__"


@dataclass(frozen=True)
class _Opened:
    """A file's header as it stands, and where its tensors begin."""

    entries: Mapping[str, Any]
    start: int


def write(source: Path, target: Path, metadata: Mapping[str, str]) -> dict[str, str]:
    """Write `source` with this metadata as `target`, whole or not at all. Returns the metadata as written.

    Hashes of the tensors are made true where the metadata has them, and left out where they can't be. ModelError if
    the source is no complete safetensors file, UsageError if the target can't be written.
    """
    told, head, start = rewritten_head(source, metadata)
    try:
        with files.made_whole(target) as made, files.open_plain(source) as read, made.open("xb") as out:
            out.write(head)
            read.seek(start)
            shutil.copyfileobj(read, out, _PIECE_BYTES)
    except OSError as error:
        raise UsageError(
            f"{target} can't be written: {error.strerror or error}", "free some space, or use -o"
        ) from error
    return told


def rewritten_head(
    source: Path, metadata: Mapping[str, str], digest: str | None = None
) -> tuple[dict[str, str], bytes, int]:
    """The metadata as `write` writes it, all that it puts before the tensors, and where they begin in the source.

    `digest` is the tensors' hash where it is known already.
    """
    before = dict(checkpoint.read_header(source).metadata)
    opened = _open(source)
    told = dict(metadata)
    if told.keys() & {SPEC_HASH, MODEL_HASH}:
        found = digest or tensors_hash(source, opened.start)
        told |= {key: value for key, value in ((SPEC_HASH, f"0x{found}"), (MODEL_HASH, found)) if key in told}
    if _training_keys(before) != _training_keys(told):
        told.pop(LEGACY_HASH, None)
    text = _header(opened.entries, told)
    return told, struct.pack("<Q", len(text)) + text, opened.start


def written_bytes(source: Path, metadata: Mapping[str, str]) -> int:
    """How large the file is going to be. ModelError as for `write`."""
    opened = _open(source)
    return 8 + len(_header(opened.entries, metadata)) + source.stat().st_size - opened.start


def tensors_hash(path: Path, start: int | None = None) -> str:
    """The SHA-256 of all that stands behind the header. ModelError if it is no complete safetensors file."""
    if start is None:
        checkpoint.read_header(path)
    digest = hashlib.sha256()
    with files.open_plain(path) as file:
        file.seek(_open(path).start if start is None else start)
        read: Callable[[], bytes] = lambda: file.read(_PIECE_BYTES)  # noqa: E731 - iter wants a function
        for piece in iter(read, b""):
            digest.update(piece)
    return digest.hexdigest()


def _open(path: Path) -> _Opened:
    try:
        with files.open_plain(path) as file:
            entries, start = _entries(file)
    except OSError as error:
        raise ModelError(f"{path} can't be read: {error.strerror}") from error
    return _Opened(entries, start)


def _entries(file: BinaryIO) -> tuple[dict[str, Any], int]:
    """The tensors' entries, and the first byte behind the header, which was read and found whole before."""
    (length,) = struct.unpack("<Q", file.read(8))
    found: Any = json.loads(file.read(length))
    found.pop(_METADATA, None)
    return found, 8 + length


def _header(entries: Mapping[str, Any], metadata: Mapping[str, str]) -> bytes:
    whole = {**({_METADATA: dict(metadata)} if metadata else {}), **entries}
    text = json.dumps(whole, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
    return text + b" " * (-len(text) % _ALIGNMENT)


def _training_keys(metadata: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in metadata.items() if key.startswith(_TRAINING)}
