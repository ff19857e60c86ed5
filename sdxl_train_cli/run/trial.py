"""Run a few real steps of a prepared run: its memory, its step time, and whether it fits."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from statistics import median

from sdxl_train_cli import process
from sdxl_train_cli.dataset.folders import PictureFile
from sdxl_train_cli.errors import Problem, TrainingError
from sdxl_train_cli.failures import diagnosis
from sdxl_train_cli.failures.signature import Failure
from sdxl_train_cli.gpu import Gpu
from sdxl_train_cli.origin import Origin
from sdxl_train_cli.recipe import Recipe, Value
from sdxl_train_cli.recipes.presets import Override
from sdxl_train_cli.records import runs
from sdxl_train_cli.run import repeating
from sdxl_train_cli.run.preparation import Prepared
from sdxl_train_cli.run.run_choices import Choices
from sdxl_train_cli.run.telemetry import Sampler
from sdxl_train_cli.sdscripts import progress

STEPS = 3
"""Steps that reach the peak of memory."""
TIMED_STEPS = 10
"""Steps that reach a steady speed too."""
ENOUGH_SECONDS = 20.0
"""After so many seconds of steps, and two that count, a trial is ended."""
_WARMING, _WARMING_FAST = 1, 4
"""Steps that don't count for the speed: kernels are loaded, and --fast records them."""
SPILLS = process.WINDOWS
"""Whether the driver spills into system RAM, slowly, instead of running out of memory."""
_LAST_LINES = 400
_FULL_GIB = 0.3
"""With less free memory than this, a Windows GPU has begun to spill into system RAM."""
_LEFT_AWAY = (
    "max_train_epochs", "gradient_accumulation_steps", "save_every_n_steps", "save_every_n_epochs",
    "save_n_epoch_ratio", "save_state", "save_state_on_train_end", "save_last_n_steps_state",
    "save_last_n_epochs_state", "sample_every_n_steps", "sample_every_n_epochs", "sample_at_first", "sample_prompts",
    "resume", "initial_step", "initial_epoch", "skip_until_initial_step",
)  # fmt: skip
_BUCKETS = (
    "resolution", "enable_bucket", "min_bucket_reso", "max_bucket_reso", "bucket_reso_steps", "bucket_no_upscale",
)  # fmt: skip
"""A dataset config may have set them, and the pictures are copied out of it."""
_CACHES = ("cache_text_encoder_outputs", "cache_text_encoder_outputs_to_disk")


@dataclass(frozen=True)
class Trial:
    """Result of a few steps."""

    fits: bool
    peak_gib: float | None
    """GPU memory of the trainer's processes. None if unknown."""
    resident_gib: float
    """Peak RAM of the trainer's processes."""
    seconds_per_step: float | None
    why_not: str | None = None
    """Why it does not fit, in words."""


def choices(asked: Choices, recipe: Recipe, folder: Path, batch_size: int, steps: int = STEPS) -> Choices:
    """Choices for a few steps of the same run on the pictures in `folder/pictures`. Writes into `folder` only.

    `recipe` is the real run's: what it does not cache because of a trigger is not cached here either.
    """
    changed: dict[str, Value | None] = {
        **dict.fromkeys(_LEFT_AWAY),
        **{name: recipe.get(name) for name in (*_CACHES, *_BUCKETS)},
        "max_train_steps": steps,
        "train_batch_size": batch_size,
        "lr_warmup_steps": 0,  # the run is shorter than any warm-up
    }
    overrides = tuple(Override(option, value, Origin("trial")) for option, value in changed.items())
    return replace(
        asked,
        data=folder / "pictures",
        output=folder / "runs",
        name=f"batch-{batch_size}",
        regularisation=None,
        trigger=None,
        repeats=steps * batch_size,  # so that every batch is full, however many pictures there are
        overrides=(*asked.overrides, *overrides),
        check_vram=False,
        samples=(),
        validation=0.0,
    )


def write_pictures(pictures: Sequence[PictureFile], folder: Path, word: Value | None = None) -> None:
    """Copy pictures under plain names, each with a caption. Its text does not affect memory.

    An embedding trains a word, which has to be in it.
    """
    folder.mkdir(parents=True)
    for number, picture in enumerate(pictures):
        (folder / f"{number:03}{picture.path.suffix.lower()}").write_bytes(picture.path.read_bytes())
        (folder / f"{number:03}.txt").write_text(f"a picture of {word or 'it'}\n", encoding="utf-8")


