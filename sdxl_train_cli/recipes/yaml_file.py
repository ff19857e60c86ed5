"""Read a YAML file of options as frozen entries with line numbers. Other YAML features are refused."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from sdxl_train_cli import files, formatting
from sdxl_train_cli.errors import Problem, RecipeError
from sdxl_train_cli.origin import Origin
from sdxl_train_cli.recipe import Scalar, Value

SIZE_LIMIT_BYTES = 128 * 1024
"""Ten times a preset with every option. 1 MiB of brackets takes half a minute to parse."""

_TAG = "tag:yaml.org,2002:"
_TEXT_TAGS = frozenset(_TAG + name for name in ("str", "timestamp", "value", "merge"))
_TRUE_WORDS = frozenset({"yes", "true", "on"})
# 0o17, 0x1F and 1:30 are numbers to YAML 1.1 as well; they stay as typed, since nobody means them so here.
_PLAIN_WORD = re.compile(r"[A-Za-z][\w.-]*", re.ASCII)
_WHOLE_NUMBER = re.compile(r"[-+]?[0-9][0-9_]{0,17}")

WrongValue = tuple[str, str | None]
"""What is wrong with a value, and what to write."""


@dataclass(frozen=True)
class YamlEntry:
    """One key with its value and its line, counted from 1."""

    key: str
    value: Value | None
    """None for `null`, for a missing value, and for a mapping."""
    line: int
    entries: tuple[YamlEntry, ...] | None = None
    """Contents of a nested mapping. None for any other entry."""


@dataclass(frozen=True)
class YamlDocument:
    """A file's entries in order."""

    shown: str
    """The file's name as the user knows it."""
    entries: tuple[YamlEntry, ...]

    def get(self, key: str) -> YamlEntry | None:
        """The key's entry. None if the file lacks it."""
        return next((entry for entry in self.entries if entry.key == key), None)

    def where(self, entry: YamlEntry) -> Origin:
        """The entry's location."""
        return Origin(self.shown, entry.line)


def load(path: Path, shown: str | None = None, nested: Collection[str] = ()) -> YamlDocument:
    """Read a file. `nested` names the keys that may contain a mapping.

    Raises RecipeError listing every problem.
    """
    shown = str(path) if shown is None else shown
    try:
        content = files.read_bytes(path, SIZE_LIMIT_BYTES)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise RecipeError(Problem(f"cannot be read: {reason}", where=shown)) from error
    return parse(_decoded(content, shown), shown, nested)


def parse(text: str, shown: str, nested: Collection[str] = ()) -> YamlDocument:
    """Parse YAML text, as `load` does."""
    root = _composed(text, shown)
    if root is None:  # empty, or comments only
        return YamlDocument(shown, ())
    if not isinstance(root, MappingNode):
        raise RecipeError(
            Problem("does not hold `option: value` lines", "write one option per line: `network_dim: 32`", shown)
        )
    problems = list(dict.fromkeys(_problems(root, nested)))
    if problems:
        raise RecipeError([Problem(text, hint, Origin(shown, line)) for line, text, hint in problems])
    return YamlDocument(shown, _entries(root))


def load_plain(path: Path) -> object:
    """Another program's file, as YAML has it. RecipeError if it can't be read."""
    try:
        return yaml.safe_load(_decoded(files.read_bytes(path, SIZE_LIMIT_BYTES), str(path)))
    except (OSError, ValueError, OverflowError, RecursionError, yaml.YAMLError) as error:
        raise RecipeError(Problem("cannot be read", where=str(path))) from error


def quoted(text: str) -> str:
    """The text as one line of YAML that reads back as the same text."""
    return str(yaml.safe_dump(text, default_style='"', allow_unicode=True, width=math.inf)).rstrip("\n")


def line(option: str, value: Value | None) -> str:
    """One `option: value` line that reads back as the same value."""
    if isinstance(value, tuple):
        return f"{option}: [{', '.join(_written(part) for part in value)}]"
    return f"{option}: {'null' if value is None else _written(value)}"


def line_of_setting(setting: str) -> str:
    """The line that stands for `option=value`, as `--set` takes it."""
    option, _, value = setting.partition("=")
    is_plain = re.fullmatch(r"[\w./+-]+", value) is not None
    return f"{option}: {value if is_plain else quoted(value)}"


def _written(value: Scalar) -> str:
    if isinstance(value, str):
        return value if _PLAIN_WORD.fullmatch(value) and not _is_other(value) else quoted(value)
    return str(yaml.safe_dump(value)).splitlines()[0]


def _is_other(word: str) -> bool:
    """Whether YAML would parse a bare word as something other than text."""
    return not isinstance(yaml.safe_load(word), str)


def _decoded(content: bytes, shown: str) -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise RecipeError(Problem("is UTF-16", "save it as UTF-8", shown))
    try:
        return content.decode("utf-8-sig")  # Windows editors often write a BOM
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise RecipeError(Problem("is not UTF-8", "save it as UTF-8", Origin(shown, line))) from error


def _composed(text: str, shown: str) -> Node | None:
    try:
        node: Node | None = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = Origin(shown, None if mark is None else mark.line + 1)
        raise RecipeError(Problem(*_syntax_problem(error), where)) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise RecipeError(Problem("holds a character that YAML does not allow", None, Origin(shown, line))) from error
    except RecursionError as error:
        raise RecipeError(Problem("is nested too deeply", None, shown)) from error
    except (ValueError, OverflowError) as error:  # PyYAML on "\\UFFFFFFFF" and on a directive of absurd length
        raise RecipeError(Problem("is not YAML: it has an invalid escape or directive", None, shown)) from error
    return node


