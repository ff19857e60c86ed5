"""`sdxl-train start`: from a folder of pictures to a project file and a started run, by five questions."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer

from sdxl_train_cli import layout
from sdxl_train_cli.commands import asking, measured, start_questions, train, values, workspace
from sdxl_train_cli.commands.start_questions import Typed
from sdxl_train_cli.commands.train_options import AsJson, GpuIndex, PredictionOption
from sdxl_train_cli.commands.workspace import HomeOption
from sdxl_train_cli.dataset import checking, picture_names
from sdxl_train_cli.dataset.checking import CheckedDataset, DatasetSource
from sdxl_train_cli.environment import environment
from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.gpu import Gpu
from sdxl_train_cli.layout import Home
from sdxl_train_cli.memory import requirement
from sdxl_train_cli.recipe import Kind
from sdxl_train_cli.recipes import project
from sdxl_train_cli.run import first_run, preparation, run_choices, summary
from sdxl_train_cli.run.first_run import FirstRun
from sdxl_train_cli.run.preparation import Prepared
from sdxl_train_cli.ui import console, printing

_FOLDERS = ("data", "pictures", "images", "dataset")
"""Where pictures are looked for if no folder is given."""
_LARGE_GIB = 80.0
"""Size of the GPU that a run is prepared for where there is none, so that nothing is refused for its sake."""

_START = "Start now? (n: write sdxl-train.yaml alone)"
_UNMEASURED = "not known: nothing like it was measured on this GPU; `sdxl-train fit` does so in five minutes"

Folder = Annotated[
    Path | None,
    typer.Argument(metavar="FOLDER", help="Folder of pictures [default: data, pictures, images or this one]"),
]
What = Annotated[
    str | None,
    typer.Option("--what", metavar="SUBJECT", help="What you train: character, object, style, concept or several"),
]
Model = Annotated[
    str | None,
    typer.Option("--model", "-m", metavar="MODEL", help="SDXL base: file, diffusers folder or Hugging Face id"),
]
Trigger = Annotated[
    str | None, typer.Option("--trigger", "-t", metavar="WORDS", help="Trigger word for your subject; - for none")
]
For = Annotated[str | None, typer.Option("--for", metavar="AIM", help="What matters more: quality or speed")]
Preset = Annotated[
    str | None,
    typer.Option("--preset", "-p", metavar="PRESET", help="A preset instead of the one that suits the answers"),
]
GpuMemory = Annotated[float | None, values.gpu_memory("Plan for a GPU of this many GB, without a start")]
NoVramCheck = Annotated[
    bool, typer.Option("--no-vram-check", help="Start even without a GPU, or if it seems too small")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing, take the defaults and start")]
Force = Annotated[bool, typer.Option("--force", help="Write sdxl-train.yaml anew")]


def start(
    folder: Folder = None, what: What = None, model: Model = None, trigger: Trigger = None, aim: For = None,
    preset: Preset = None, prediction: PredictionOption = None, gpu: GpuIndex = None, gpu_memory: GpuMemory = None,
    no_vram_check: NoVramCheck = False, yes: Yes = False, force: Force = False, as_json: AsJson = False,
    home: HomeOption = None,
) -> None:  # fmt: skip
    """Ask what to train, write the project file, and start."""
    asks = asking.is_possible() and not (yes or as_json)
    if not _may_write(asks=asks, force=force):
        console.note(f"kept; next: {_written_command()} goes by it")
        return
    data = folder or _usual_folder()
    checked = _look(data)
    device = preparation.choose_device(gpu, gpu_memory)
    start_questions.show_found(data, checked, device)
    first = start_questions.answers(data, checked, Typed(what, model, trigger, aim, preset, prediction), asks=asks)
    where = workspace.home(home)
    plan = _Plan(first, where, device, gpu, gpu_memory, no_vram_check)
    text = plan.text()
    prepared = plan.prepared(text)
    _show(first, prepared, device)
    if yes and (prepared is None or not plan.can_start):
        raise UsageError(plan.hindrance(), plan.next_lines[0])
    can_start = prepared is not None and plan.can_start
    starts = can_start and (yes or (asks and asking.confirm(_START, default=True)))
    written = project.write(Path.cwd(), text)
    console.note(f"written: {written}")
    if starts and prepared is not None:
        train.launch(prepared, where, as_json=as_json, is_told=True)
        return
    for line in plan.next_lines:
        console.note(f"next: {line}")
    if as_json:
        printing.data({"event": "written", "file": str(written), "next": list(plan.next_lines)}, indent=None)
    else:
        printing.out(str(written))


def _may_write(*, asks: bool, force: bool) -> bool:
    """Whether the project file may be written. UsageError if it is there and nobody can be asked."""
    there = os.path.lexists(layout.PROJECT_FILE)
    if not there or force:
        return True
    if asks:
        return asking.confirm(f"{layout.PROJECT_FILE} is already here. Write it anew?", default=False)
    project.require_absent(Path.cwd(), f"`{_written_command()}` goes by it; --force writes it anew")
    return False


def _written_command() -> str:
    return f"sdxl-train {(project.load(Path.cwd()).kind or Kind.LORA).value}"


def _usual_folder() -> Path:
    found = next((Path(name) for name in _FOLDERS if Path(name).is_dir()), None)
    if found is None and not picture_names.holds_pictures(Path.cwd()):
        raise UsageError("no pictures are given, and this folder has none", "sdxl-train start FOLDER")
    return found or Path()


def _look(data: Path) -> CheckedDataset:
    """Look at the pictures. DatasetError for what a trigger word does not mend."""
    source = DatasetSource(data, called="give another folder: sdxl-train start FOLDER")
    with workspace.picture_progress() as on_progress:
        checked = checking.check(source, None, on_progress)
    findings = tuple(each for each in checked.findings if each.kind != "caption-missing")
    checking.require_no_error(replace(checked, findings=findings))
    return checked


@dataclass(frozen=True)
class _Plan:
    """A first run and where it would train."""

    first: FirstRun
    where: Home
    device: Gpu | None
    gpu: int | None
    gpu_memory: float | None
    no_vram_check: bool

    @property
    def is_set_up(self) -> bool:
        """Whether there is anything to train with."""
        return environment.find(self.where) is not None

    @property
    def can_start(self) -> bool:
        """Whether it can be started here."""
        return self.is_set_up and self.gpu_memory is None and (self.device is not None or self.no_vram_check)

    @property
    def is_fast(self) -> bool:
        """Whether it trains with --fast."""
        return self.first.is_fast and self.device is not None

    def text(self) -> str:
        """The project file for these answers and this GPU."""
        known: requirement.Known = requirement.unmeasured
        if self.device is not None:
            runs = measured.runs(self.where, self.device, str(self.first.data))
            known = replace(runs, fast=self.is_fast).need
        free_gib = None if self.device is None else self.device.free_gib
        return first_run.text(self.first, first_run.settings(self.first, workspace.user_presets(), free_gib, known))

    def prepared(self, text: str) -> Prepared | None:
        """The run as the command for its kind would prepare it from that file. None before setup."""
        if not self.is_set_up:
            return None
        written, kind = project.parse(text), self.first.kind
        pretended = _LARGE_GIB if self.device is None and not self.no_vram_check else self.gpu_memory
        choices = run_choices.choose(
            kind, run_choices.fill_in(kind, written, {}), run_choices.overrides(kind, written), repeats=None,
            gpu_index=self.gpu, gpu_memory_gib=pretended, fast=self.is_fast,
            check_vram=self.device is not None and not self.no_vram_check,
        )  # fmt: skip
        with workspace.picture_progress() as on_progress:
            return preparation.prepare(choices, self.where, workspace.user_presets(), on_progress)

    def hindrance(self) -> str:
        """Why it can't be started."""
        if not self.is_set_up:
            return "nothing can be started: sd-scripts is not set up"
        where = "no NVIDIA GPU was found" if self.gpu_memory is None else "--gpu-memory pretends a GPU"
        return f"nothing can be started: {where}"

    @property
    def next_lines(self) -> tuple[str, ...]:
        """What to type now."""
        command = f"sdxl-train {self.first.kind.value}"
        if not self.is_set_up:
            return "sdxl-train setup", f"{command}, which trains what the file says"
        if self.can_start:
            return (f"{command} --fast" if self.is_fast else command,)
        size = "8" if self.gpu_memory is None else f"{self.gpu_memory:g}"
        shown = f"{command} --dry-run --gpu-memory {size}, which shows what would be trained"
        return shown, f"{command}, on a computer with a GPU"


def _show(first: FirstRun, prepared: Prepared | None, device: Gpu | None) -> None:
    """The plan in a few lines."""
    what = f"{first.preset_name} ({first.reason}), on {first.base.name}"
    if prepared is None:
        console.note(f"preset:   {what}")
        return
    train.tell(prepared)
    console.note(f"preset:   {what}")
    for line in summary.lines(prepared, f"needs {requirement.need(prepared.heaviest)}"):
        console.note(line)
    if device is not None:
        console.note(f"time:     {summary.time_words(prepared) or _UNMEASURED}")
