"""What `sdxl-train start` would train, and where: the project file, the prepared run, and what to type next."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from sdxl_train_cli import formatting, gpu, language
from sdxl_train_cli.commands import measured, start_questions, train, workspace
from sdxl_train_cli.dataset import bucketing
from sdxl_train_cli.environment import environment
from sdxl_train_cli.gpu import Gpu
from sdxl_train_cli.layout import Home
from sdxl_train_cli.memory import preset_drafting, requirement
from sdxl_train_cli.recipe import Recipe
from sdxl_train_cli.recipes import presets, project
from sdxl_train_cli.run import first_run, preparation, run_choices, summary, validating
from sdxl_train_cli.run.first_run import FirstRun
from sdxl_train_cli.run.preparation import Prepared
from sdxl_train_cli.ui import console

_LARGE_GIB = 80.0
"""Size of the GPU that a run is prepared for where there is none, so that nothing is refused for its sake."""
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
        with console.picture_progress() as on_progress:
            return preparation.prepare(choices, self.where, workspace.user_presets(), on_progress)

    def hindrance(self) -> str:
        """Why it can't be started."""
        if not self.is_set_up:
            return language.said("start", "cant-setup", "nothing can be started: sd-scripts is not set up")
        if self.gpu_memory is None:
            return language.said("start", "cant-gpu", "nothing can be started: no NVIDIA GPU was found")
        return language.said("start", "cant-pretended", "nothing can be started: --gpu-memory pretends a GPU")

    def way_out(self) -> str:
        """What to type where it can't be started, and no file is written."""
        if not self.is_set_up:
            return "sdxl-train setup"
        english = "leave out --yes to write sdxl-train.yaml alone, or start without a GPU with --no-vram-check"
        return language.said("start", "cant-hint", english)

    def next_lines(self, prepared: Prepared | None) -> tuple[str, ...]:
        """What to type now that the file is written."""
        is_fast = self.is_fast if self.can_start else self.first.is_fast
        command = f"sdxl-train {self.first.kind.value}{' --fast' if is_fast else ''}"
        if not self.is_set_up or prepared is None:
            english = "{command}, which trains what the file says"
            return "sdxl-train setup", language.said("start", "next-train", english, command=command)
        if self.can_start:
            chosen = "" if self.gpu is None else f" --gpu {self.gpu}"
            return (f"{command}{chosen}{' --no-vram-check' if self.no_vram_check else ''}",)
        size = _suitable_size(prepared) if self.gpu_memory is None else self.gpu_memory
        english = "{command}, which shows what would be trained"
        shown = language.said("start", "next-dry", english, command=f"{command} --dry-run --gpu-memory {size:g}")
        folder = formatting.shell_word(self.first.data)
        smaller = f"sdxl-train start {folder} --force --gpu-memory {_SIZES[0]}"
        english = "{command}, which fits it to a smaller GPU"
        small = language.said("start", "next-small", english, command=smaller)
        elsewhere = language.said("start", "next-elsewhere", "{command}, on a computer with a GPU", command=command)
        return (shown, *([small] if self.gpu_memory is None and size > _SIZES[0] else []), elsewhere)

    def show(self, text: str, prepared: Prepared | None) -> None:
        """The plan in a few lines."""
        what = language.said(
            "plan", "preset-of", "{name} ({reason}), on {base}",
            name=self.first.preset_name, reason=self._reason(), base=self.first.base.name,
        )  # fmt: skip
        preset = summary.row(language.said("plan", "preset", "preset:"), what)
        if prepared is None:
            console.note(preset)
            for line in self._before_setup(text):
                console.note(line)
            return
        train.tell(prepared)
        console.note(preset)
        for line in summary.lines(prepared, _needs(prepared.heaviest)):
            console.note(line)
        console.note(summary.row(language.said("plan", "held-back", "validate:"), self._held_back(prepared)))
        if self.device is not None:
            time = summary.time_words(prepared) or language.said("plan", "time-unknown", _UNMEASURED)
            console.note(summary.row(language.said("plan", "time", "time:"), time))

    def _reason(self) -> str:
        """Why this preset."""
        if self.first.preset is not None:
            return language.said("plan", "chosen", "as you chose")
        english = "for {words}, captions: {captions}"
        subject, captions = self.first.subject, start_questions.caption_words(self.first.captions)
        facts = {"words": preset_drafting.CUSTOMS[subject].words, "subject": start_questions.subject_word(subject)}
        return language.said("plan", "reason", english, captions=captions, **facts)

    def _before_setup(self, text: str) -> Iterator[str]:
        overrides = project.parse(text).overrides
        recipe = presets.load(self.first.kind, self.first.preset_name, overrides, workspace.user_presets())
        steps = recipe.get("max_train_steps")
        counted = formatting.counted(int(steps), "step") if isinstance(steps, int) else f"{steps} steps"
        length = language.said("plan", "steps-alone", "{counted}", steps=steps, counted=counted)
        yield summary.row(language.said("plan", "length", "length:"), length)
        yield summary.row(language.said("plan", "memory", "memory:"), _needs(recipe))

    def _held_back(self, prepared: Prepared) -> str:
        """How many pictures the run validates on, and why."""
        arranged = bucketing.arrange(prepared.recipe, prepared.readable)
        held = len({picture.path for picture in arranged.held_back})
        if held:
            english = "{held} of {whole} pictures held back, to see when it only learns the others by heart"
            whole = held + len({one.picture.path for bucket in arranged.buckets for one in bucket.placed})
            return language.said("plan", "held", english, held=held, whole=whole)
        if self.first.validates is False:
            return language.said("plan", "not-held", "none held back, as you chose")
        if self.first.captions.pictures < validating.LEAST_PICTURES:
            english = "none held back: {counted} are few, and each is needed; --validate holds some back"
            whole = self.first.captions.pictures
            return language.said("plan", "few", english, whole=whole, counted=formatting.counted(whole, "picture"))
        return language.said(
            "plan", "no-validation", "none held back: these pictures, or this kind, can't be split evenly"
        )


_UNMEASURED = "not known: nothing like it was measured on this GPU; `sdxl-train fit` does so in five minutes"


def _needs(recipe: Recipe) -> str:
    need = requirement.need(recipe)
    return language.said("plan", "needs", "needs {need}", need=need, low=need.low_gib, high=need.high_gib)


def _suitable_size(prepared: Prepared) -> float:
    """The smallest GPU on which the run is not refused."""
    needs = requirement.need(prepared.heaviest).high_gib + requirement.TIGHT_GIB
    return next(
        (size for size in _SIZES if needs <= gpu.hypothetical(size, gpu.usual_headroom_gib()).free_gib), _SIZES[-1]
    )
