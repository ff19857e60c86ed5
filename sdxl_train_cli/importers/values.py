"""Convert values of other programs' files to sd-scripts' types, and refuse harmful ones."""

from __future__ import annotations

import re

from sdxl_train_cli.recipe import Scalar, Value
from sdxl_train_cli.sdscripts import key_values, shipped

_TEXTS = re.compile(
    r"resolution|training_comment|metadata_.*|log_prefix|log_tracker_name|output_name|wandb_run_name|face_crop_aug_range"
    r"|block_lr|caption_.*fix|.*separator|huggingface_.*|dynamo_.*|sample_sampler|save_precision|mixed_precision"
)
"""Options whose value stays text even if it looks like a number."""
_WHOLE = re.compile(r"[-+]?[0-9]{1,18}")
_NUMBER = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]{1,4})?")
_PATH = re.compile(r"""(?:^|[\s=,;:("'])(?:[A-Za-z]:[\\/]|\\\\|~[\\/]|/[^/\s]+/|\.{1,2}[\\/]|file:)|%\w+%|\$\{?\w""")
_MOST = 10**18
_LONGEST_TEXT = 10_000


def convert(raw: object, option: str) -> Value | None:
    """The value for this option. None if empty. ValueError explains what is wrong."""
    if raw is None:
        return None
    if option in shipped.lists():
        return _list(raw, option)
    if isinstance(raw, list | tuple):
        raw = ",".join(str(_scalar(part, option)) for part in raw)
    return _scalar(raw, option)


def names_a_path(value: Value) -> bool:
    """Whether the value is a local path. A web address is not."""
    return any(
        isinstance(part, str) and _PATH.search(part) for part in (value if isinstance(value, tuple) else (value,))
    )


def number(raw: object) -> float | int | None:
    """A number, possibly written as text. None for anything else."""
    if isinstance(raw, bool):
        return None
    if isinstance(raw, str):
        raw = raw.strip()
        if _WHOLE.fullmatch(raw):
            return int(raw)
        raw = float(raw) if _NUMBER.fullmatch(raw) else None
    # Only a comparison: isfinite raises for integers beyond float range, and NaN compares false.
    return raw if isinstance(raw, int | float) and abs(raw) < _MOST else None


def switch(raw: object) -> bool:
    """Whether a raw value means yes."""
    return raw.strip().lower() in {"true", "yes", "on", "1"} if isinstance(raw, str) else bool(raw)


def split_words(raw: object) -> list[str]:
    """The parts of `"a=1" b=2`, split as kohya_ss does. A list is taken element by element."""
    parts = raw if isinstance(raw, list | tuple) else str(raw).replace('"', "").split()
    return [str(part).strip().strip("'\"") for part in parts if str(part).strip()]


def _list(raw: object, option: str) -> tuple[Scalar, ...] | None:
    parts: object = split_words(raw) if isinstance(raw, str) else raw if isinstance(raw, list | tuple) else [raw]
    found = []
    for part in parts if isinstance(parts, list | tuple) else ():
        one = _scalar(part, option)
        if one is not None:
            found.append(str(one) if option in key_values.OPTIONS else one)
    return tuple(found) or None


def _scalar(raw: object, option: str) -> Scalar | None:
    if isinstance(raw, bool):
        return raw
    if isinstance(raw, int | float):
        if number(raw) is None:
            raise ValueError("is not a number that training accepts")
        return raw
    if not isinstance(raw, str):
        raise ValueError("is not a plain value")  # noqa: TRY004 - the file is at fault, not the caller
    return _text(raw, option)


def _text(raw: str, option: str) -> Scalar | None:
    text = raw.strip()
    if not text:
        return None
    if len(text) > _LONGEST_TEXT or not all(char.isprintable() for char in text):
        raise ValueError("has line breaks or control characters, which no option accepts")
    if text.startswith("--"):
        raise ValueError("would be taken for an option, as it begins with --")
    if option in key_values.OPTIONS or _TEXTS.fullmatch(option):
        return text
    if text.lower() in {"true", "false"}:
        return text.lower() == "true"
    found = number(text)
    return text if found is None else found
