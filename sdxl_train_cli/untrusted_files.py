"""Read files from strangers within limits: text, JSON and TOML. Anything too large, too deep or doubtful is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import tomli
import tomli_w

from sdxl_train_cli import files
from sdxl_train_cli.errors import Problem, RecipeError

SIZE_LIMIT_BYTES = 1024 * 1024
_DEEPEST = 32
_MOST_SETTINGS = 5000
"""Ten times as many as the longest file of a known program."""


def text_of(path: Path, shown: str, largest_bytes: int = SIZE_LIMIT_BYTES) -> str:
    """The file as text. RecipeError if it is not text, or too large for its kind."""
    try:
        content = files.read_bytes(path, largest_bytes)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise RecipeError(Problem(f"cannot be read: {reason}", where=shown)) from error
    encoding = "utf-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"  # PowerShell's `>`
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise RecipeError(Problem("is not text in UTF-8", "save it as UTF-8", shown)) from error


def json_object(text: str, shown: str) -> dict[str, object]:
    """The keys of a JSON object. RecipeError if it is not one, repeats a key, or is nested absurdly."""
    try:
        found = files.parse_json(text, object_pairs_hook=files.reject_duplicate_keys)
        _count(found)
    except RecursionError as error:
        raise RecipeError(Problem("is nested too deeply", None, shown)) from error
    except ValueError as error:
        raise RecipeError(Problem(f"is not JSON: {error}", None, shown)) from error
    if not isinstance(found, dict):
        raise RecipeError(Problem("is JSON, but holds no settings", None, shown))
    return found


def toml_table(text: str, shown: str) -> dict[str, object]:
    """The keys of a TOML file. RecipeError if it is not one, or is nested absurdly."""
    try:
        found = tomli.loads(text.replace("\r\n", "\n"))
        _count(found)
    except RecursionError as error:
        raise RecipeError(Problem("is nested too deeply", None, shown)) from error
    except ValueError as error:  # absurdly long numbers, too
        raise RecipeError(Problem(f"is not TOML: {error}", None, shown)) from error
    return found


def toml_text(table: Mapping[str, object]) -> str:
    """A flat table as TOML."""
    return tomli_w.dumps(table)


def json_text(table: Mapping[str, object]) -> str:
    """An object as JSON, one key a line."""
    return json.dumps(table, indent=2, ensure_ascii=False) + "\n"


def require_settings(found: object, shown: str) -> None:
    """Raise RecipeError for more values than any settings file has: the report prints a row for each."""
    if _count(found) > _MOST_SETTINGS:
        raise RecipeError(
            Problem(f"holds over {_MOST_SETTINGS:,} values, more than any settings file has", where=shown)
        )


def _count(found: object, depth: int = 0) -> int:
    """Count the values. RecursionError if nested absurdly."""
    if depth > _DEEPEST:
        raise RecursionError
    parts = found.values() if isinstance(found, dict) else found if isinstance(found, list) else ()
    return 1 + sum(_count(part, depth + 1) for part in parts)
