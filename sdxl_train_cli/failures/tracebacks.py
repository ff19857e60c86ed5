"""Parse a log: raised errors with their frames, and the other lines, without progress bars."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

_BAR = re.compile(
    r"(?:\bsteps:\s+)?(?<!\d)\d{1,9}%\|[^|]{0,400}\|[^\[|]{0,99}\[[^\]]*\]?"
    r"|\b\d{1,9}it \[[\d:]{1,19}, [^\]]{0,99}\]|\b\d{1,9}%\|[^|]*$"
)
"""A tqdm bar anywhere in a line. Other text may be glued to both sides."""
_WRAPPERS = re.compile(r"^\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:[.,]\d{1,6})?\] \[[A-Z]{4,8}\] ?")
"""What a program that starts the trainer writes before each of its lines."""
_CITED = re.compile(r"^(?:>\s?)+|^[\s#*`┃│]+(?=(?:\w+\.)*[A-Z]\w*(?:Error|Exception)\b)")
"""Quoting of a forum or mail: > before every line, or bold marks."""
_FLAT = re.compile(
    r'(?<!\s)\s+(?=File "[^"]+", line \d+, in )|(?<=[\w)\]^~])\s+(?=(?:[a-z_]\w*\.)*[A-Z]\w*(?:Error|Exception): )'
)
"""Places where a traceback continues that lost its line breaks when copied."""
_BOX_TOP = re.compile(r"^\s*[╭┌]─")
_BOX_ROW = re.compile(r"^[│┃] .*[│┃]$")
_BOX_END = re.compile(r"^\s*[╰└]─")
_IN_BOX = re.compile(r"^\s*[│┃]|^\s*[│┃]\s*$")
_AT_WORK = re.compile(r"❱|:\d+ in\b|^\D*\bin <?\w+>?\s*│?$")
"""The failing line, its file and function. The other lines are only context."""
_RANK = re.compile(r"^(?:\[rank\d+\]:|\[default\d+\]:|stderr:|E  ) ?")
_STAMP = re.compile(
    r"^(?:\[?\d{4}-\d\d-\d\d[ T])?\[?\d\d:\d\d:\d\d(?:[-.,]\d+)?\]?\s+(?=[A-Z]{4,8}\b|\[)"
    r"|^\s+(?=(?:INFO|WARNING|ERROR|DEBUG)\s)"
)
_LEVEL = re.compile(r"^(?:INFO|WARNING|ERROR|CRITICAL|DEBUG)\b[:\s]\s*")
_ORIGIN = re.compile(r"(?:^|\s+)\w+\.py:\d+$")
"""Source location that rich's logger appends to the first line of a message."""
_HEADING = re.compile(r"Traceback \(most recent call")
_CHAINED = re.compile(r"^(?:During handling of the above exception|The above exception was the direct cause)")
_FRAME = re.compile(r'^\s*(?:File ")?[^"\s][^"]*", line \d+(?:, in |$)|^\s*File "[^"]*", line \d+')
"""A traceback frame. Its second half suffices: a copied log often starts in mid-line."""
_MODULE_PATH = re.compile(r'^(?P<start>(?:File ")?)(?P<path>[^"│┃]{1,400}\.pyw?)(?="?, line \d|:\d+ in\b)')
_PACKAGES_OF = frozenset({"site-packages", "dist-packages"})
_PYTHONS = re.compile(r"python3\.\d+|[Ll]ib")
_FOLDERS = frozenset({"library", "networks", "tools", "finetune"})
"""Folders of sd-scripts that hold modules."""
_POINTERS = re.compile(r"^[\s~^]+$|^\s*\[Previous line repeated|^\s*\.\.\.<\d+ lines?>\.\.\.")
_ERROR = re.compile(
    r"^(?!Error:)(?:[A-Za-z_][\w.]*\.)?"
    r"(?:\w{0,60}(?:Error|Exception|Interrupt|Exit|Invalid|Missing|Bomb|Expired|Failed)\w{0,60}|[A-Z]\w{1,60}Bomb)"
    r"(?=:[\s'\"]|:$|$)"
)
_ANY_ERROR = re.compile(r"^[A-Za-z_][\w.]*(?::\s|$)")
_LAUNCHERS = re.compile(
    r"^(?:subprocess\.)?CalledProcessError|ChildFailedError|^SystemExit|ProcessRaisedException|^OneLoggerErr"
)
_COMMAND = re.compile(
    r"Command '\[(?:(?!Command '\[).)*?\]'(?=\s+(?:returned|died))|Command '\[(?:(?!Command '\[).)*?\]$", re.DOTALL
)
"""A quoted command. Each character belongs to one command, otherwise unclosed ones take quadratic time."""
_NOISE = re.compile(
    r"^File \"|"
    r"Warning: |warnings\.warn\(|^[IWE] (?:tensorflow|external)/|^\d{4}-\d\d-\d\d [\d:.]+: [IWE] |oneDNN custom"
    r"|matching Triton|Error caught was|Failed to load CPU|^\s*$|TF-TRT Warning|^WARNING\[|xFormers can't load"
    r"|FutureWarning|UserWarning|DeprecationWarning|^={5,}|^-{5,}|^During handling|^The above exception|^Traceback"
    r"|Exception ignored in|returned non-zero exit status [12]\b|^Failed to train because of error|resource_tracker"
)
_LONGEST = 60
"""Lines kept of one error: a mismatched state_dict lists keys by the hundred."""
_MOST_ERRORS = 500
"""Errors kept, counted from the end. Each is compared with every signature."""
_MOST_LETTERS = 1_000_000
"""Characters kept from the end, bars excluded: hours of a run, and seconds to search."""
_LINE_COST = 50


