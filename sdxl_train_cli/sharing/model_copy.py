"""The trained file with another header: the weights stay byte for byte. Read in pieces, so that 7 GB need no memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from sdxl_train_cli import files
from sdxl_train_cli.errors import ModelError
from sdxl_train_cli.lora_files import rewriting

_BLOCK_BYTES = 1 << 20
_SHORT, _SHORT_ADDNET = 10, 12


@dataclass(frozen=True)
class ModelHashes:
    """What model sites and image programs know a file by."""

    sha256: str
    """Of the whole file."""
    addnet: str
    """SHA-256 of what stands behind the header: sd-scripts' `sshs_model_hash`. The header can change, and it stays."""

    @property
    def auto_v2(self) -> str:
        """As model sites and A1111 show it for checkpoints."""
        return self.sha256[:_SHORT]

    @property
    def auto_v3(self) -> str:
        """As model sites show it, and A1111 writes it into pictures for a LoRA."""
        return self.addnet[:_SHORT_ADDNET]


@dataclass(frozen=True)
class ModelCopy:
    """A copy that is not written yet."""

    source: Path
    head: bytes
    """Its header, and the length of it in front."""
    data: int
    """Where the weights begin in the source."""
    size_bytes: int
    hashes: ModelHashes


def plan(source: Path, metadata: Mapping[str, str]) -> ModelCopy:
    """Read the whole file, and say what its copy will be. ModelError if it can't be read."""
    try:
        weights = rewriting.tensors_hash(source)
        _, head, data = rewriting.rewritten_head(source, metadata, weights)
        with files.open_plain(source) as file:
            whole = hashlib.sha256(head)
            size = len(head)
            for block in _blocks(file, data):
                whole.update(block)
                size += len(block)
    except OSError as error:
        raise ModelError(f"{source} can't be read: {error.strerror}") from error
    return ModelCopy(source, head, data, size, ModelHashes(whole.hexdigest(), weights))


def write(copy: ModelCopy, sink: BinaryIO) -> None:
    """Write it. OSError if that fails, ModelError if the source is no longer what it was."""
    written = hashlib.sha256(copy.head)
    sink.write(copy.head)
    with files.open_plain(copy.source) as file:
        for block in _blocks(file, copy.data):
            written.update(block)
            sink.write(block)
    if written.hexdigest() != copy.hashes.sha256:
        raise ModelError(f"{copy.source} has changed meanwhile", "share it once nothing writes to it")


def _blocks(file: BinaryIO, start: int) -> Iterator[bytes]:
    file.seek(start)
    while block := file.read(_BLOCK_BYTES):
        yield block
