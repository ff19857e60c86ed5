"""`sdxl-train file edit`: change what a file says of itself. Its weights stay byte for byte."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sdxl_train_cli import formatting
from sdxl_train_cli.commands import home_option
from sdxl_train_cli.commands.file import options
from sdxl_train_cli.commands.file.options import DryRun, File, Force, Json, Output
from sdxl_train_cli.commands.home_option import HomeOption
from sdxl_train_cli.environment import environment
from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.lora_files import editing, handed, output, result, rewriting, traces
from sdxl_train_cli.lora_files.editing import MetadataEdit, MetadataEdited
from sdxl_train_cli.lora_files.handed import HandedFile
from sdxl_train_cli.ui import console, file_facts

_CARD, _OTHER = "What it says", "Other keys"
Title = Annotated[
    str | None, typer.Option("--title", metavar="TEXT", help="Its name for people", rich_help_panel=_CARD)
]
Trigger = Annotated[
    str | None, typer.Option("--trigger", "-t", metavar="WORDS", help="Words that call it up", rich_help_panel=_CARD)
]
Author = Annotated[str | None, typer.Option("--author", metavar="NAME", help="Who made it", rich_help_panel=_CARD)]
Licence = Annotated[
    str | None,
    typer.Option("--licence", "--license", metavar="NAME", help="Such as CC-BY-4.0", rich_help_panel=_CARD),
]
Description = Annotated[
    str | None, typer.Option("--description", metavar="TEXT", help="What it is good for", rich_help_panel=_CARD)
]
Tags = Annotated[
    str | None, typer.Option("--tags", metavar="A,B", help="Tags to find it by, with commas", rich_help_panel=_CARD)
]
Hint = Annotated[
    str | None,
    typer.Option("--usage-hint", metavar="TEXT", help="Strength, what to pair it with", rich_help_panel=_CARD),
]
Scrub = Annotated[
    bool,
    typer.Option(
        "--scrub", help="Take out what tells of a person or a machine, and say what went", rich_help_panel=_OTHER
    ),
]
NoCaptions = Annotated[
    bool,
    typer.Option("--no-captions", help="With --scrub: the words of the captions go too", rich_help_panel=_OTHER),
]
Set = Annotated[
    list[str] | None, typer.Option("--set", "-s", metavar="KEY=VALUE", help="Set any key", rich_help_panel=_OTHER)
]
Remove = Annotated[
    list[str] | None, typer.Option("--remove", metavar="KEY", help="Take a key away", rich_help_panel=_OTHER)
]
_ENDING = "edited"


def edit(
    file: File, to: Output = None, title: Title = None, trigger: Trigger = None, author: Author = None,
    licence: Licence = None, description: Description = None, tags: Tags = None, usage_hint: Hint = None,
    scrub: Scrub = False, no_captions: NoCaptions = False, settings: Set = None, remove: Remove = None,
    force: Force = False, dry_run: DryRun = False, as_json: Json = False, home: HomeOption = None,
) -> None:  # fmt: skip
    """Change what a file says of itself, or scrub it. The weights stay."""
    typed = {"title": title, "trigger_phrase": trigger, "author": author, "license": licence,
             "description": description, "tags": tags, "usage_hint": usage_hint}  # fmt: skip
    fields = {name: text for name, text in typed.items() if text is not None}
    change = MetadataEdit(fields, settings or (), remove or (), scrub, keep_captions=not no_captions)
    _require_something(change, no_captions=no_captions)
    found = handed.open_model(options.path(file))
    path = output.choose(to, found.path, _ENDING, [found.path], force=force)
    edited = editing.edit(found.model, change, traces.names_here())
    output.require_room(path, rewriting.written_bytes(found.path, edited.metadata))
    if edited.scrubbed is not None and not as_json:
        file_facts.tell_scrubbed(edited.scrubbed)
    if dry_run:
        _tell_plan(path, edited, as_json=as_json)
        return
    _write(found, path, edited, as_json=as_json, home=home)


def _require_something(change: MetadataEdit, *, no_captions: bool) -> None:
    if no_captions and not change.scrub:
        raise UsageError("--no-captions is a part of scrubbing", "add --scrub")
    if change.is_empty:
        raise UsageError("nothing to change", "such as --title 'My style', or --scrub; -h lists all")


def _write(found: HandedFile, path: Path, edited: MetadataEdited, *, as_json: bool, home: str | None) -> None:
    rewriting.write(found.path, path, edited.metadata)
    made = result.examine(path, environment.find(home_option.home(home)))
    options.tell(made, _facts(edited), as_json=as_json)


def _tell_plan(path: Path, edited: MetadataEdited, *, as_json: bool) -> None:
    if as_json:
        console.data({"path": str(path), "dry_run": True, "metadata": dict(edited.metadata), **_facts(edited)})
    else:
        console.note(f"would write {path} with {formatting.counted(len(edited.metadata), 'key')}")


def _facts(edited: MetadataEdited) -> dict[str, object]:
    found = edited.scrubbed
    if found is None:
        return {}
    return {
        "removed": [{"key": change.key, "why": change.why} for change in found.removed],
        "changed": [{"key": change.key, "now": change.after, "why": change.why} for change in found.changed],
    }
