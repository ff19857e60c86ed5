"""Write an imported preset as commented YAML: its source, its base, and its changes."""

from __future__ import annotations

from collections.abc import Iterator

from sdxl_train_cli.importers.foreign_settings import KeyFate
from sdxl_train_cli.importers.preset_building import ImportedPreset
from sdxl_train_cli.recipes import yaml_file

_LONGEST_NAME = 80


def render(imported: ImportedPreset, source: str) -> str:
    """The file's text. `source` is the imported file's name without folders."""
    name = "".join(char if char.isprintable() else "?" for char in source)[:_LONGEST_NAME]
    head = [f"# Imported from {name} ({imported.format})", *(f"# {fact}" for fact in imported.facts)]
    description = f"{imported.kind.label} from {name}"
    lines = [f"extends: {imported.base}", f"description: {yaml_file.quoted(description)}", "", *_options(imported)]
    return "\n".join([*head, *lines]).rstrip() + "\n"


def _options(imported: ImportedPreset) -> Iterator[str]:
    spoken = {entry.option for entry in imported.entries}
    for option, value in imported.changes.items():
        if option in spoken:
            comment = _comment(imported, option)
            yield f"{yaml_file.line(option, value)}{f' # {comment}' if comment else ''}"
    silent = [option for option in imported.changes if option not in spoken]
    if silent:
        yield ""
        yield "# The file does not mention these, so sd-scripts decides"
        yield from (yaml_file.line(option, imported.changes[option]) for option in silent)


def _comment(imported: ImportedPreset, option: str) -> str:
    """The key that an option came from, if its name differs."""
    entry = next(entry for entry in reversed(imported.entries) if entry.option == option)
    source = "" if entry.what is KeyFate.TAKEN else f"{entry.key.strip('()')} {entry.shown}".strip()
    return source if source.isprintable() else ""
