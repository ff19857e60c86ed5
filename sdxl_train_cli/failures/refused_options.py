"""Tell each part of an option error of sd-scripts' argparse: what it is, and what to type instead."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cache
from pathlib import Path

from sdxl_train_cli import formatting, untrusted_files
from sdxl_train_cli.sdscripts import network_arguments, script_options, shipped

_FILE = Path(__file__).with_suffix(".toml")
_LONGEST = 200
_SHOWN = 4
"""Names shown of one kind."""
_ERROR = re.compile(
    r"(?P<script>[\w.-]+\.py|accelerate)\b[^:]{0,60}: error: (?:unrecognized arguments:(?P<words>.*)"
    r"|ambiguous option: (?P<short>\S+) could match (?P<longs>.+))"
)
_COMMAND = re.compile(r"Command '(\[.{2,60000}?\])'(?=\s+(?:returned|died)|$)", re.DOTALL)
_CONTINUATION = re.compile(r"^ *[\\^`]? *$")
_QUOTED_OPTION = re.compile(r" --\w")
_COMMENT = re.compile(r"^(?:#|::)")
_SWITCHED = frozenset({"true", "false", "yes", "no", "on", "off"})
_LONG_DASH = re.compile("^[\u2010-\u2015\u2212]+-?")
_CURLED = re.compile("[\u2018-\u201f\u00ab\u00bb\uff02\uff07]")
_ODD_BLANK = re.compile("[\u00a0\u1680\u2000-\u200d\u202f\u205f\u2060\u3000\ufeff]")
_WHOLE_PATH = re.compile(r"/\w|~/|[A-Za-z]:[\\/]|\.{1,2}[\\/]")
"""The beginning of a path: such a value is rarely the rest of another."""
_KEY_VALUE = re.compile(r"([A-Za-z_]\w*)=")
_DASHES = re.compile(r"-{1,2}[A-Za-z]")
_FIRST_NAMED = ("sdxl_train_network.py", "sdxl_train.py")
_COMMANDS = {"sdxl_train_network.py": "`sdxl-train lora`", "sdxl_train.py": "`sdxl-train dreambooth`"}


class Fault(Enum):
    """What is wrong with one refused part of a command line."""

    CONTINUATION = "continuation"
    LONG_DASH = "long-dash"
    CURLED_QUOTE = "curled-quote"
    ODD_BLANK = "odd-blank"
    SWALLOWED = "swallowed"
    NO_DASHES = "no-dashes"
    OPTIMIZER_ARGUMENT = "optimizer-argument"
    NETWORK_ARGUMENT = "network-argument"
    SWITCH_VALUE = "switch-value"
    SPLIT_VALUE = "split-value"
    COMMENT = "comment"
    LAUNCHERS = "launchers"
    OTHER_SCRIPTS = "other-scripts"
    OTHER_RELEASES = "other-releases"
    NEWER = "newer"
    MISSPELLED = "misspelled"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class RefusedPart:
    """One refused part of the command line."""

    text: str
    before: tuple[str, ...] = ()
    """What stands before it, from the last option on, if the log holds the command line."""


@dataclass(frozen=True)
class Explanation:
    """What is wrong with a command line, and what to type instead."""

    cause: str
    remedy: str


def explain(lines: Sequence[str]) -> Explanation | None:
    """Tell every part of the last option error in a log. None if there is none, or if it is of another kind."""
    found = next((match for line in reversed(lines) if (match := _ERROR.search(line))), None)
    if found is None:
        return None
    script = script_options.LAUNCHER if found["script"] == "accelerate" else found["script"]
    if found["short"]:
        return _ambiguous(found["short"], found["longs"], script)
    parts = _parts(found["words"], _command(lines))
    groups: dict[tuple[Fault, str], list[RefusedPart]] = {}
    for fault, detail, part in _faults(parts, script):
        groups.setdefault((fault, detail), []).append(part)
    told = [_told(fault, detail, members, script) for (fault, detail), members in groups.items()]
    return Explanation("; ".join(one.cause for one in told), "\n".join(dict.fromkeys(one.remedy for one in told)))


def _command(lines: Sequence[str]) -> list[str]:
    """The command line that the launcher quotes. Empty if there is none, or if it is cut off."""
    for found in reversed(_COMMAND.findall("\n".join(lines))):
        try:
            words = ast.literal_eval(found.replace("\n", " "))
        except (SyntaxError, ValueError, MemoryError, RecursionError):
            continue
        return [str(word) for word in words]
    return []


def _parts(words: str, command: Sequence[str]) -> list[RefusedPart]:
    """The refused parts, as the shell parted them where the command line is known, else at each blank."""
    left = words.removeprefix(" ")
    found = []
    for number, word in enumerate(command):
        if number and word and (left == word or left.startswith(f"{word} ")):
            found.append(RefusedPart(word, _since_option(command[:number])))
            left = left[len(word) + 1 :]
    if found and not left:
        return found
    return [RefusedPart(word) for word in words.strip(" ").split(" ")]


def _since_option(words: Sequence[str]) -> tuple[str, ...]:
    """The last option of these words, with all behind it. Empty if there is none."""
    number = next((number for number in range(len(words) - 1, -1, -1) if words[number].startswith("--")), None)
    return () if number is None else tuple(words[number:])


def _faults(parts: Sequence[RefusedPart], script: str) -> Iterator[tuple[Fault, str, RefusedPart]]:
    """Each part with its fault, and the words by which parts of one fault are told apart."""
    behind_word = behind_option = False
    for part in parts:
        fault, detail = _fault(part, script)
        if fault is Fault.SPLIT_VALUE and behind_option:
            behind_option = False
            continue  # the value of a refused option is refused with it
        behind_option = fault in _OF_OPTIONS and "=" not in part.text
        if fault is Fault.NEWER and behind_word and not part.before:
            fault, detail = Fault.SWALLOWED, ""
        behind_word = behind_word or fault is Fault.SPLIT_VALUE
        yield fault, detail, part


def _fault(part: RefusedPart, script: str) -> tuple[Fault, str]:
    text = part.text
    shape = next((fault for pattern, fault in _SHAPES if pattern.search(text)), None)
    if shape is not None:
        return shape, ""
    if _DASHES.match(text):
        return _of_option(f"--{text.lstrip('-').partition('=')[0]}", script)
    key = _KEY_VALUE.match(text)
    if key:
        return _of_key(key[1], script), ""
    is_switch = text.lower() in _SWITCHED
    return (Fault.SWITCH_VALUE, " ".join(part.before)) if is_switch else (Fault.SPLIT_VALUE, "".join(part.before[:1]))


def _of_key(key: str, script: str) -> Fault:
    if f"--{key}" in _known(script):
        return Fault.NO_DASHES
    if any(key in (taken or ()) for taken in shipped.table().optimizers.values()):
        return Fault.OPTIMIZER_ARGUMENT
    return Fault.NETWORK_ARGUMENT if key in network_arguments.NAMES else Fault.SPLIT_VALUE


def _of_option(flag: str, script: str) -> tuple[Fault, str]:
    having = script_options.releases_with(flag, script)
    if having == script_options.releases():
        return Fault.NEWER, having[0]
    if having:
        return Fault.OTHER_RELEASES, having[-1]
    others = script_options.scripts_with(flag)
    if script_options.LAUNCHER in others:
        return Fault.LAUNCHERS, ""
    if others:
        return Fault.OTHER_SCRIPTS, " and ".join(_best_known(others))
    names = {name.removeprefix("--") for name in _known(script)}
    near = formatting.suggestion(flag.removeprefix("--").replace("-", "_"), names, most=1)
    return (Fault.MISSPELLED, near) if near else (Fault.UNKNOWN, "")


def _known(script: str) -> frozenset[str]:
    """Options of the script. Those of both SDXL scripts if it is another program's."""
    return script_options.flags(script) or frozenset().union(*map(script_options.flags, _FIRST_NAMED))


