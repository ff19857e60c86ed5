"""The journal of a fix, one line per picture: a report for the user, and where an interrupted fix continues."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path

from sdxl_train_cli import files
from sdxl_train_cli.dataset.picture import SUFFIXES
from sdxl_train_cli.errors import DatasetError

NAME = "fix.jsonl"
TOLD = "fix.log"
"""The journal in words, for people."""
_FORM = 1
_WANTED: Mapping[str, tuple[type, ...]] = {
    "source": (str,), "picture": (str, type(None)), "caption": (str, type(None)), "did": (list,),
    "left_out": (str, type(None)), "look": (bool,), "stamp": (str,), "size": (int,), "caption_digest": (str,),
}  # fmt: skip
_MADE = {"picture": tuple(chain.from_iterable(SUFFIXES.values())), "caption": (".txt",)}
_ELSEWHERE = re.compile(r"[\\:]")
"""Path components that leave a folder on Windows."""
_DEEPEST = 2
"""Deepest path in a copy: one folder level, for repeats."""


@dataclass(frozen=True)
class JournalEntry:
    """What happened to one picture."""

    source: str
    """Path relative to the source folder, with `/`."""
    picture: str | None
    """Path relative to the new folder. None if the picture was left out."""
    caption: str | None
    did: tuple[str, ...]
    """Changes in words. Empty if none were needed."""
    left_out: str | None
    """Why the picture was left out, in words."""
    look: bool
    """Whether the user must look at it."""
    stamp: str
    """Digest of the originals and of the request. If it is unchanged, the work need not be repeated."""
    size: int
    """Size of the new picture in bytes."""
    caption_digest: str = ""
    """Digest of the new caption, to detect later edits by the user. Empty in older journals."""

    @property
    def line(self) -> str:
        """The entry in one line, for people."""
        what = [f"left out: {self.left_out}"] if self.left_out else [*self.did] or ["copied as it is"]
        moved = f" -> {self.picture}" if self.picture not in {None, self.source} else ""
        return " ".join(f"{self.source}{moved}: {', '.join(what)}".split())


class Journal:
    """The journal file in the new folder. Several threads append lines."""

    def __init__(self, folder: Path, data: Path) -> None:
        self._path, self._data = folder / NAME, data
        self._lock = threading.Lock()

    def load(self) -> dict[str, JournalEntry] | None:
        """Entries of an earlier fix of the same folder, by source. None if there was no fix.

        Raises DatasetError if the file belongs to something else.
        """
        try:
            text = files.read_text(self._path)
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise self._foreign() from error
        except ValueError as error:  # larger: hundreds of thousands of pictures, or a stranger's file
            raise DatasetError(f"{self._path} can't be read: {error}", "give --to a new folder") from error
        lines = [line for line in text.split("\n") if line]
        records = [record for line in lines if (record := _record(line)) is not None]
        if not lines:
            return {}  # a full disk or power cut prevented its first line
        if not records or records[0].get("fix") != _FORM or records[0].get("from") != str(self._data):
            raise self._foreign()
        entries = (_entry(record) for record in records[1:])
        return {entry.source: entry for entry in entries if entry is not None}

    def _foreign(self) -> DatasetError:
        return DatasetError(
            f"{self._path} does not belong to a fix of {self._data}",
            "give --to a new folder, or the one that it was made for",
        )

    def write(self, entries: Iterable[JournalEntry]) -> None:
        """Replace the whole file."""
        head = {"fix": _FORM, "from": str(self._data)}
        lines = [json.dumps(record) for record in (head, *map(asdict, entries))]
        files.write(self._path, "\n".join(lines) + "\n")

    def add(self, entry: JournalEntry) -> None:
        """Append a line."""
        line = json.dumps(asdict(entry)) + "\n"
        with self._lock, self._path.open("a", encoding="utf-8") as file:
            file.write(line)


def _record(line: str) -> Mapping[str, object] | None:
    try:
        record = files.parse_json(line)
    except ValueError:  # the last line, cut off
        return None
    return record if isinstance(record, dict) else None


def _entry(record: Mapping[str, object]) -> JournalEntry | None:
    """Parse an entry. None if a fix would not write it: journals may come from strangers, and name files to delete."""
    record = {"caption_digest": "", **record}
    if record.keys() != _WANTED.keys() or not all(isinstance(record[key], wanted) for key, wanted in _WANTED.items()):
        return None
    did = record["did"]
    texts = [each for each in did if isinstance(each, str)] if isinstance(did, list) else []
    if not all(_is_within(record[key], suffixes) for key, suffixes in _MADE.items()):
        return None
    return JournalEntry(**{**record, "did": tuple(texts)})  # type: ignore[arg-type]  # each was looked at


def _is_within(name: object, suffixes: tuple[str, ...]) -> bool:
    """Whether the name is one that a fix could create: a file in the folder, or one level below."""
    if name is None:
        return True
    parts = str(name).split("/")
    plain = all(part and part[0] != "." and part.isprintable() and not _ELSEWHERE.search(part) for part in parts)
    return plain and len(parts) <= _DEEPEST and parts[-1].endswith(suffixes)
