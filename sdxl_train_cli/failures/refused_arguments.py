"""Tell what argparse refused: a value without quotes, a broken line, an option of another script, a misspelling.

argparse says the same of all of them: `unrecognized arguments`, or `ambiguous option`. The tables of the known releases
tell them apart. The scripts of SD 1.5 are held against those for SDXL that take nearly the same options.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import Enum
from functools import cache

from sdxl_train_cli import formatting
from sdxl_train_cli.recipe import Kind
from sdxl_train_cli.sdscripts import shipped

_REFUSED = re.compile(r"(?:(?P<script>[\w-]+\.py): )?error: unrecognized arguments: (?P<words>.+)", re.DOTALL)
_AMBIGUOUS = re.compile(r"error: ambiguous option: (?P<typed>\S+) could match (?P<options>[^\n]+)")
_DASHES = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212"
"""What word processors and chats make of one or two hyphens."""
_CONTINUATIONS = {"\\": "a shell's \\", "^": "Windows' ^", "`": "PowerShell's `"}
_NETWORK, _WHOLE = Kind.LORA.script, Kind.DREAMBOOTH.script
_SCRIPTS = {"train_network.py": _NETWORK, "train_db.py": _WHOLE, "fine_tune.py": _WHOLE}
_PATH = re.compile(r"[/\\]|\.\w{1,12}$")
_OF_OLDER_MODELS = frozenset({"stop_text_encoder_training", "no_token_padding", "learning_rate_te"})
"""All options of train_db.py and fine_tune.py (v0.10.1), which train SD 1.5 and 2, that no script for SDXL has."""
_ARGUMENT = re.compile(r"[a-z_]\w*=\S")
_MOST_WORDS = 40


class Refusal(Enum):
    """Why an argument was refused."""

    CONTINUATION = "continuation"
    DASH = "dash"
    OTHER_SCRIPT = "other script"
    OTHER_RELEASE = "other release"
    MISSPELT = "misspelt"
    UNKNOWN = "unknown"
    OLDER_MODELS = "older models"
    ARGUMENT = "argument"
    NUMBER = "number"
    PATH = "path"
    VALUE = "value"


_WORDS = {
    Refusal.CONTINUATION: (
        "{about} does not continue the line: something stands behind it, or it is another shell's",
        "let nothing stand behind it, not even a blank, and use your shell's own: \\ (bash), ^ (cmd), ` (PowerShell)",
    ),
    Refusal.DASH: ("{named} begins with a dash instead of a hyphen", "type {about}"),
    Refusal.OTHER_SCRIPT: (
        "{named} belongs to another script, {about}", "leave it out, or train with `sdxl-train {kind}`",
    ),
    Refusal.OTHER_RELEASE: (
        "the sd-scripts that ran is too old or too new for {named}: {about} has it",
        "leave it out, or `sdxl-train setup --ref` with a release that has it",
    ),
    Refusal.MISSPELT: ("{named} is misspelt", "{about}"),
    Refusal.UNKNOWN: ("no sd-scripts known here has an option {named}", "leave it out"),
    Refusal.OLDER_MODELS: ("{named} is for SD 1.5 and 2: no script for SDXL has it", "leave it out"),
    Refusal.ARGUMENT: (
        "{named} stands behind another option than optimizer_args, lr_scheduler_args or network_args",
        "put it right behind the one that it belongs to",
    ),
    Refusal.NUMBER: (
        "{named} belongs to the value before it", "write several numbers without blanks, such as 768,768 (an example)",
    ),
    Refusal.PATH: ("a path with a blank is not in quotes: its rest is {named}", "put the whole path in quotes"),
    Refusal.VALUE: ("a value with a blank is not in quotes: its rest is {named}", "put the whole value in quotes"),
}  # fmt: skip
"""Cause and remedy of each."""


@dataclass(frozen=True)
class RefusedArgument:
    """One refused word of the command line."""

    word: str
    refusal: Refusal
    about: str = ""
    """The script, the releases or the names that were meant; of a continuation, its kind."""


@dataclass(frozen=True)
class RefusedArguments:
    """What was refused, in words."""

    cause: str
    remedy: str


def explain(text: str) -> RefusedArguments | None:
    """What argparse's message means. None if it is another one."""
    ambiguous = _AMBIGUOUS.search(text)
    if ambiguous is not None:
        options = " or ".join(ambiguous["options"].split(", "))
        return RefusedArguments(
            f"{ambiguous['typed']} is short for several options", f"write it in full: {options.strip()}"
        )
    refused = _REFUSED.search(text)
    if refused is None:
        return None
    script = _SCRIPTS.get(refused["script"] or "", refused["script"] or _NETWORK)
    script = script if script in {_NETWORK, _WHOLE} else _NETWORK
    found = _without_followers(_as_one_path(list(_arguments(refused["words"].split()[:_MOST_WORDS], script))))
    told = [_words(kind, [one for one in found if one.refusal is kind]) for kind in Refusal]
    causes, remedies = zip(*filter(None, told), strict=True)
    return RefusedArguments("; ".join(causes), "; ".join(dict.fromkeys(remedies)))


