"""`sdxl-train presets import` and `export`: exchange settings with other programs."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from sdxl_train_cli import files, formatting, untrusted_files
from sdxl_train_cli.commands import completion, values, workspace
from sdxl_train_cli.commands.workspace import HomeOption, KindFilter
from sdxl_train_cli.environment import environment
from sdxl_train_cli.errors import Gathering, Problem, UsageError
from sdxl_train_cli.importers import exporting, format_detection, import_report, preset_building, preset_text
from sdxl_train_cli.importers.preset_building import ImportedPreset
from sdxl_train_cli.recipe import Kind, Recipe
from sdxl_train_cli.recipes import preset_folders, presets
from sdxl_train_cli.rules import rules
from sdxl_train_cli.sdscripts.options import OptionTable
from sdxl_train_cli.ui import console


class ReportForm(str, Enum):
    """Values of `--report`."""

    TABLE = "table"
    JSON = "json"
    NONE = "none"


class TargetForm(str, Enum):
    """Values of `export --to`."""

    TOML = "toml"
    KOHYA_GUI = "kohya-gui"
    COMMAND = "command"


Files = Annotated[
    list[Path],
    typer.Argument(
        metavar="FILE", help="Settings of kohya_ss, sd-scripts, LoRA Easy Training Scripts or OneTrainer, or a LoRA"
    ),
]
Folder = Annotated[
    Path | None, typer.Option("--to", metavar="FOLDER", help="Folder for the presets [default: your own presets]")
]
NameOption = Annotated[
    str | None, typer.Option("--name", "-n", metavar="NAME", help="The preset's name [default: the file's]")
]
ReportOption = Annotated[
    ReportForm, values.one_of("--report", ReportForm, about="Format of the report on every key [default: table]")
]
Force = Annotated[bool, typer.Option("--force", help="Overwrite an existing preset")]
PresetName = Annotated[
    str,
    typer.Argument(
        metavar="PRESET",
        help="A name from `sdxl-train presets list`, or a file",
        autocompletion=completion.preset_names,
    ),
]
To = Annotated[TargetForm, values.one_of("--to", TargetForm, about="Program to write for")]
Output = Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="A new file [default: print it]")]


def import_(
    files: Files, to: Folder = None, name: NameOption = None, report: ReportOption = ReportForm.TABLE,
    kind: KindFilter = None, force: Force = False, home: HomeOption = None,
) -> None:  # fmt: skip
    """Make presets from other programs' settings."""
    if name is not None and len(files) > 1:
        raise UsageError("--name works with one file only", "import the files one by one, or omit --name")
    _require_different_names(files)
    table = environment.option_table(workspace.home(home))
    if table.release:
        console.note(f"checked against the options of sd-scripts {table.release}")
    wanted = None if kind is None else workspace.kind(kind)
    gathering, facts = Gathering(), []
    for file in files:
        with gathering.part():
            imported = preset_building.build(format_detection.read(file, str(file)), table, str(file), wanted)
            path = _written(imported, file, _folder(to, imported.kind), name, force=force)
            facts.append(import_report.facts(imported, str(path)))
            console.note(f"{path.stem}: {imported.kind.label}, extends {imported.base}; {imported.format}")
            if report is ReportForm.TABLE:
                console.err_table(import_report.HEADINGS, import_report.rows(imported))
            console.note(import_report.summary(imported))
            for warning in imported.warnings:
                console.warn(warning)
            if report is not ReportForm.JSON:
                console.out(str(path))
    if report is ReportForm.JSON:
        console.data(facts)
    gathering.require_none()


def export(
    preset: PresetName, to: To, output: Output = None, kind: KindFilter = None, force: Force = False,
    home: HomeOption = None,
) -> None:  # fmt: skip
    """Write a preset for another program."""
    recipe = _recipe(preset, kind, environment.option_table(workspace.home(home)))
    lost: tuple[str, ...] = ()
    if to is TargetForm.KOHYA_GUI:
        form = exporting.kohya_gui(recipe)
        text, lost = untrusted_files.json_text(form.fields), form.lost
    else:
        text = (
            exporting.toml(recipe) if to is TargetForm.TOML else formatting.shell_line(exporting.command(recipe)) + "\n"
        )
    for option in lost:
        console.warn(Problem(f"the GUI can't hold {option}", "set it there by hand"))
    console.note(f"{recipe.name}: {recipe.kind.label}, for {recipe.kind.script}; give model, pictures and output there")
    if output is None:
        console.document(text.rstrip("\n"))
        return
    preset_folders.write(output, text, force=force)
    console.out(str(output))


def _recipe(preset: str, kind: str | None, table: OptionTable) -> Recipe:
    user = workspace.user_presets()
    found = None if kind is None else workspace.kind(kind)
    if found is None and files.is_file(preset):
        found = presets.kind_of(Path(preset), user)
    having = (one for one in Kind if preset in presets.names(one, user))
    return rules.require(presets.load(found or next(having, Kind.LORA), preset, (), user), table)


def _folder(typed: Path | None, kind: Kind) -> Path:
    return workspace.user_presets() / kind.value if typed is None else typed


def _written(imported: ImportedPreset, file: Path, folder: Path, name: str | None, *, force: bool) -> Path:
    bare = _file_name(file.stem if name is None else name)
    if not bare:
        raise UsageError(f"'{name or file.stem}' is not a valid preset name", "choose a name with --name")
    path = folder / f"{bare}.yaml"
    preset_folders.write(path, preset_text.render(imported, file.name), force=force)
    return path


def _require_different_names(files: list[Path]) -> None:
    """Prevent one call from overwriting a preset that it has just written."""
    names = [_file_name(file.stem) for file in files]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"several of the files are named '{twice}'", "import them one by one, with --name")


def _file_name(text: str) -> str:
    """A name valid on every file system and shown in lists: without a leading underscore."""
    return "".join(char if char.isalnum() or char in " ._-+()" else "-" for char in text).strip(" .-_")[:100]
