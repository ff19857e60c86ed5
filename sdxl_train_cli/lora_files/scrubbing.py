"""Take out of a file's metadata what tells of a person or a machine, and say what went.

metadata_keys.toml says which keys do. Besides, every key and value is searched, so that a path in a key that nobody
knows is found too, however deep in JSON it stands.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from sdxl_train_cli import files, untrusted_files
from sdxl_train_cli.lora_files import traces
from sdxl_train_cli.lora_files.traces import KnownNames

TABLE = Path(__file__).with_name("metadata_keys.toml")
_DEEPEST = 40
_TOO_DEEP = "JSON too deep to be searched"
_REPEATED = "JSON that sets a key twice, of which readers see one"
_FILE = re.compile(r"[^.]\.\w{1,12}$")
"""How the name of a file ends. That of a folder may tell what is in it."""
_NOTHING = frozenset({"", "None"})
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True)
class KeyRule:
    """A row of the table: a key, and what is done with it."""

    key: str
    fate: str
    why: str
    source: str
    nested: bool = False


@dataclass(frozen=True)
class MetadataChange:
    """What became of one key."""

    key: str
    before: str
    after: str | None
    """None if it was removed."""
    why: str


@dataclass(frozen=True)
class Scrubbed:
    """Metadata that tells of no person and no machine, and what went."""

    kept: Mapping[str, str]
    """All that remains, what was changed included."""
    removed: tuple[MetadataChange, ...]
    changed: tuple[MetadataChange, ...]


class _RepeatedKeyError(ValueError):
    """JSON that sets a key twice."""


@dataclass
class _Work:
    """One scrubbing: names that count, folders seen so far, and why something had to go."""

    known: KnownNames
    keep_captions: bool
    folders: dict[str, str] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)

    def number(self, folder: str) -> str:
        """The name that a folder is called by from now on."""
        return self.folders.setdefault(folder, f"folder {len(self.folders) + 1}")


_GONE = object()


def scrub(metadata: Mapping[str, str], known: KnownNames, *, keep_captions: bool = True) -> Scrubbed:
    """Scrub metadata. Touches no file.

    `known` names users and hosts; users whose home folders the metadata itself names count too. Without
    `keep_captions`, the words of the captions and their counts go as well.
    """
    work = _Work(known.with_homes((*metadata, *metadata.values())), keep_captions)
    kept: dict[str, str] = {}
    removed, changed = [], []
    for key, before in metadata.items():
        work.reasons = []
        after = _scrubbed(key, before, work)
        why = "; ".join(dict.fromkeys(work.reasons))
        if after is None:
            removed.append(MetadataChange(key, before, None, why))
            continue
        kept[key] = after
        if after != before:
            changed.append(MetadataChange(key, before, after, why))
    return Scrubbed(kept, tuple(removed), tuple(changed))


@cache
def rules() -> Mapping[tuple[str, bool], KeyRule]:
    """Every row of the table, by key and whether it is a key inside of a value."""
    found: Any = untrusted_files.toml_table(TABLE.read_text(encoding="utf-8"), TABLE.name)
    return {(row["key"], row.get("nested", False)): KeyRule(**row) for row in found["key"]}


def _scrubbed(key: str, value: str, work: _Work) -> str | None:
    """What remains of a value. None if it has to go, or its key tells too much by itself."""
    in_key = traces.find(key, work.known)
    if in_key is not None:
        work.reasons.append(f"its name has {in_key}")
        return None
    if value in _NOTHING:
        return value
    rule = rules().get((key, False))
    after = _text(value, rule, work, depth=0)
    if not isinstance(after, str):
        return None
    left = traces.find(after, work.known)
    if left is not None:
        work.reasons.append(f"it has {left}")
        return None
    return after


def _text(text: str, rule: KeyRule | None, work: _Work, depth: int) -> object:
    """A text after its rule, or what is left of the JSON in it."""
    if rule is not None and rule.fate in {"remove", "number", "day"}:
        return _by_fate(text, rule, work)
    try:
        inner = _parsed(text)
    except _RepeatedKeyError:
        work.reasons.append(f"it is {_REPEATED}")
        return _GONE
    if isinstance(inner, dict | list):
        after = _structure(inner, rule, work, depth + 1)
        return text if after == inner else _GONE if after is _GONE else json.dumps(after, ensure_ascii=False)
    if rule is not None:
        return _by_fate(text, rule, work)
    if isinstance(inner, str) and inner != text:  # JSON of a single text
        after = _text(inner, None, work, depth + 1)
        return text if after == inner else _GONE if after is _GONE else json.dumps(after, ensure_ascii=False)
    return _searched(text, work)


def _searched(text: str, work: _Work) -> object:
    """A plain text: a path keeps its last part, any other trace takes the text with it."""
    found = traces.find(text, work.known)
    if found is None:
        return text
    work.reasons.append(f"it has {found}")
    name = traces.file_name(text)
    if traces.is_path(text) and _FILE.search(name) and traces.find(name, work.known) is None:
        return name
    return _GONE


def _structure(found: object, rule: KeyRule | None, work: _Work, depth: int) -> object:
    """JSON without what tells of a person or a machine."""
    if depth > _DEEPEST:
        work.reasons.append(f"it has {_TOO_DEEP}")
        return _GONE
    if isinstance(found, dict):
        return _object(found, rule, work, depth)
    if isinstance(found, list):
        return [each for each in (_structure(part, rule, work, depth + 1) for part in found) if each is not _GONE]
    return _text(found, rule, work, depth) if isinstance(found, str) else found


def _object(found: Mapping[str, object], rule: KeyRule | None, work: _Work, depth: int) -> object:
    if rule is not None and rule.fate == "captions" and not work.keep_captions:
        work.reasons.append("the words of the captions")
        return _GONE
    if rule is not None and rule.fate in {"folders", "captions"}:
        work.reasons.append(rule.why)
        numbered = {work.number(name): _structure(part, None, work, depth + 1) for name, part in found.items()}
        return {name: part for name, part in numbered.items() if part is not _GONE}
    return dict(_entries(found, work, depth))


def _entries(found: Mapping[str, object], work: _Work, depth: int) -> Iterator[tuple[str, object]]:
    for name, part in found.items():
        trace = traces.find(name, work.known)
        if trace is not None:
            work.reasons.append(f"it has {trace}")
            continue
        rule = rules().get((name, True))
        if rule is not None and rule.fate == "remove":
            work.reasons.append(rule.why)
            continue
        after = _structure(part, rule, work, depth + 1)
        if after is not _GONE:
            yield name, after


def _by_fate(text: str, rule: KeyRule, work: _Work) -> object:
    """A plain text after its row of the table."""
    if rule.fate == "file_name" and traces.find(text, work.known) is None:
        return text
    if rule.fate in {"folders", "captions"}:  # not the object that it should be
        return _searched(text, work)
    work.reasons.append(rule.why)
    if rule.fate == "file_name":
        name = traces.file_name(text)
        return name if name and traces.find(name, work.known) is None else _GONE
    if rule.fate == "number":
        return work.number(text)
    day = _DAY.match(text)
    return day[0] if rule.fate == "day" and day else _GONE


def _parsed(text: str) -> object:
    """The JSON that a text is. The text itself if it is none."""
    if text.lstrip()[:1] not in {"{", "[", '"'}:
        return text
    try:
        return files.parse_json(text, object_pairs_hook=_once)
    except _RepeatedKeyError:
        raise
    except ValueError:
        return text


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _RepeatedKeyError
    return found
