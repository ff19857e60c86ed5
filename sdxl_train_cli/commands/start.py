"""`sdxl-train start`: from a folder of pictures to a project file and a started run, by five questions."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from sdxl_train_cli import language, layout
from sdxl_train_cli.commands import asking, start_questions, train, train_options, values, workspace
from sdxl_train_cli.commands.start_plan import StartPlan
from sdxl_train_cli.commands.start_questions import Typed
from sdxl_train_cli.commands.train_options import WATCHING, AsJson, GpuIndex, NoSamples, Sample, Validate
from sdxl_train_cli.commands.workspace import HomeOption
from sdxl_train_cli.dataset import caption_style, checking, folders, picture_names
from sdxl_train_cli.dataset.checking import CheckedDataset, DatasetSource
from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.recipe import Kind
from sdxl_train_cli.recipes import project
from sdxl_train_cli.records import storage
from sdxl_train_cli.run import preparation, run_choices
from sdxl_train_cli.sdscripts.base_model import Prediction
from sdxl_train_cli.ui import console, printing

_FOLDERS = ("data", "pictures", "images", "dataset")
"""Where pictures are looked for if no folder is given."""

_ELSEWHERE = "go to a folder of your own first: sdxl-train.yaml and output/ are written where you are"

Folder = Annotated[
    Path | None,
    typer.Argument(metavar="FOLDER", help="Folder of pictures [default: data, pictures, images or this one]"),
]
_ANSWERS = "Answers"


def _answer(*names: str, metavar: str, about: str) -> Any:  # noqa: ANN401 - typer's
    return typer.Option(*names, metavar=metavar, help=about, rich_help_panel=_ANSWERS)


def _switch(*names: str, about: str, panel: str = WATCHING) -> Any:  # noqa: ANN401 - as above
    return typer.Option(*names, help=about, rich_help_panel=panel)


What = Annotated[
    str | None,
    _answer("--what", metavar="SUBJECT", about="What you train: character, object, style, concept or several"),
]
Model = Annotated[
    str | None,
    _answer("--model", "-m", metavar="MODEL", about="SDXL base: file, diffusers folder or Hugging Face id"),
]
Trigger = Annotated[
    str | None, _answer("--trigger", "-t", metavar="WORDS", about="Trigger word for your subject; - for none")
]
For = Annotated[str | None, _answer("--for", metavar="AIM", about="What matters more: quality or speed")]
Preset = Annotated[
    str | None,
    _answer("--preset", "-p", metavar="PRESET", about="A preset instead of the one that suits the answers"),
]
Says = Annotated[
    Prediction | None,
    values.one_of("--prediction", Prediction, panel=_ANSWERS,
                  about="What the base predicts, where its header doesn't say"),
]  # fmt: skip
GpuMemory = Annotated[
    float | None, values.gpu_memory("Plan for a GPU of this many GB, without a start", panel=train_options.GPU)
]
NoVramCheck = Annotated[
    bool,
    _switch("--no-vram-check", about="Start even without a GPU, or if it seems too small", panel=train_options.GPU),
]
Yes = Annotated[bool, _switch("--yes", "-y", about="Ask nothing, take the defaults and start")]
Force = Annotated[bool, _switch("--force", about="Write sdxl-train.yaml anew")]


def start(
    folder: Folder = None, what: What = None, model: Model = None, trigger: Trigger = None, aim: For = None,
    preset: Preset = None, prediction: Says = None, sample: Sample = None, no_samples: NoSamples = False,
    validate: Validate = None,
    gpu: GpuIndex = None, gpu_memory: GpuMemory = None,
    no_vram_check: NoVramCheck = False, yes: Yes = False, force: Force = False, as_json: AsJson = False,
    home: HomeOption = None,
) -> None:  # fmt: skip
    """Ask what to train, write the project file, and start."""
    storage.require_writable(Path.cwd(), _ELSEWHERE)
    asks = asking.is_possible() and not (yes or as_json)
    if not _may_write(asks=asks, force=force):
        english = "kept; next: {command} goes by it"
        console.note(language.said("start", "kept", english, command=_written_command()))
        return
    data = folder or _usual_folder()
    checked = _look(data)
    device = preparation.choose_device(gpu, gpu_memory)
    captions = caption_style.look(checked.survey)
    start_questions.show_found(data, checked, captions, device)
    samples = run_choices.samples(project.Project(), sample, no_samples=no_samples)
    typed = Typed(what, model, trigger, aim, preset, prediction, samples, validate)
    first = start_questions.answers(data, captions, typed, asks=asks)
    where = workspace.home(home)
    plan = StartPlan(first, where, device, gpu, gpu_memory, no_vram_check)
    text = plan.text()
    prepared = plan.prepared(text)
    plan.show(text, prepared)
    if yes and (prepared is None or not plan.can_start):
        raise UsageError(plan.hindrance(), plan.way_out())
    can_start = prepared is not None and plan.can_start
    starts = can_start and (yes or (asks and asking.confirm(_start_question(), default=True)))
    written = project.write(Path.cwd(), text)
    console.note(language.said("start", "written", "written: {file}", file=written))
    if starts and prepared is not None:
        train.launch(prepared, where, as_json=as_json, is_told=True)
        return
    _tell_written(written, plan.next_lines(prepared), as_json=as_json)


def _tell_written(written: Path, then: Sequence[str], *, as_json: bool) -> None:
    for line in then:
        console.note(language.said("start", "next", "next: {line}", line=line))
    if as_json:
        printing.data({"event": "result", "state": "written", "path": str(written), "next": list(then)}, indent=None)
    else:
        printing.out(str(written))


def _may_write(*, asks: bool, force: bool) -> bool:
    """Whether the project file may be written. UsageError if it is there and nobody can be asked."""
    there = os.path.lexists(layout.PROJECT_FILE)
    if not there or force:
        return True
    if asks:
        english = "{file} is already here. Write it anew?"
        return asking.confirm(language.said("start", "anew", english, file=layout.PROJECT_FILE), default=False)
    project.require_absent(Path.cwd(), f"`{_written_command()}` goes by it; --force writes it anew")
    return False


def _start_question() -> str:
    return language.said("start", "start", "Start now? (n: write sdxl-train.yaml alone)")


def _written_command() -> str:
    return f"sdxl-train {(project.load(Path.cwd()).kind or Kind.LORA).value}"


def _usual_folder() -> Path:
    found = next((Path(name) for name in _FOLDERS if Path(name).is_dir()), None)
    if found is None and not (picture_names.holds_pictures(Path.cwd()) or folders.has_numbered(Path.cwd())):
        raise UsageError("no pictures are given, and this folder has none", "sdxl-train start FOLDER")
    return found or Path()


def _look(data: Path) -> CheckedDataset:
    """Look at the pictures. DatasetError for what a trigger word does not mend."""
    source = DatasetSource(data, called="give `sdxl-train start`")
    with console.picture_progress() as on_progress:
        checked = checking.check(source, None, on_progress)
    findings = tuple(each for each in checked.findings if each.kind != "caption-missing")
    checking.require_no_error(replace(checked, findings=findings))
    return checked
