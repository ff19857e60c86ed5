"""Options that take a number, a size or one of a few words: each says in words what it takes."""

from __future__ import annotations

import math
import re
from enum import Enum
from typing import Any, TypeVar

import typer

from sdxl_train_cli import formatting
from sdxl_train_cli.errors import UsageError

LARGEST = 2**32 - 1
"""Limit for all counts: no seed is larger, and Python can't divide a number of 400 digits."""
_SIZE = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*(?:(g|m)(?:i?b)?)?", re.IGNORECASE)
_MIB = 1024
Choice = TypeVar("Choice", bound=Enum)


def whole(
    flag: str,
    *short: str,
    about: str,
    metavar: str = "COUNT",
    least: int = 1,
    most: int = LARGEST,
    panel: str | None = None,
) -> Any:  # noqa: ANN401 - typer's
    """An option that takes a whole number."""

    def parse(text: object) -> int:
        return whole_number(flag, text, least, most)

    return typer.Option(flag, *short, parser=parse, metavar=metavar, help=about, rich_help_panel=panel)


def whole_number(flag: str, text: object, least: int, most: int = LARGEST) -> int:
    """The whole number that was typed. UsageError if it is none, or out of range."""
    typed = str(text).strip()
    if not re.fullmatch(r"[+-]?[0-9]+", typed):
        raise UsageError(
            f"{flag} takes a whole number, not '{formatting.cut(typed)}'", f"such as {flag} {max(least, 4)}"
        )
    negative, digits = typed.startswith("-"), typed.lstrip("+-").lstrip("0")
    if (negative and digits) or (not negative and len(digits) <= len(str(most)) and int(digits or 0) < least):
        raise UsageError(f"{flag} takes {least} or more, not {formatting.cut(typed)}", f"{flag} {least}")
    if len(digits) > len(str(most)) or int(digits or 0) > most:
        raise UsageError(f"{flag}: the largest number allowed is {most}", f"{flag} {most}")
    return int(digits or 0)


def number(
    flag: str,
    *,
    about: str,
    metavar: str,
    example: str,
    least: float = 0,
    most: float = math.inf,
    panel: str | None = None,
) -> Any:  # noqa: ANN401 - typer's
    """An option that takes a number."""

    def parse(text: object) -> float:
        try:
            found = float(str(text))
        except ValueError:
            found = math.nan
        if not math.isfinite(found):
            raise UsageError(f"{flag} takes a number, not '{formatting.cut(str(text))}'", f"such as {flag} {example}")
        if not least <= found <= most:
            bounds = f"{least:g} or more" if most == math.inf else f"{least:g} to {most:g}"
            raise UsageError(f"{flag} takes {bounds}, not {found:g}", f"such as {flag} {example}")
        return found

    return typer.Option(flag, parser=parse, metavar=metavar, help=about, rich_help_panel=panel)


def one_of(flag: str, choices: type[Choice], *, about: str, panel: str | None = None) -> Any:  # noqa: ANN401 - typer's
    """An option that takes one of a few words."""
    words = {str(each.value): each for each in choices}

    def parse(text: object) -> Choice:
        if isinstance(text, choices):
            return text
        found = words.get(str(text).replace("_", "-")) or words.get(str(text))
        if found is None:
            hint = " or ".join(
                f"{flag} {formatting.shell_word(word)}" for word in formatting.close(str(text), words) or words
            )
            raise UsageError(f"{flag} takes {' or '.join(words)}, not '{formatting.cut(str(text))}'", hint)
        return found

    def complete(incomplete: str) -> list[str]:
        return [word for word in words if word.startswith(incomplete)]

    metavar = "|".join(words)
    return typer.Option(
        flag, parser=parse, metavar=metavar, help=about, rich_help_panel=panel, autocompletion=complete,
        show_default=False,
    )  # fmt: skip


def gpu_indices(about: str, panel: str | None = None) -> Any:  # noqa: ANN401 - typer's
    """`--gpu` where several may train together: 0, or 0,1."""

    def parse(text: object) -> tuple[int, ...]:
        return tuple(dict.fromkeys(_gpu_number(part) for part in str(text).split(",")))

    return typer.Option("--gpu", parser=parse, metavar="INDEX[,...]", help=about, rich_help_panel=panel)


def gpu_index(about: str, panel: str | None = None) -> Any:  # noqa: ANN401 - typer's
    """`--gpu`, which is a GPU's number in every command."""
    return typer.Option("--gpu", parser=_gpu_number, metavar="INDEX", help=about, rich_help_panel=panel)


def _gpu_number(text: object) -> int:
    typed = str(text).strip()
    if re.fullmatch(r"[0-9]{1,4}", typed):
        return int(typed)
    size = _SIZE.fullmatch(typed)
    hint = f"for its memory: --gpu-memory {typed}" if size else "the first is --gpu 0"
    raise UsageError(f"--gpu takes the number of a GPU, as nvidia-smi counts them, not '{typed}'", hint)


def gpu_memory(about: str, panel: str | None = None) -> Any:  # noqa: ANN401 - typer's
    """`--gpu-memory`: 8, 8GB, 8g or 8192MB."""

    def parse(text: object) -> float:
        match = _SIZE.fullmatch(str(text).strip())
        size = 0.0 if match is None else float(match[1]) / (_MIB if (match[2] or "g").lower() == "m" else 1)
        if not 0 < size < math.inf:
            raise UsageError(
                f"--gpu-memory takes a size in GB, not '{formatting.cut(str(text))}'", "such as --gpu-memory 8"
            )
        return size

    return typer.Option("--gpu-memory", parser=parse, metavar="GB", help=about, rich_help_panel=panel)


def sides(about: str, panel: str | None = None) -> Any:  # noqa: ANN401 - typer's
    """`--resolution`: the sides of one square or of several, as in 768,1024."""

    def parse(text: object) -> str:
        parts = [part.strip() for part in str(text).split(",")]
        found = list(dict.fromkeys(_side(part, text) for part in parts))
        if len(found) > _MOST_SIDES:
            raise UsageError(f"--resolution takes {_MOST_SIDES} sizes at most, not {len(found)}", "such as 768,1024")
        return ",".join(map(str, found))

    return typer.Option("--resolution", parser=parse, metavar="PIXELS", help=about, rich_help_panel=panel)


def side(about: str, panel: str | None = None) -> Any:  # noqa: ANN401 - typer's
    """`--resolution`: the side of a square, 1024 or 1024x1024."""

    def parse(text: object) -> int:
        return _side(str(text).replace(",", "x"), text)

    return typer.Option("--resolution", parser=parse, metavar="PIXELS", help=about, rich_help_panel=panel)


def _side(part: str, text: object) -> int:
    """The side of a square: 1024 or 1024x1024. `text` is what was typed."""
    lengths = re.split(r"[x*]", part.strip().lower())
    if len(lengths) == 2 and lengths[0] != lengths[1] and all(one.isdecimal() for one in lengths):  # noqa: PLR2004
        width, height = lengths
        raise UsageError(
            f"--resolution takes one side in pixels, not {text}",
            f"buckets keep each picture's shape; for this area: --set resolution={width},{height}",
        )
    return whole_number("--resolution", lengths[0] if len(set(lengths)) == 1 else text, 64)


_MOST_SIDES = 8
