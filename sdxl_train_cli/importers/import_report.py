"""Report what became of every key of an imported file, for people and for programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sdxl_train_cli.importers import option_translation
from sdxl_train_cli.importers.foreign_settings import ForeignKey, KeyFate, shown
from sdxl_train_cli.importers.preset_building import ImportedPreset

HEADINGS = ("key", "value", "what happened to it")
_ORDER = (KeyFate.UNKNOWN, KeyFate.COMPUTED, KeyFate.RENAMED, KeyFate.TAKEN)
_NOTHING = "taken: off, or sd-scripts' default"


def rows(imported: ImportedPreset) -> Iterator[tuple[str, str, str]]:
    """Yield a row for each key, doubtful ones first. Keys left out for the same reason share a row."""
    shared: dict[str, list[ForeignKey]] = {}
    for what in _ORDER:
        for entry in imported.entries:
            if entry.what is not what:
                continue
            if _says_nothing(entry):
                shared.setdefault(_NOTHING, []).append(entry)
            else:
                yield entry.key, entry.shown, _became(entry)
    for entry in imported.entries:
        if entry.what is KeyFate.IGNORED:
            shared.setdefault(_became(entry), []).append(entry)
    for reason, entries in shared.items():
        keys = ", ".join(dict.fromkeys(entry.key for entry in entries))
        if len(entries) == 1:
            yield keys, entries[0].shown, reason
        else:
            yield f"({len(entries)} keys)", "", f"{reason}: {keys}"


def summary(imported: ImportedPreset) -> str:
    """Number of keys by fate."""
    counts = {what: len({entry.key for entry in imported.entries if entry.what is what}) for what in KeyFate}
    return ", ".join(f"{count} {what.value}" for what, count in counts.items() if count)


def facts(imported: ImportedPreset, path: str | None) -> dict[str, object]:
    """The whole report as plain data."""
    return {
        "preset": path,
        "format": imported.format,
        "kind": imported.kind.value,
        "extends": imported.base,
        "options": {option: _plain(value) for option, value in imported.changes.items()},
        "keys": [_fact(entry) for entry in imported.entries],
    }


def _says_nothing(entry: ForeignKey) -> bool:
    if entry.option is None or entry.note:
        return False
    return (
        entry.value is None if entry.what is KeyFate.COMPUTED else option_translation.is_off(entry.option, entry.value)
    )


def _became(entry: ForeignKey) -> str:
    note = f" ({entry.note})" if entry.note and entry.option is not None else entry.note
    if entry.what is KeyFate.UNKNOWN:
        return f"{entry.what.value}: {entry.note}"
    if entry.option is None:
        return f"{entry.what.value}: {note}"
    if entry.what is KeyFate.TAKEN:
        return f"{entry.what.value}{note}"
    value = "left to sd-scripts" if entry.value is None else shown(_text(entry.value))
    return f"{entry.option}: {value}{note}" if entry.what is KeyFate.COMPUTED else f"{entry.option}{note}"


def _fact(entry: ForeignKey) -> dict[str, object]:
    return {
        "key": entry.key,
        "value": entry.shown,
        "what": entry.what.value,
        "option": entry.option,
        "becomes": _plain(entry.value),
        "note": entry.note,
    }


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def _text(value: object) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return " ".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
