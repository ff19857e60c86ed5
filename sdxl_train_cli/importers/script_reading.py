"""Follow a script of sh, cmd or PowerShell to its calls of the trainer: blocks and conditions, line by line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from sdxl_train_cli.importers import script_assignments, script_conditions, script_lines
from sdxl_train_cli.importers.script_lines import ScriptLine, WrittenFile
from sdxl_train_cli.importers.script_variables import Variables, split_words

SCRIPT = re.compile(r"(?:^|[\\/\s\"'])(sdxl_train(?:_network)?\.py)(?=[\s\"']|$)")
_SAYS = re.compile(
    r"(?i)[@&(!]*(?:echo|printf|print|write-(?:host|output|error|warning)|rem|if|elif|test|cp|copy|move|mv|del|rm|cat|ls"
    r"|sed|grep|wget|curl|git|throw|log\w*|title|note|file|\[+)(?![\w.=])"
)
"""Commands that can name the trainer without calling it."""
OTHER_SCRIPT = re.compile(r"\b((?:\w{1,60}_)?train(?:_\w{1,60})?|fine_tune)\.py\b")
_BRACED = re.compile(
    r"(?:\}\s*)?(?P<word>if|elseif|else|foreach)\s*(?:\((?P<test>.*)\))?\s*\{(?P<body>[^{}]*(?:\{[^{}]*\}[^{}]*)*)(?P<end>\}?)",
    re.IGNORECASE | re.DOTALL,
)
_EITHER = re.compile(r"if\s*\((?P<test>.*?)\)\s*\{(?P<one>[^{}]*)\}\s*else\s*\{(?P<other>[^{}]*)\}", re.IGNORECASE)
_KEYS = re.compile(r"\$\w+\s+in\s+\$(?P<table>\w+)\.(?:Keys|GetEnumerator\(\))", re.IGNORECASE)
_SHORT = re.compile(r"(?P<test>\[\[? .*? \]\]?|test .*?)\s*(?P<how>&&|\|\|)\s*(?P<then>.*)")
_ELSE = re.compile(r"(?i)(?:else|elseif)\b[^{]*\{")
"""Of PowerShell, in the line after the closing brace."""
_MOST_CALLS = 1000


@dataclass
class TrainerCall:
    """A call of the trainer: its line, its text, and its words with the variables filled in."""

    number: int
    text: str
    words: list[str]


@dataclass
class FollowedScript:
    """What a script does, as far as the trainer is concerned."""

    calls: list[TrainerCall] = field(default_factory=list)
    written: list[WrittenFile] = field(default_factory=list)
    variables: Variables = field(default_factory=Variables)
    other_script: str = ""
    """A script of another model that is called as the variables are set, such as train_network.py."""


@dataclass
class _Block:
    passed: bool | None = True
    """Whether it is passed. None if that can't be told."""
    before: bool | None = False
    """Whether an earlier branch of the same `if` was passed."""
    table: str = ""
    """The table whose keys a PowerShell loop goes through."""


@dataclass
class _Walk:
    found: FollowedScript = field(default_factory=FollowedScript)
    blocks: list[_Block] = field(default_factory=list)
    others: list[ScriptLine] = field(default_factory=list)
    """Calls that are not passed, and texts that hold one."""
    closed: _Block | None = None
    """The block that the statement before has closed: an `else` in a line of its own belongs to it."""

    @property
    def passed(self) -> bool | None:
        states = [block.passed for block in self.blocks]
        return False if False in states else None if None in states else True

    def open(self, passed: bool | None, table: str = "") -> None:
        self.blocks.append(_Block(passed, passed, table))

    def turn(self, passed: bool | None) -> None:
        block = self.blocks[-1] if self.blocks else _Block()
        block.passed = False if block.before is True else None if block.before is None and passed else passed
        block.before = True if True in (block.before, passed) else None if None in (block.before, passed) else False

    def close(self) -> None:
        self.closed = self.blocks.pop() if self.blocks else None


def follow(text: str) -> FollowedScript:
    """Every call of the trainer, with all that is known by then. ValueError if a call's quotes don't close."""
    script = script_lines.split(text)
    walk = _Walk()
    for line in script.lines:
        _run(walk, line.number, line.text)
    found = walk.found
    if not found.calls and not found.other_script:
        for line in walk.others:
            _call(walk, line)
    found.written = [
        WrittenFile(found.variables.filled(each.target), found.variables.filled_lines(each.text))
        for each in script.written
    ]
    return found


def _run(walk: _Walk, number: int, text: str) -> None:
    for part in _statements(text):
        _step(walk, number, part)


def _statements(text: str) -> Iterator[str]:
    """The parts between semicolons outside of quotes and brackets. What follows a call of the trainer is none."""
    start, depth, quote = 0, 0, ""
    for at, char in enumerate(text):
        if quote:
            quote = "" if char == quote else quote
        elif char in "\"'":
            quote = char
        elif char in "([{":
            depth += 1
        elif char in ")]}":
            depth = max(0, depth - 1)
        elif char == ";" and depth == 0:
            yield text[start:at].strip()
            start = at + 1
            if SCRIPT.search(text[:at]):
                return
    yield text[start:].strip()


