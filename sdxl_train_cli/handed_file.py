"""Say what a file is that was handed to a command which takes another kind, and which command takes it."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from sdxl_train_cli import files, formatting, untrusted_files
from sdxl_train_cli.errors import Problem, RecipeError

_HEAD_BYTES = 64 * 1024
_PICTURES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"II*\0", b"MM\0*")
_ARCHIVES = (b"7z\xbc\xaf", b"Rar!", b"\x1f\x8b", b"BZh", b"\xfd7zXZ")
_PICKLES = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
_NETWORK = re.compile(rb'"(?:lora_|lycoris_)[\w.]+"|\.(?:lora_(?:down|up|A|B)|hada_w1_a|lokr_w1)\b')
_EMBEDDING = re.compile(rb'"clip_[lg]" *:')
_CHECKPOINT = re.compile(rb'"(?:model\.diffusion_model\.|conditioner\.embedders\.|first_stage_model\.)')
_COMMENT = re.compile(r"(?im)^[ \t]*(?:#|::|rem[ \t]).*$")
_TEXTS = (
    ("web_page", re.compile(r"\A\s*<(?:!doctype|html)", re.IGNORECASE)),
    ("log", re.compile(
        r"Traceback \(most recent call last\)|^steps: *\d+%\||^ *num train images|^[\w./\\-]+\.py: error: "
        r"|^(?:\w+\.)*\w+(?:Error|Exception): ", re.MULTILINE)),
    ("script", re.compile(r"(?:^|[\\/\s\"'])sdxl_train(?:_network)?\.py(?=[\s\"',]|$)", re.MULTILINE)),
    ("accelerate", re.compile(r"^(?:compute_environment|distributed_type|fsdp_config):", re.MULTILINE)),
    ("other_trainer", re.compile(r"^job: *\w|^model_family *[:=]|^export MODEL_FAMILY=", re.MULTILINE)),
    ("dataset", re.compile(r"^\s*\[\[ *datasets", re.MULTILINE)),
    ("preset", re.compile(r"^(?:extends|network_dim|network_module|learning_rate|optimizer_type|train_batch_size) *:",
                          re.MULTILINE)),
    ("settings", re.compile(
        r"^\s*(?:network_module|network_dim|learning_rate|optimizer_type|max_train_steps|max_train_epochs|mixed_precision"
        r"|pretrained_model_name_or_path|train_mode|train_batch_size) *=", re.MULTILINE)),
    ("measured", re.compile(r"\A[^\n]*\bkind\b[^\n]*\bnetwork_module\b[^\n]*,")),
    ("prompts", re.compile(r"^[^-\n#][^\n]* --[nwhdsl] ", re.MULTILINE)),
)  # fmt: skip
"""Signs of texts, the surest first."""
_FORM = frozenset({"LoRA_type", "sdxl_checkbox", "training_method", "max_resolution", "lr_warmup", "network_module"})
_OF_PICTURES = frozenset({"caption", "tags", "text", "train_resolution", "image_path"})
_PICKLED = frozenset({".ckpt", ".pt", ".pth", ".bin"})
_CAPTIONS = frozenset({".txt", ".caption"})


@dataclass(frozen=True)
class FileKind:
    """One kind of file: what it is called, and what takes it."""

    words: str
    hint: str


@cache
def kinds() -> Mapping[str, FileKind]:
    """Every kind that is told apart, by name."""
    table = Path(__file__).with_name("handed_files.toml")
    found = untrusted_files.toml_table(table.read_text(encoding="utf-8"), table.name)
    return {name: FileKind(**row) for name, row in found.items() if isinstance(row, dict)}


def other_kind(path: Path, takes: str, wanted: str) -> Problem | None:
    """The problem with a file of another kind than those that a command takes, named in `takes`; else None.

    `wanted` is what the command takes, in words. A file that is not recognised is left to the command.
    """
    name = recognise(path)
    if name is None or name in takes.split():
        return None
    found = kinds()[name]
    hint = found.hint.format(file=formatting.shell_word(path), folder=formatting.shell_word(path.absolute().parent))
    return Problem(f"{path} is {found.words}, not {wanted}", hint)


def recognise(path: Path) -> str | None:
    """The name of a file's kind, by its content. None for one that is not known, or can't be read."""
    try:
        if files.is_folder(path):
            return "run" if files.is_file(path / "run.json") else None
        with files.open_plain(path) as file:
            head = file.read(_HEAD_BYTES)
    except (OSError, ValueError):
        return None
    binary = _of_bytes(head, path)
    if binary is not None or b"\0" in head[:8]:
        return binary
    try:
        text = untrusted_files.text_of(path, path.name)
    except RecipeError:
        text = head.decode("utf-8", errors="ignore")  # a log may be of any length
    return _of_text(text, path)


def _of_bytes(head: bytes, path: Path) -> str | None:
    if head.startswith(_PICTURES) or (head.startswith(b"RIFF") and head[8:12] == b"WEBP"):
        return "picture"
    if head[8:9] == b"{" and b"\0" in head[:8]:
        signs = (("network", _NETWORK), ("embedding", _EMBEDDING), ("checkpoint", _CHECKPOINT))
        return next((name for name, sign in signs if sign.search(head)), None)
    if head.startswith(b"PK\x03\x04"):
        return "pickle" if path.suffix.lower() in _PICKLED else _of_zip(path)
    return "archive" if head.startswith(_ARCHIVES) else "pickle" if head.startswith(_PICKLES) else None


def _of_zip(path: Path) -> str | None:
    """A zip of PyTorch is a pickle. None for one that is broken."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError):
        return None
    return "pickle" if any(name.endswith("data.pkl") for name in names) else "archive"


def _of_text(text: str, path: Path) -> str | None:
    if text.lstrip()[:1] in {"{", "["} and (found := _of_json(text)) is not None:
        return found
    text = _COMMENT.sub("", text)
    known = next((name for name, sign in _TEXTS if sign.search(text)), None)
    is_caption = known is None and path.suffix.lower() in _CAPTIONS and text.strip()
    return "caption" if is_caption else known


def _of_json(text: str) -> str | None:
    try:
        found = files.parse_json(text)
    except (ValueError, RecursionError):
        return None
    if isinstance(found, list):
        return "prompts" if any(isinstance(each, dict) and "prompt" in each for each in found) else None
    return _of_object(found) if isinstance(found, dict) and found else None


def _of_object(found: Mapping[str, object]) -> str | None:
    parts = [each for each in found.values() if isinstance(each, dict)]
    signs = (
        ("script", "nbformat" in found and isinstance(found.get("cells"), list)),
        ("workflow", {"nodes", "links"} <= found.keys() or any("class_type" in part for part in parts)),
        ("dataset", isinstance(found.get("datasets"), list)),
        ("settings", bool(found.keys() & _FORM)),
        ("other_trainer", all(key.startswith("--") for key in found) or bool({"model_family", "job"} & found.keys())),
        ("metadata", len(parts) == len(found) and all(part.keys() & _OF_PICTURES for part in parts)),
    )
    return next((name for name, is_so in signs if is_so), None)
