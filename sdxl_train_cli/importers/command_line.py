"""Import a command line of sh, cmd or PowerShell that calls sdxl_train_network.py or sdxl_train.py, as in guides."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence

from sdxl_train_cli.errors import Problem, RecipeError
from sdxl_train_cli.importers import values
from sdxl_train_cli.importers.foreign_settings import ForeignKey, ForeignSettings, became, ignored, unknown
from sdxl_train_cli.sdscripts import shipped

FORMAT = "command line"
_SCRIPT = re.compile(r"(?:^|[\\/\s\"'])(sdxl_train(?:_network)?\.py)(?=[\s\"']|$)")
_OTHER_SCRIPT = re.compile(r"\b((?:\w{1,60}_)?train(?:_\w{1,60})?|fine_tune)\.py\b")
_CONTINUED = re.compile(r"(?<![ \t])[ \t]*(?:\\|\^|`)[ \t]*\n[ \t]*")
_ASSIGNED = (
    re.compile(r"^[ \t]*(?:export |set \"?)?(?P<name>[A-Za-z_]\w*)=(?P<value>[^\n]*)$", re.MULTILINE),
    re.compile(r"^[ \t]*\$(?P<name>[A-Za-z_]\w*)[ \t]*=[ \t]*(?P<value>[^\n#]*)(?:#[^\n]*)?$", re.MULTILINE),
)
_VARIABLE = re.compile(r"\$\{(?P<braced>\w+)\}|\$(?P<plain>[A-Za-z_]\w*)|%(?P<batch>\w+)%")
_ENDS = frozenset({";", "&&", "||", "|", "&", ">", ">>", "<", "2>&1", "2>"})
_LAUNCH = "sdxl-train launches the trainer itself, on one GPU"
_MOST_CALLS = 100
"""Calls reported, one row each."""
_MEMORY_LIMIT = 64 * 1024
"""Characters of one command line. The longest that any system accepts is half of it."""


def is_one(text: str) -> bool:
    """Whether the text calls a training script."""
    return bool(_SCRIPT.search(text) or _OTHER_SCRIPT.search(text))


def read(text: str, shown: str) -> ForeignSettings:
    """The options of the first call in the text. RecipeError if none is for SDXL."""
    calls = [line for line in _lines(text) if _SCRIPT.search(line)]
    if not calls:
        other = _OTHER_SCRIPT.search(text)
        what = f"calls {other[0]}, which does not train SDXL" if other else "does not call a training script"
        raise RecipeError(Problem(what, "SDXL is trained by sdxl_train_network.py and sdxl_train.py", shown))
    words = _words(calls[0], shown)
    place = next((place for place, word in enumerate(words) if _SCRIPT.search(f" {word}")), len(words))
    ours = _until_end(words[place + 1 :])
    is_full = place < len(words) and words[place].endswith("sdxl_train.py")
    assigned = _assigned(text)
    entries = [
        *(ignored(key, value, _LAUNCH) for key, value in _launch(words[:place])),
        *flags([_filled(word, assigned) for word in ours]),
        *(ignored(f"call {number}", line.strip()[:200], "a further call: only the first is imported")
          for number, line in enumerate(calls[1:_MOST_CALLS], 2)),
    ]  # fmt: skip
    return ForeignSettings(FORMAT, is_full, tuple(entries))


def flags(words: Sequence[str], prefix: str = "") -> Iterator[ForeignKey]:
    """Options set by words such as `--seed 1 --sdpa`. Words before the first flag belong to no option."""
    for flag, given in _grouped(words):
        key = f"{prefix}{flag}"
        name, equals, first = flag.removeprefix("--").partition("=")
        raw = [first, *given] if equals else given
        text = " ".join(raw)
        option = name.replace("-", "_")
        if not flag.startswith("--"):
            yield unknown(f"{prefix}{text[:40]}", text, "does not belong to an option")
            continue
        yield _entry(key.partition("=")[0], option, raw)


def _entry(key: str, option: str, raw: Sequence[str]) -> ForeignKey:
    text = " ".join(raw)
    if any(_VARIABLE.search(part) for part in raw):
        return unknown(key, text, "is a variable whose value is not in the text")
    try:
        value = values.convert(list(raw) if option in shipped.lists() else _one(raw), option)
    except ValueError as error:
        return unknown(key, text, str(error))
    return became(key, "true" if value is True and not raw else text, option, value)


def _one(raw: Sequence[str]) -> object:
    if not raw:
        return True
    if len(raw) > 1:
        raise ValueError("has more than one value")
    return raw[0]


def _grouped(words: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    flag, given = "", list[str]()
    for word in words:
        if word.startswith("--") and len(word) > len("--"):
            if flag or given:
                yield flag, given
            flag, given = word, []
        else:
            given.append(word)
    if flag or given:
        yield flag, given


def _lines(text: str) -> list[str]:
    """The text's lines with continuations joined, and lines of bare options whose continuation mark was lost."""
    joined = _CONTINUED.sub(" ", text.replace("\r\n", "\n"))
    lines: list[list[str]] = []
    is_call = False
    for line in joined.split("\n"):
        bare = line.strip()
        if is_call and bare.startswith("--"):
            lines[-1].append(bare)
        elif bare and not bare.startswith(("#", "::", "REM ", "rem ")):
            lines.append([bare])
            is_call = bool(_SCRIPT.search(bare)) or "launch" in bare
    return [" ".join(parts) for parts in lines]


def _words(line: str, shown: str) -> list[str]:
    if len(line) > _MEMORY_LIMIT:
        raise RecipeError(Problem("holds a command line longer than any system accepts", None, shown))
    windows = "\\" in line and re.search(r"[A-Za-z]:\\|\.exe\b|\\[\w.-]+\.py", line)
    for escape in ("", "\\") if windows else ("\\", ""):
        lexer = shlex.shlex(line, posix=True, punctuation_chars=False)
        lexer.whitespace_split, lexer.commenters, lexer.escape = True, "", escape
        try:
            return list(lexer)
        except ValueError:
            continue
    raise RecipeError(Problem("has a quote that is not closed", None, shown))


def _until_end(words: Sequence[str]) -> list[str]:
    found = []
    for word in words:
        if word in _ENDS:
            break
        found.append(word.removesuffix(";"))
        if word.endswith(";"):
            break
    return [word for word in found if word]


def _launch(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Flags of accelerate and anything else before the script."""
    for flag, given in _grouped(words):
        if flag:
            name, _, value = flag.partition("=")
            yield f"accelerate {name}", " ".join([value, *given]).strip()


def _assigned(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for pattern in _ASSIGNED:
        for match in pattern.finditer(text):
            found.setdefault(match["name"], match["value"].strip().strip("\"'"))
    return found


def _filled(word: str, assigned: dict[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        name = match["braced"] or match["plain"] or match["batch"] or ""
        return assigned.get(name, match[0])

    return _VARIABLE.sub(value, word)
