"""Variables of a script: set from each other, in the notations of sh, cmd and PowerShell."""

from __future__ import annotations

import ast
import operator
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

Held = str | tuple[str, ...] | dict[str, str]

REFERENCE = re.compile(
    r"\$\{(?P<braced>\w+)(?:\[[@*]\])?(?:(?P<how>:?[-=+])(?P<other>[^{}]*))?\}"
    r"|\$\((?P<inner>\$\w+(?:\.\w+)?)\)|\$\(\((?P<sum>[^()]*)\)\)"
    r"|\$\{?(?:env|script|global|private):(?P<scoped>\w+)\}?"
    r"|\$(?P<table>[A-Za-z_]\w*)\.(?P<key>[A-Za-z_]\w*)|\$(?P<plain>[A-Za-z_]\w*)"
    r"|%(?P<batch>\w+)(?::(?P<old>[^=%]+)=(?P<new>[^%]*))?%|!(?P<late>\w+)!"
)
_UNKNOWN = re.compile(r"\$\{|\$\(|\$[A-Za-z_0-9@]|%\w+%|%~|\{[A-Za-z_][\w.\[\]'\"() ]*\}")
_OWN_FOLDER = re.compile(
    r"%~dp0\\?|\$\{?PSScriptRoot\}?|\$\(\s*pwd\s*\)|\$\{?PWD\}?|%cd%"
    r"|\$\((?:[^()\n]|\([^()\n]{0,99}\)){0,99}(?:\$0|BASH_SOURCE)(?:[^()\n]|\([^()\n]{0,99}\)){0,99}\)",
    re.IGNORECASE,
)
_POWERSHELL_CALL = re.compile(
    r"\((?:Join-Path|Resolve-Path|Convert-Path|Get-Item)\s+(?P<parts>[^()]*)\)(?:\.(?:Path|FullName)\b)?", re.IGNORECASE
)
_SPREAD = re.compile(r"[\"']?(?:\$\{(\w+)\[[@*]\]\}|\$\{(\w+)\}|\$(\w+)|@(\w+)|%(\w+)%|!(\w+)!)[\"']?")
_PAIR = re.compile(r"--\w+\s")
"""A member of a list that holds an option and its value."""
_SUM = re.compile(r"[\d\s.+*/%()-]+")
_DEEPEST = 30
_LONGEST = 8192
"""Characters of a value. cmd takes no longer line."""
_MOST = 2000
_OPERATIONS: Mapping[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod,
}  # fmt: skip