def _step(walk: _Walk, number: int, text: str) -> None:
    closed, walk.closed = walk.closed, None
    if closed is not None and _ELSE.match(text):
        walk.blocks.append(closed)
    for word in ("then", "do"):
        text = text.removeprefix(f"{word} ").strip() if text != word else ""
    if text == "else" or (text.startswith("else ") and not re.search(r"[{(]\s*$", text)):
        walk.turn(passed=True)
        text = text.removeprefix("else").strip()
    if not text or _braces(walk, number, text) or _batch(walk, number, text) or _shell(walk, number, text):
        return
    passed = walk.passed
    variables, table = walk.found.variables, next((block.table for block in walk.blocks if block.table), "")
    is_set = passed is not False and script_assignments.assign(
        text, variables, number, is_certain=passed is True, table=table
    )
    if is_set and not SCRIPT.search(text):
        return
    if is_set or passed is False:
        walk.others += [] if _SAYS.match(text) else [ScriptLine(number, text)]
    elif not _SAYS.match(text):
        _call(walk, ScriptLine(number, text))


def _inline(walk: _Walk, number: int, passed: bool | None, text: str) -> None:
    walk.open(passed)
    _run(walk, number, text)
    walk.close()


def _braces(walk: _Walk, number: int, text: str) -> bool:
    """Blocks of PowerShell, and functions of sh."""
    variables = walk.found.variables
    either = _EITHER.fullmatch(text)
    if either is not None:
        passed = script_conditions.judged(either["test"], variables)
        _inline(walk, number, passed, either["one"])
        _inline(walk, number, None if passed is None else not passed, either["other"])
        return True
    match = _BRACED.fullmatch(text)
    if match is not None:
        word, test = match["word"].lower(), match["test"] or ""
        keys = _KEYS.fullmatch(test.strip()) if word == "foreach" else None
        passed = True if word in {"else", "foreach"} else script_conditions.judged(test, variables)
        if word.startswith("else"):
            walk.turn(passed)
        else:
            walk.open(passed, "" if keys is None else keys["table"])
        _run(walk, number, match["body"])
        if match["end"]:
            walk.close()
        return True
    if text.startswith("}"):
        walk.close()
    if text.endswith("{") and "=" not in text:
        walk.open(passed=True)
        return True
    return text.startswith("}")


def _batch(walk: _Walk, number: int, text: str) -> bool:
    """Blocks of a batch file."""
    if text == ")":
        walk.close()
        return True
    closed = re.match(r"\)?\s*else\s+(?=[(i])", text, re.IGNORECASE)
    rest = text if closed is None else text[closed.end() :]
    found = script_conditions.of_batch(rest, walk.found.variables)
    if closed is not None and (rest == "(" or (found is not None and found[1] == "(")):
        walk.turn(True if found is None else found[0])
        return True
    if found is None:
        is_loop = re.match(r"for\s.*\sdo\s*\($", text, re.IGNORECASE) is not None
        if is_loop:
            walk.open(passed=True)
        return is_loop
    if found[1] == "(":
        walk.open(found[0])
    else:
        _inline(walk, number, found[0], found[1].removeprefix("(").removesuffix(")"))
    return True


def _shell(walk: _Walk, number: int, text: str) -> bool:
    """Blocks of sh."""
    word, _, rest = text.partition(" ")
    if word in {"fi", "done", "esac"}:
        walk.close()
    elif word in {"if", "elif"}:
        passed = script_conditions.judged(rest, walk.found.variables)
        walk.open(passed) if word == "if" else walk.turn(passed)
    elif word in {"for", "while", "until", "select", "case"} and rest:
        walk.open(passed=None if word == "case" else True)
    elif (short := _SHORT.fullmatch(text)) is not None:
        passed = script_conditions.judged(short["test"], walk.found.variables)
        is_or = short["how"] == "||"
        _inline(walk, number, None if passed is None else passed is not is_or, short["then"])
    else:
        return False
    return True


def _call(walk: _Walk, line: ScriptLine) -> None:
    """Note a call of the trainer, if the statement is one."""
    if len(walk.found.calls) >= _MOST_CALLS or (
        "$" not in line.text and "%" not in line.text and ".py" not in line.text
    ):
        return
    variables = walk.found.variables
    filled = variables.filled(line.text)
    if SCRIPT.search(filled) is None and SCRIPT.search(line.text) is None:
        other = OTHER_SCRIPT.search(filled)
        walk.found.other_script = other[0] if other is not None and " --" in filled else walk.found.other_script
        return
    text = script_assignments.without_prefix(line.text, variables)
    words = [part for word in split_words(variables.with_paths(text)) for part in variables.words(word)]
    if any(SCRIPT.search(f" {word}") for word in words):
        walk.found.calls.append(TrainerCall(line.number, line.text, words))