def _best_known(scripts: Iterable[str]) -> list[str]:
    return sorted(scripts, key=lambda name: (_rank(name), len(name), name))[:2]


def _rank(script: str) -> int:
    return _FIRST_NAMED.index(script) if script in _FIRST_NAMED else len(_FIRST_NAMED)


def _ambiguous(short: str, longs: str, script: str) -> Explanation:
    flag = short.partition("=")[0]
    fault, detail = _of_option(flag, script)
    ways = " or ".join(longs.split(", "))
    if fault in {Fault.OTHER_SCRIPTS, Fault.OTHER_RELEASES, Fault.LAUNCHERS}:
        told = _told(fault, detail, [RefusedPart(flag)], script)
        return Explanation(told.cause, f"{told.remedy}, or write {ways}")
    return Explanation(f"'{flag}' is no option but the beginning of more than one", f"write {ways}")


def _told(fault: Fault, detail: str, parts: Sequence[RefusedPart], script: str) -> Explanation:
    texts = [part.text for part in parts]
    flags = [f"--{text.lstrip('-').partition('=')[0]}" for text in texts]
    if fault is Fault.SPLIT_VALUE:
        return _split_value(parts)
    several = len(texts) > 1
    names = _listed(texts if fault in _BY_TEXT else flags)
    told = words()[fault.value]
    own = next((_COMMANDS[name] for name in detail.split(" and ") if name in _COMMANDS), None)
    values = {
        "names": names,
        "are": "are" if several else "is",
        "options": "options" if several else "an option",
        "them": "them" if several else "it",
        "detail": detail,
        "script": script,
        "near": detail,
        "first": parts[0].text,
        "straight": _LONG_DASH.sub("--", parts[0].text),
        "releases": " or ".join(script_options.releases()),
        "starts": f", or use {own}, which starts {detail.partition(' and ')[0]}" if own else "",
        "switch": f"'{detail}'" if detail else "a switch",
    }
    return Explanation(told["cause"].format(**values), told["remedy"].format(**values))


