"""What `sdxl-train start` would train, and where: the project file, the prepared run, and what to type next."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sdxl_train_cli import formatting, gpu
from sdxl_train_cli.commands import measured, train, workspace
from sdxl_train_cli.environment import environment
from sdxl_train_cli.gpu import Gpu
from sdxl_train_cli.layout import Home
from sdxl_train_cli.memory import requirement
from sdxl_train_cli.recipes import presets, project
from sdxl_train_cli.run import first_run, preparation, run_choices, summary
from sdxl_train_cli.run.first_run import FirstRun
from sdxl_train_cli.run.preparation import Prepared
from sdxl_train_cli.ui import console

_LARGE_GIB = 80.0
"""Size of the GPU that a run is prepared for where there is none, so that nothing is refused for its sake."""
_UNMEASURED = "not known: nothing like it was measured on this GPU; `sdxl-train fit` does so in five minutes"

_SIZES = (8, 12, 16, 24, 32, 48, 80)
"""GPU memory as it is sold, in GB."""


@dataclass(frozen=True)
class StartPlan:
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
            samples=run_choices.samples(written, None, no_samples=False),
            validation=run_choices.validation(written, typed=None),
            keep_best=written.keep_best,
        )  # fmt: skip
        with workspace.picture_progress() as on_progress:
            return preparation.prepare(choices, self.where, workspace.user_presets(), on_progress)

    def hindrance(self) -> str:
        """Why it can't be started."""
        if not self.is_set_up:
            return "nothing can be started: sd-scripts is not set up"
        where = "no NVIDIA GPU was found" if self.gpu_memory is None else "--gpu-memory pretends a GPU"
        return f"nothing can be started: {where}"

    def way_out(self) -> str:
        """What to type where it can't be started, and no file is written."""
        if not self.is_set_up:
            return "sdxl-train setup"
        return "leave out --yes to write sdxl-train.yaml alone, or start without a GPU with --no-vram-check"

    def next_lines(self, prepared: Prepared | None) -> tuple[str, ...]:
        """What to type now that the file is written."""
        is_fast = self.is_fast if self.can_start else self.first.is_fast
        command = f"sdxl-train {self.first.kind.value}{' --fast' if is_fast else ''}"
        if not self.is_set_up or prepared is None:
            return "sdxl-train setup", f"{command}, which trains what the file says"
        if self.can_start:
            chosen = "" if self.gpu is None else f" --gpu {self.gpu}"
            return (f"{command}{chosen}{' --no-vram-check' if self.no_vram_check else ''}",)
        size = _suitable_size(prepared) if self.gpu_memory is None else self.gpu_memory
        shown = f"{command} --dry-run --gpu-memory {size:g}, which shows what would be trained"
        folder = formatting.shell_word(self.first.data)
        small = f"sdxl-train start {folder} --force --gpu-memory {_SIZES[0]}, which fits it to a smaller GPU"
        return (
            shown,
            *([small] if self.gpu_memory is None and size > _SIZES[0] else []),
            f"{command}, on a computer with a GPU",
        )

    def show(self, text: str, prepared: Prepared | None) -> None:
        """The plan in a few lines."""
        what = f"{self.first.preset_name} ({self.first.reason}), on {self.first.base.name}"
        if prepared is None:
            console.note(f"preset:   {what}")
            overrides = project.parse(text).overrides
            recipe = presets.load(self.first.kind, self.first.preset_name, overrides, workspace.user_presets())
            console.note(f"length:   {recipe.get('max_train_steps')} steps")
            console.note(f"memory:   needs {requirement.need(recipe)}")
            return
        train.tell(prepared)
        console.note(f"preset:   {what}")
        for line in summary.lines(prepared, f"needs {requirement.need(prepared.heaviest)}"):
            console.note(line)
        if self.device is not None:
            console.note(f"time:     {summary.time_words(prepared) or _UNMEASURED}")


def _suitable_size(prepared: Prepared) -> float:
    """The smallest GPU on which the run is not refused."""
    needs = requirement.need(prepared.heaviest).high_gib + requirement.TIGHT_GIB
    return next(
        (size for size in _SIZES if needs <= gpu.hypothetical(size, gpu.usual_headroom_gib()).free_gib), _SIZES[-1]
    )