@dataclass(frozen=True)
class RaisedError:
    """One error in a log."""

    words: tuple[str, ...]
    """The error's own lines, from its name on."""
    frames: str
    """The traceback lines before it, unchanged."""
    caused: bool
    """Whether another error was raised while it was handled."""

    @property
    def is_launchers(self) -> bool:
        """Whether it only reports that a child process failed."""
        return is_launchers(self.words[0])

    @property
    def is_stop(self) -> bool:
        """Whether someone pressed Ctrl-C."""
        return self.words[0].startswith("KeyboardInterrupt")


@dataclass
class _Reading:
    errors: list[RaisedError] = field(default_factory=list)
    rest: list[str] = field(default_factory=list)
    frames: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)

    def close(self, *, caused: bool = False) -> None:
        if self.words:
            self.errors.append(RaisedError(tuple(self.words), "\n".join(self.frames), caused))
            self.frames, self.words = [], []


@dataclass(frozen=True)
class ParsedLog:
    """A parsed log."""

    errors: tuple[RaisedError, ...]
    rest: tuple[str, ...]
    """Lines that are neither bar nor traceback, including the errors' own text."""
    cut: str = ""
    """Frames of a traceback if the log breaks off before the error itself."""


def without_folders(frame: str) -> str:
    """A frame whose path says no more than the module: a person's own folders may have the name of any package."""
    return _MODULE_PATH.sub(lambda found: found["start"] + _module(found["path"]), frame)


def _module(path: str) -> str:
    parts = path.replace("\\", "/").split("/")
    starts = [number for number, part in enumerate(parts) if part in _PACKAGES_OF or _PYTHONS.fullmatch(part)]
    if starts:
        return "/".join(parts[starts[-1] :])
    return "/".join(parts[-2:] if len(parts) > 1 and parts[-2] in _FOLDERS else parts[-1:])


def without_bars(line: str) -> str:
    """The line without tqdm bars."""
    return _BAR.sub(" ", line) if "%|" in line or "it [" in line else line


def parse(lines: Sequence[str]) -> ParsedLog:
    """Parse a log into errors and other lines, in order. Long logs are parsed from their end."""
    reading = _Reading()
    kept = list(_unboxed(_last(lines)))
    skip_code = False
    in_traceback = False
    for line in kept:
        bare = _RANK.sub("", line)
        if not bare.strip():
            continue  # copied logs often have blank lines in between
        if _FRAME.match(bare):
            reading.close()
            reading.frames.append(without_folders(bare.strip()))
            skip_code = in_traceback = True
        elif bare.startswith("\0"):
            reading.close()
            reading.frames.append(without_folders(bare[1:]))
            in_traceback = True
        elif _HEADING.search(bare):
            reading.close()
            skip_code, in_traceback = False, True
        elif _CHAINED.match(bare.strip()):
            reading.close(caused=True)
            skip_code = in_traceback = False
        elif skip_code and not _ERROR.match(bare):
            reading.frames.append(bare.strip())
            skip_code = False
        elif in_traceback and _POINTERS.match(bare):
            continue
        else:
            skip_code = False
            in_traceback = _take_line(reading, bare, in_traceback=in_traceback)
    reading.close()
    return ParsedLog(tuple(reading.errors[-_MOST_ERRORS:]), tuple(reading.rest), "\n".join(reading.frames))


def _last(lines: Sequence[str]) -> list[str]:
    letters_left, kept = _MOST_LETTERS, []
    for line in reversed(lines):
        if without_bars(line).strip():
            letters_left -= len(line) + _LINE_COST
            kept.append(line)
        if letters_left < 0:
            break
    return kept[::-1]


def _take_line(reading: _Reading, line: str, *, in_traceback: bool) -> bool:
    """Process a line that is not a frame. Returns whether the traceback continues."""
    told = _STAMP.sub("", line)
    logged = told != line or bool(_LEVEL.match(told))
    words = _ORIGIN.sub("", _LEVEL.sub("", told)).strip() if logged else line
    words = without_bars(words)
    stripped = _ORIGIN.sub("", words.strip()) if logged else words.strip()
    if not stripped:
        return in_traceback
    starts = _ERROR.match(stripped) or (in_traceback and not line.startswith(" ") and _ANY_ERROR.match(stripped))
    if starts:
        reading.close()
        reading.words.append(stripped)
        in_traceback = False
    elif logged or in_traceback:
        reading.close()
    elif reading.words and len(reading.words) < _LONGEST:
        reading.words.append(stripped)
    reading.rest.append(stripped)
    return in_traceback and not logged


def _unboxed(lines: Sequence[str]) -> Iterator[str]:
    """Lines without quoting. Lines inside a box, which are source code and frames, are marked with NUL."""
    boxed = False
    for line in (part for whole in lines for part in _FLAT.split(_CITED.sub("", _WRAPPERS.sub("", whole)))):
        boxed = boxed or bool(_BOX_ROW.match(line))  # a box whose top was not copied
        if _BOX_TOP.match(line) or ("Traceback (most recent call" in line and ("╭" in line or "──" in line)):
            boxed = True
            yield "Traceback (most recent call last):"
        elif boxed and _BOX_END.match(line):
            boxed = False
        elif boxed and (_IN_BOX.match(line) or not _ERROR.match(line.strip())):
            if _AT_WORK.search(line):
                yield "\0" + line.strip("│┃ \t")
        else:
            boxed = False
            yield line


def without_commands(text: str) -> str:
    """The launcher's message without the command line, which mentions every option and path."""
    return _COMMAND.sub("Command", text)


def is_noise(line: str) -> bool:
    """Whether a line says nothing about a failure."""
    return bool(_NOISE.search(line))


def is_launchers(line: str) -> bool:
    """Whether a line only reports that a child process failed."""
    return bool(_LAUNCHERS.search(line))