def run(prepared: Prepared, argv: Sequence[str] | None = None) -> Trial:
    """Run the steps and stop the trainer. TrainingError if it fails for another reason than memory.

    `argv` may replace the prepared one.
    """
    runs.write(prepared.run, repeating.record(prepared), prepared.pictures)
    warming = _WARMING_FAST if prepared.choices.fast else _WARMING
    trial_progress = _TrialProgress(prepared.device, warming)
    launched = list(prepared.argv if argv is None else argv)
    cwd, env = prepared.environment.checkout, prepared.variables
    with prepared.run.log.open("wb", buffering=0) as log, process.Child(launched, cwd=cwd, env=env) as child:
        sampler = Sampler(child.pid, prepared.device.index if prepared.device else None)
        try:
            for line in child.lines(log):
                trial_progress.hear(line or "", sampler)
                if trial_progress.spilled or trial_progress.knows_enough:
                    child.kill()
                    break
            code = child.wait()
        finally:
            sampler.close()
    return _judge(trial_progress, sampler, code, prepared)


@dataclass
class _TrialProgress:
    """State of a trial, from output and samples."""

    device: Gpu | None
    warming: int
    """First steps that don't count for the speed."""
    last_lines: deque[str] = field(default_factory=lambda: deque(maxlen=_LAST_LINES))
    steps_seen: list[tuple[int, float]] = field(default_factory=list)
    """Steps, and when they were seen."""
    finished: bool = False
    spilled: bool = False

    def hear(self, line: str, sampler: Sampler) -> None:
        sample = sampler.sample()
        full = sample.gpu_used_gib is not None and sample.gpu_total_gib is not None
        if full and SPILLS:
            self.spilled |= (sample.gpu_used_gib or 0.0) > (sample.gpu_total_gib or 0.0) - _FULL_GIB
        step, words = progress.split(line)
        if step is not None and step.step and (not self.steps_seen or step.step > self.steps_seen[-1][0]):
            self.steps_seen.append((step.step, time.monotonic()))
        if words.strip():
            self.last_lines.append(words)
        self.finished |= isinstance(progress.parse(words), progress.ModelSaved)

    @property
    def seconds_per_step(self) -> float | None:
        """Median step time without the warming steps, if there are others. None with fewer than two steps."""
        pairs = pairwise(self.steps_seen)
        spent = [(ended - began) / (last - first) for (first, began), (last, ended) in pairs]
        return median(spent[self.warming :] or spent) if spent else None

    @property
    def knows_enough(self) -> bool:
        """Whether more steps would only repeat what is known."""
        counted = len(self.steps_seen) - 1 - self.warming
        return counted > 1 and self.steps_seen[-1][1] - self.steps_seen[0][1] > ENOUGH_SECONDS


def _judge(trial_progress: _TrialProgress, sampler: Sampler, code: int, prepared: Prepared) -> Trial:
    trial = Trial(True, sampler.peak_gib, sampler.peak_resident_gib, trial_progress.seconds_per_step)
    device = prepared.device
    if trial_progress.spilled:
        return replace(
            trial, fits=False, why_not="the GPU was full, and Windows spilled over into the computer's slow RAM"
        )
    lines = list(trial_progress.last_lines)
    known = diagnosis.explain(lines, prepared.facts)
    if known is not None and known.kind is Failure.GPU_MEMORY:
        return replace(trial, fits=False, why_not=known.cause)
    if not trial_progress.knows_enough and (code != 0 or not trial_progress.finished):
        why = known.cause if known else diagnosis.last_error(lines) or f"exit code {code}"
        remedy = known.remedy if known else "the same settings would fail in a real run too"
        raise TrainingError(Problem(f"the trial of {prepared.run.name} failed: {why}", remedy))
    if device is not None and trial.peak_gib is not None and SPILLS and trial.peak_gib > device.free_gib:
        return replace(trial, fits=False, why_not="it needed more memory than was free")
    return trial