@dataclass
class Variables:
    """What is set so far. Names are found as they are written, else whatever their case."""

    held: dict[str, Held] = field(default_factory=dict)
    doubtful: dict[str, int] = field(default_factory=dict)
    """Variables that are set under a condition only which can't be judged here, and the line of it."""

    def get(self, name: str) -> Held | None:
        """The value, None if it is not set in the script."""
        if name in self.held:
            return self.held[name]
        return next((value for key, value in self.held.items() if key.lower() == name.lower()), None)

    def set(self, name: str, value: Held) -> None:
        """Set a variable. It replaces one that differs in case alone."""
        same = next((key for key in self.held if key.lower() == name.lower()), name)
        if same in self.held or len(self.held) < _MOST:
            self.held[name if name in self.held else same] = value

    def filled(self, text: str) -> str:
        """The text with every variable that is known. The others stay as they are written."""
        return self._filled(_OWN_FOLDER.sub("./", text), (), {}).replace(".//", "./")

    def _filled(self, text: str, within: tuple[str, ...], done: dict[str, str]) -> str:
        """The text filled in. `within` are the variables whose value it is part of, `done` those that are filled in."""
        if len(within) > _DEEPEST:
            return text
        for _ in range(_DEEPEST):
            made = REFERENCE.sub(lambda match: self._value(match, within, done), text)
            if made == text or len(made) > _LONGEST:
                text = made
                break
            text = made
        return text[:_LONGEST]

    def filled_lines(self, text: str) -> str:
        """A text of many lines with every variable that is known."""
        return "\n".join(self.filled(line) for line in text.split("\n"))

    def with_paths(self, text: str) -> str:
        """The text with what PowerShell's Join-Path and Resolve-Path make of paths, each in quotes."""
        for _ in range(_DEEPEST):
            made = _POWERSHELL_CALL.sub(lambda match: f'"{_joined(self.filled(match["parts"]))}"', text)
            if made == text:
                return text
            text = made
        return text

    def words(self, word: str) -> list[str]:
        """The words that a word stands for: an array's parts, options that are kept in a variable, or itself."""
        match = _SPREAD.fullmatch(word)
        held = None if match is None else self.get(next(name for name in match.groups() if name))
        if isinstance(held, dict):
            return flags_of(held)
        if isinstance(held, tuple):
            parts = [part for each in held for part in self.words(each)]
            return [one for part in parts for one in (split_words(part) if _PAIR.match(part) else [part])]
        filled = self.filled(word)
        if match is None or held is None:
            return [filled]
        if not filled.strip():
            return []
        return split_words(filled) if "--" in filled else [filled]

    def _value(self, match: re.Match[str], within: tuple[str, ...], done: dict[str, str]) -> str:
        found = match.groupdict()
        if found["sum"] is not None or found["inner"] is not None:
            return str(found["inner"] or self._computed(found["sum"], within, done) or match[0])
        if found["table"] is not None:
            table = self.get(found["table"])
            member = f"{self._filled('$' + found['table'], within, done)}.{found['key']}"
            return table.get(found["key"], match[0]) if isinstance(table, dict) else member
        name = next(found[key] for key in ("braced", "scoped", "plain", "batch", "late") if found[key] is not None)
        held = None if name.lower() in within else self.get(name)
        how, inside = found["how"], (*within, name.lower())
        if how is not None and how.endswith("+"):
            return "" if held in (None, "") else self._filled(found["other"], inside, done)
        if held is None or (held == "" and how is not None and how.startswith(":")):
            return match[0] if how is None else self._filled(found["other"], inside, done)
        if name.lower() not in done:
            text = " ".join(held) if isinstance(held, tuple) else "" if isinstance(held, dict) else held
            done[name.lower()] = self._filled(text, inside, done)
        text = done[name.lower()]
        return text.replace(found["old"], found["new"]) if found["old"] else text

    def _computed(self, text: str, within: tuple[str, ...], done: dict[str, str]) -> str | None:
        plain = re.sub(r"(?<![\w$])[A-Za-z_]\w*", lambda name: f"${name[0]}", text)
        return computed(self._filled(plain, within, done))


def is_unknown(text: str) -> bool:
    """Whether a variable is left in the text."""
    return bool(_UNKNOWN.search(text))


def split_words(text: str) -> list[str]:
    """Words of a command line; a backslash belongs to a path of Windows if there is one."""
    has_drive = "\\" in text and re.search(r"[A-Za-z]:\\|\.exe\b|\\[\w.-]+\.\w", text)
    for escape in ("", "\\") if has_drive else ("\\", ""):
        lexer = shlex.shlex(text, posix=True, punctuation_chars=False)
        lexer.whitespace_split, lexer.commenters, lexer.escape = True, "", escape
        try:
            return list(lexer)
        except ValueError:
            continue
    raise ValueError("has a quote that is not closed")


def computed(text: str) -> str | None:
    """The result of a sum of plain numbers; None for anything else."""
    if not _SUM.fullmatch(text) or len(text) > 100:  # noqa: PLR2004 - no sum of a script is longer
        return None
    try:
        value = _calculated(ast.parse(text.strip(), mode="eval").body)
    except (SyntaxError, ValueError, ZeroDivisionError, OverflowError, RecursionError):
        return None
    return str(int(value)) if float(value).is_integer() else repr(value)


def _calculated(node: ast.expr) -> float:
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_calculated(node.operand)
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATIONS:
        return _OPERATIONS[type(node.op)](_calculated(node.left), _calculated(node.right))
    raise ValueError("is not a sum")


def _joined(parts: str) -> str:
    """A path put together of words."""
    found = [part.strip("\"',") for part in re.findall(r"\"[^\"]*\"|'[^']*'|[^\s,]+", parts)]
    return "/".join(part.rstrip("/\\") for part in found if part and not part.startswith("-"))


def flags_of(table: Mapping[str, str]) -> list[str]:
    """The words of a command line for a table of options and values."""
    return [part for key, value in table.items() for part in _flag(key, value)]


def _flag(key: str, value: str) -> list[str]:
    name = key if key.startswith("-") else f"--{key}"
    if value.lower() in {"false", "$false"}:
        return []
    return [name] if value.lower() in {"true", "$true", ""} else [f"{name}={value}"]
