"""Cut a script of sh, cmd or PowerShell into statements, and take out the files that it writes."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_BATCH = re.compile(r"(?im)^[ \t]*@?echo off\b|^[ \t]*@?set[ \t]+(?:/a[ \t]+)?\"?\w+=|^[ \t]*rem[ \t]|\^[ \t]*$")
_OTHER = re.compile(r"(?m)^#!|^[ \t]*\$\w+[ \t]*=|[`\\][ \t]*$|^[ \t]*(?:export )?[A-Za-z_]\w*=\S")
_COMMENT = re.compile(r"(?i)#|::|@?rem(?:\s|$)")
_HERE = re.compile(r"<<-?[ \t]*(['\"]?)(?P<tag>\w+)\1")
_WRITTEN_TO = re.compile(r"(?<![\d<])>{1,2}[ \t]*(\"[^\"]+\"|'[^']+'|[^\s<>|]+)|\btee[ \t]+(\"[^\"]+\"|[^\s<>|]+)")
_HERE_STRING = re.compile(r"@([\"'])[ \t]*$")
_POWERSHELL_FILE = re.compile(
    r"(?i)(?:Set-Content|Out-File|Add-Content)\b(?:\s+-(?:LiteralPath|FilePath|Path))?\s+(\"[^\"]+\"|'[^']+'|\$?[\w:.\\/]+)"
)
_ARRAY = re.compile(r"^(?:\[[\w.\[\]]+\])?[ \t]*\$?[\w:]+[ \t]*\+?=[ \t]*(?:\[\w+\])?@?[({]")
_CALLS = re.compile(r"\bsdxl_train(?:_network)?\.py\b|\blaunch\b")
_LONGEST_ARRAY = 500
"""Lines of one array or table."""
MOST_LINES = 20_000


@dataclass
class ScriptLine:
    """One statement, with its continuation lines joined."""

    number: int
    text: str


@dataclass
class WrittenFile:
    """A file that the script writes from text of its own (a here document)."""

    target: str
    """Where it is written to, with variables as they stand in the script. Empty if that can't be told."""
    text: str


@dataclass
class ScriptText:
    """A script in parts."""

    lines: list[ScriptLine] = field(default_factory=list)
    written: list[WrittenFile] = field(default_factory=list)


def split(text: str) -> ScriptText:
    """The script's statements in order, without comments."""
    is_batch = _is_batch(text)
    continued = re.compile(r"\^$" if is_batch else r"(?:\\|\^|`)$")
    raw = text.replace("\r\n", "\n").split("\n")[:MOST_LINES]
    found = ScriptText()
    place, is_call = 0, False
    while place < len(raw):
        number, bare = place + 1, raw[place].strip()
        place += 1
        if not bare or _COMMENT.match(bare):
            continue
        if not is_batch:
            bare = without_comment(bare)
        while place < len(raw) and (match := continued.search(bare)):
            bare = f"{bare[: match.start()].rstrip()} {raw[place].strip()}".strip()
            place += 1
        place, body = _here(raw, place, bare)
        if body is not None:
            found.written.append(body)
            bare = bare.partition("<<")[0] if "<<" in bare else bare
        elif _ARRAY.match(bare):
            place, bare = _whole_array(raw, place, bare)
        if is_call and bare.startswith("--"):
            found.lines[-1].text += f" {bare}"
        else:
            found.lines.append(ScriptLine(number, bare))
            is_call = bool(_CALLS.search(bare))
    return found


def without_comment(line: str) -> str:
    """A line of sh or PowerShell without the comment at its end: a # behind a blank, outside of quotes."""
    quote = ""
    for at, char in enumerate(line):
        if quote:
            quote = "" if char == quote else quote
        elif char in "\"'":
            quote = char
        elif char == "#" and at and line[at - 1].isspace():
            return line[:at].rstrip()
    return line


def _is_batch(text: str) -> bool:
    """Whether it is of cmd, where a line may end with a folder's backslash, and a # is a letter."""
    without = re.sub(r"(?im)^[ \t]*@?(?:set|rem|::).*$", "", text)
    return _BATCH.search(text) is not None and _OTHER.search(without) is None


def _here(raw: list[str], place: int, bare: str) -> tuple[int, WrittenFile | None]:
    """The text that follows in place of a file, and the line after it."""
    match = _HERE.search(bare) if "<<<" not in bare else None
    if match is not None:
        end = next((at for at in range(place, len(raw)) if raw[at].strip() == match["tag"]), None)
        if end is None:
            return place, None
        target = _WRITTEN_TO.search(bare)
        name = "" if target is None else (target[1] or target[2]).strip("\"'")
        return end + 1, WrittenFile(name, "\n".join(raw[place:end]))
    opening = _HERE_STRING.search(bare)
    if opening is None:
        return place, None
    closing = f"{opening[1]}@"
    end = next((at for at in range(place, len(raw)) if raw[at].lstrip().startswith(closing)), None)
    if end is None:
        return place, None
    target = _POWERSHELL_FILE.search(raw[end])
    return end + 1, WrittenFile("" if target is None else target[1].strip("\"'"), "\n".join(raw[place:end]))


def _whole_array(raw: list[str], place: int, bare: str) -> tuple[int, str]:
    """An array or table to its closing bracket, and the line after it."""
    whole, at = _uncommented(bare), place
    while _depth(whole) > 0 and at < min(len(raw), place + _LONGEST_ARRAY):
        whole += "\n" + _uncommented(raw[at].strip())
        at += 1
    return (at, whole) if _depth(whole) == 0 else (place, bare)


def _uncommented(line: str) -> str:
    return re.sub(r"(?:^|(?<=\s))#[^\"']*$", "", line).rstrip(" \t`\\")


def _depth(text: str) -> int:
    plain = re.sub(r"\"[^\"\n]*\"|'[^'\n]*'", "", text)
    return sum(plain.count(char) for char in "({") - sum(plain.count(char) for char in ")}")