def _without_followers(found: list[RefusedArgument]) -> list[RefusedArgument]:
    """Behind a word without quotes sound options are refused too: they are not at fault."""
    words = {Refusal.CONTINUATION, Refusal.NUMBER, Refusal.PATH, Refusal.VALUE}
    if all(one.refusal not in words for one in found):
        return found
    everywhere = " and ".join(_releases())
    return [one for one in found if (one.refusal, one.about) != (Refusal.OTHER_RELEASE, everywhere)]


def _as_one_path(found: list[RefusedArgument]) -> list[RefusedArgument]:
    """Words that stand beside a part of a path belong to it."""
    if all(one.refusal is not Refusal.PATH for one in found):
        return found
    return [replace(one, refusal=Refusal.PATH) if one.refusal is Refusal.VALUE else one for one in found]


def _arguments(words: Iterable[str], script: str) -> Iterator[RefusedArgument]:
    is_value = False
    for word in words:
        if word in _CONTINUATIONS:
            is_value = False
            yield RefusedArgument(word, Refusal.CONTINUATION, _CONTINUATIONS[word])
        elif word[0] in _DASHES:
            is_value = True
            yield RefusedArgument(word, Refusal.DASH, "--" + word.lstrip(_DASHES + "-").replace("\u2014", "--"))
        elif word.startswith("-") and word[1:2] not in "0123456789.":
            name = word.partition("=")[0]
            is_value = "=" not in word
            yield _option(name, script)
        elif not is_value:  # the value of a refused option is refused with it
            yield RefusedArgument(word, _kind_of_word(word))


def _kind_of_word(word: str) -> Refusal:
    if _ARGUMENT.match(word):
        return Refusal.ARGUMENT
    if word.strip(",").isdecimal():
        return Refusal.NUMBER
    return Refusal.PATH if _PATH.search(word) else Refusal.VALUE


def _option(typed: str, script: str) -> RefusedArgument:
    name = typed.lstrip("-").replace("-", "_")
    other = _WHOLE if script == _NETWORK else _NETWORK
    if name in _OF_OLDER_MODELS:
        return RefusedArgument(typed, Refusal.OLDER_MODELS)
    releases = [release for release in _releases() if name in _names(release, script)]
    if releases:
        return RefusedArgument(typed, Refusal.OTHER_RELEASE, " and ".join(releases))
    if any(name in _names(release, other) for release in _releases()):
        return RefusedArgument(typed, Refusal.OTHER_SCRIPT, other)
    meant = formatting.suggestion(name, {one for release in _releases() for one in _names(release, script)})
    if meant is not None:
        return RefusedArgument(typed, Refusal.MISSPELT, meant)
    return RefusedArgument(typed, Refusal.UNKNOWN)


@cache
def _releases() -> tuple[str, ...]:
    return tuple(sorted(path.stem for path in shipped.RELEASES.glob("*.json")))


@cache
def _names(release: str, script: str) -> frozenset[str]:
    return frozenset(option.name for option in shipped.table(release).scripts[script])


def _words(refusal: Refusal, found: list[RefusedArgument]) -> tuple[str, str] | None:
    """Cause and remedy of all arguments that were refused for one reason. None without arguments."""
    if not found:
        return None
    named = " ".join(dict.fromkeys(one.word for one in found))
    about = " or ".join(dict.fromkeys(one.about for one in found))
    kind = "dreambooth" if about == _WHOLE else "lora"
    cause, remedy = _WORDS[refusal]
    return cause.format(named=named, about=about), remedy.format(about=about, kind=kind)
