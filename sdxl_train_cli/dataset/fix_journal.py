"""What a fix has done, a line for each picture: the list for the person, and where an interrupted fix goes on."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PureWindowsPath

from sdxl_train_cli.errors import DatasetError

NAME = "fix.jsonl"
TOLD = "fix.log"
"""The same in words, for reading."""
_FORM = 1


@dataclass(frozen=True)
class Entry:
    """What became of one picture."""

    source: str
    """Below the folder that is fixed, with `/`."""
    picture: str | None
    """Below the new folder; None where it was left out."""
    caption: str | None
    did: tuple[str, ...]
    """In words; empty where all was right."""
    left_out: str | None
    """Why, in words."""
    look: bool
    """Whether a person must look at it."""
    stamp: str
    """Of the originals and of what was asked: where it is the same, there is nothing to do again."""
    size: int
    """Of the new picture, in bytes."""

    @property
    def told(self) -> str:
        """One line for a person."""
        what = [f"left out: {self.left_out}"] if self.left_out else [*self.did] or ["copied as it is"]
        moved = f" -> {self.picture}" if self.picture not in {None, self.source} else ""
        return " ".join(f"{self.source}{moved}: {', '.join(what)}".split())


class Journal:
    """The file in the new folder; lines are added from several threads."""

    def __init__(self, folder: Path, data: Path) -> None:
        self._path, self._data = folder / NAME, data
        self._lock = threading.Lock()

    def load(self) -> dict[str, Entry] | None:
        """What an earlier fix of the same folder has done, by source; None where there was none.

        Raises DatasetError where the file belongs to something else.
        """
        try:
            lines = self._path.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise self._foreign() from error
        records = [record for line in lines if (record := _record(line)) is not None]
        if not lines:
            return {}  # the disk was full, or the power gone, before its first line
        if not records or records[0].get("fix") != _FORM or records[0].get("from") != str(self._data):
            raise self._foreign()
        entries = (_entry(record) for record in records[1:])
        return {entry.source: entry for entry in entries if entry is not None}

    def _foreign(self) -> DatasetError:
        return DatasetError(
            f"{self._path} is not of a fix of {self._data}", "give --to a new folder, or the one that it was made for"
        )

    def write(self, entries: Iterable[Entry]) -> None:
        """Write the whole file anew, beside and renamed."""
        head = {"fix": _FORM, "from": str(self._data)}
        lines = [json.dumps(record) for record in (head, *map(asdict, entries))]
        beside = self._path.with_name(f".{NAME}.new")
        beside.write_text("\n".join(lines) + "\n", encoding="utf-8")
        beside.replace(self._path)

    def add(self, entry: Entry) -> None:
        """Add a line."""
        line = json.dumps(asdict(entry)) + "\n"
        with self._lock, self._path.open("a", encoding="utf-8") as file:
            file.write(line)


def _record(line: str) -> Mapping[str, object] | None:
    try:
        record = json.loads(line)
    except ValueError:  # the last line, cut off
        return None
    return record if isinstance(record, dict) else None


def _entry(record: Mapping[str, object]) -> Entry | None:
    """None for what a fix does not write: the journal may come from anywhere, and what it names is written anew."""
    try:
        entry = Entry(**record)  # type: ignore[arg-type]  # looked at below
        entry = replace(entry, did=tuple(entry.did))
    except TypeError:
        return None
    texts = [entry.source, entry.stamp, *entry.did, *(text for text in _optional(entry) if text is not None)]
    sound = all(isinstance(text, str) for text in texts) and isinstance(entry.size, int)
    return entry if sound and all(name is None or _is_below(name) for name in (entry.picture, entry.caption)) else None


def _optional(entry: Entry) -> tuple[str | None, ...]:
    return entry.picture, entry.caption, entry.left_out


def _is_below(name: str) -> bool:
    """Whether a fix may have made it: in the new folder itself, or in a subset's right below it."""
    path = PureWindowsPath(name)  # with Windows' eyes, which also know a drive and a \\
    return 1 <= len(path.parts) <= _DEEPEST and not path.anchor and ".." not in path.parts and "\0" not in name


_DEEPEST = 2