@cache
def words() -> dict[str, dict[str, str]]:
    """Cause and remedy by fault."""
    found = untrusted_files.toml_table(_FILE.read_text(encoding="utf-8"), _FILE.name)
    return {fault: dict(words) for fault, words in found.items() if isinstance(words, dict)}


def _split_value(parts: Sequence[RefusedPart]) -> Explanation:
    """A value with a blank, of which the shell made two words."""
    words = formatting.cut(" ".join(part.text for part in parts), _LONGEST)
    if not parts[0].before and _WHOLE_PATH.match(words):
        return Explanation(
            f"'{words}' stands alone: a blank before it parts it from its option, or one within it from its beginning",
            "write --option=VALUE without a blank at the = or at the value's beginning; quote a path that has blanks",
        )
    if not parts[0].before:
        without = f"; numbers have no blank between them: {words},{words}" if words.isdecimal() else ""
        return Explanation(
            f"'{words}' is the rest of a value with a blank in it", f"put the whole value into quotes{without}"
        )
    option, *values = parts[0].before
    name, sign, value = option.partition("=")
    whole = f'"{option} {words}"' if sign else f'{name} "{" ".join([*values, words])}"'
    if re.fullmatch(r"[\d.]+,", value):
        whole = f"{option}{words}"
    return Explanation(f"'{words}' is the rest of the value of {name}, which has a blank in it", f"type {whole}")


def _listed(names: Sequence[str]) -> str:
    shown = [f"'{formatting.cut(name)}'" for name in dict.fromkeys(names)]
    more = len(shown) - _SHOWN
    return ", ".join(shown[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


_SHAPES = (
    (_CONTINUATION, Fault.CONTINUATION),
    (_LONG_DASH, Fault.LONG_DASH),
    (_CURLED, Fault.CURLED_QUOTE),
    (_ODD_BLANK, Fault.ODD_BLANK),
    (_QUOTED_OPTION, Fault.SWALLOWED),
    (_COMMENT, Fault.COMMENT),
)
_OF_OPTIONS = frozenset(
    {Fault.LAUNCHERS, Fault.OTHER_SCRIPTS, Fault.OTHER_RELEASES, Fault.MISSPELLED, Fault.UNKNOWN, Fault.LONG_DASH}
    | {Fault.NEWER}
)
_BY_TEXT = frozenset(
    {Fault.LONG_DASH, Fault.CURLED_QUOTE, Fault.ODD_BLANK, Fault.NO_DASHES, Fault.OPTIMIZER_ARGUMENT}
    | {Fault.NETWORK_ARGUMENT, Fault.SWITCH_VALUE, Fault.COMMENT}
)
"""Faults whose parts are shown as they stand, not as the option in them."""