def _syntax_problem(error: yaml.MarkedYAMLError) -> tuple[str, str | None]:
    reason = error.problem or error.context or "it cannot be read"
    if r"'\t'" in reason:
        return "a tab is used where YAML allows only spaces", "replace it with spaces"
    if "single document" in str(error.context):
        return "a second document begins here", "remove the `---`"
    return f"is not YAML: {reason}", 'write `option: value`, and put text with special characters into "quotes"'


def _problems(root: MappingNode, nested: Collection[str]) -> Iterator[tuple[int, str, str | None]]:
    first_lines: dict[str, int] = {}
    for key, value in root.value:
        line = key.start_mark.line + 1
        if not isinstance(key, ScalarNode):
            yield line, "a key must be a name, not a list or a mapping", None
            continue
        if key.value in first_lines:
            message = f"'{key.value}' is set a second time (first in line {first_lines[key.value]})"
            yield line, message, "keep one of the two"
        first_lines.setdefault(key.value, line)
        if isinstance(value, MappingNode) and key.value in nested:
            yield from _problems(value, ())
        else:
            yield from _value_problems(line, key.value, value)


def _value_problems(line: int, name: str, node: Node) -> Iterator[tuple[int, str, str | None]]:
    if isinstance(node, MappingNode):
        yield line, f"'{name}' takes a value or a list, not a mapping", 'quote text that has a colon: "a: b"'
        return
    parts = node.value if isinstance(node, SequenceNode) else [node]
    for part in parts:
        if not isinstance(part, ScalarNode):
            yield line, f"'{name}' takes a list of plain values, not of lists or mappings", None
        elif part.tag not in _TEXT_TAGS and part.tag.removeprefix(_TAG) not in {"int", "float", "bool", "null"}:
            yield line, f"'{name}' has the tag {part.tag.replace(_TAG, '!!')}, which is not supported", None
        elif part.tag == _TAG + "null" and node is not part:
            yield line, f"'{name}' has an empty value in its list", None


def _entries(root: MappingNode) -> tuple[YamlEntry, ...]:
    return tuple(
        YamlEntry(key.value, None, key.start_mark.line + 1, _entries(value))
        if isinstance(value, MappingNode)
        else YamlEntry(key.value, _value(value), key.start_mark.line + 1)
        for key, value in root.value
    )


def _value(node: Node) -> Value | None:
    if isinstance(node, SequenceNode):
        return tuple(scalar for part in node.value if (scalar := _scalar(part)) is not None)
    return _scalar(node)


def _scalar(node: Node) -> Scalar | None:
    text = str(node.value)
    kind = node.tag.removeprefix(_TAG)
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() in _TRUE_WORDS
    if kind == "int" and _WHOLE_NUMBER.fullmatch(text):
        return int(text)
    if kind == "float":
        return _float(text)
    return text


def _float(text: str) -> float | str:
    try:
        number = float(text)
    except ValueError:  # .inf, .nan and 1:30.5 are floats to YAML only
        return text
    return number if math.isfinite(number) else text


def texts(
    document: YamlDocument,
    known: tuple[str, ...],
    nested: tuple[str, ...] = (),
    meant: Callable[[YamlEntry], str | None] = lambda _: None,
    others: Mapping[str, Callable[[YamlEntry], WrongValue | None]] = MappingProxyType({}),
) -> dict[str, str]:
    """The document's values by key. RecipeError for an unknown key, and for a value that is no text.

    `nested` keys are known too; each holds a mapping. `others` hold something else, and say what is wrong with it.
    `meant` gives a hint on an unknown key.
    """
    keys = (*known, *nested, *others)
    problems: list[Problem] = []
    for entry in document.entries:
        if entry.key not in keys:
            hint = meant(entry) or formatting.suggestion(entry.key, keys) or f"known keys: {', '.join(keys)}"
            problems.append(Problem(f"unknown key '{entry.key}'", hint, document.where(entry)))
            continue
        judge = others.get(entry.key) or (_nested_problem if entry.key in nested else _text_problem)
        wrong = judge(entry)
        if wrong is not None:
            problems.append(Problem(*wrong, document.where(entry)))
    if problems:
        raise RecipeError(problems)
    return {entry.key: entry.value for entry in document.entries if entry.key in known and isinstance(entry.value, str)}


def _nested_problem(entry: YamlEntry) -> WrongValue | None:
    if entry.entries is not None or entry.value is None:
        return None
    return f"{entry.key} takes `option: value` lines under it", None


def _text_problem(entry: YamlEntry) -> WrongValue | None:
    if isinstance(entry.value, tuple):
        return f"{entry.key} takes one value, not a list", None
    if isinstance(entry.value, str | None):
        return None
    what = "true or false" if isinstance(entry.value, bool) else "a number"
    return f"{entry.key} takes text, and YAML reads {what} here", f'put it into quotes: {entry.key}: "..."'


def dumped(content: object) -> str:
    """A document for another program; texts of several lines are written as they are."""
    return str(yaml.dump(content, Dumper=_BlockDumper, sort_keys=False, allow_unicode=True, width=math.inf))


class _BlockDumper(yaml.SafeDumper):
    """Writes texts of several lines as blocks."""


def _text_node(dumper: _BlockDumper, text: str) -> ScalarNode:
    return dumper.represent_scalar(f"{_TAG}str", text, style="|" if "\n" in text else None)


_BlockDumper.add_representer(str, _text_node)
