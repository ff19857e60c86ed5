"""A first run from a few answers: which preset, which length, and the project file that says so with reasons."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sdxl_train_cli.dataset.caption_style import CaptionStyle
from sdxl_train_cli.inspection.bases_on_disk import FoundBase
from sdxl_train_cli.memory import preset_drafting, requirement, savings
from sdxl_train_cli.memory.preset_drafting import DraftLine, Priority, TrainingSubject
from sdxl_train_cli.origin import Origin
from sdxl_train_cli.recipe import Kind, Recipe, Setting
from sdxl_train_cli.recipes import presets, project, yaml_file
from sdxl_train_cli.run import run_choices
from sdxl_train_cli.run.run_choices import NAMELESS
from sdxl_train_cli.sdscripts.base_model import Prediction

_FOR_SENTENCES = {
    TrainingSubject.CHARACTER: (Kind.LORA, "character"),
    TrainingSubject.OBJECT: (Kind.LORA, "object"),
    TrainingSubject.STYLE: (Kind.LORA, "style"),
    TrainingSubject.CONCEPT: (Kind.LORA, "dim32-gc"),
    TrainingSubject.SEVERAL: (Kind.LORA, "dim128-gc"),
}
_FOR_TAGS = dict.fromkeys(TrainingSubject, (Kind.LORA, "anime")) | {
    TrainingSubject.STYLE: (Kind.LOCON, "anime-style"),
}
_FOR_TAGS_AND_V = (Kind.LORA, "anime-vpred")
_GENERAL_NAMES = {NAMELESS, "data", "pictures", "images", "dataset", "train", "img"}
"""Names of folders that say nothing of what is in them."""
NEEDS_TRIGGER = (TrainingSubject.CHARACTER, TrainingSubject.OBJECT)
"""What is called by a word in prompts."""


@dataclass(frozen=True, kw_only=True)
class FirstRun:
    """The answers."""

    data: Path
    subject: TrainingSubject
    base: FoundBase
    prediction: Prediction | None
    """What was said of the base, where its header does not say it."""
    trigger: str | None
    priority: Priority
    preset: tuple[Kind, str] | None
    """A preset that was named. None takes the one that suits the answers."""
    samples: tuple[str, ...] | None
    """Prompts of one's own; empty for no samples. None leaves it to the run."""
    captions: CaptionStyle
    validates: bool | None = None
    """Whether pictures are held back. None leaves it to the run."""

    @property
    def kind(self) -> Kind:
        """What is trained."""
        return self._chosen[0]

    @property
    def preset_name(self) -> str:
        """The preset that is used."""
        return self._chosen[1]

    @property
    def _chosen(self) -> tuple[Kind, str]:
        if self.preset is not None:
            return self.preset
        if not self.captions.are_tags:
            return _FOR_SENTENCES[self.subject]
        predicts = self.prediction or self.base.base.prediction
        is_v = predicts in {Prediction.V, Prediction.V_ZERO_SNR} or self.base.base.predicts_v
        return _FOR_TAGS_AND_V if is_v and self.subject is not TrainingSubject.STYLE else _FOR_TAGS[self.subject]

    @property
    def is_fast(self) -> bool:
        """Whether it is to be trained with --fast."""
        return self.priority is Priority.SPEED and self.kind is not Kind.DREAMBOOTH

    @property
    def name(self) -> str | None:
        """A name for the run, where the folder of pictures has none to give."""
        usual = run_choices.name_for(self.data)
        word = run_choices.name_for(Path(self.trigger)) if self.trigger else NAMELESS
        return word if usual.lower() in _GENERAL_NAMES and word != NAMELESS else None

    @property
    def reason(self) -> str:
        """Why this preset."""
        if self.preset is not None:
            return "as you chose"
        return f"for {preset_drafting.CUSTOMS[self.subject].words}, captions: {self.captions}"


def settings(
    first: FirstRun, user_presets: Path, free_gib: float | None, known: requirement.Known
) -> tuple[DraftLine, ...]:
    """What is set beside the preset: the length that suits the pictures, and what suits the GPU's free memory."""
    recipe = presets.load(first.kind, first.preset_name, (), user_presets)
    together = int(recipe.number("train_batch_size") or 1) * int(recipe.number("gradient_accumulation_steps") or 1)
    length = preset_drafting.length(first.subject, first.captions.pictures, first.priority, together)
    lines = [] if first.preset is not None else list(length)
    fitting = [] if free_gib is None else _fitting(_with(recipe, lines), free_gib, known)
    return (*lines, *fitting)


def _with(recipe: Recipe, lines: Sequence[DraftLine]) -> Recipe:
    return recipe.replaced({line.option: Setting(value=line.value, origin=Origin("start")) for line in lines})


def _fitting(recipe: Recipe, free_gib: float, known: requirement.Known) -> Iterator[DraftLine]:
    """What makes the run fit, or faster where there is room."""
    if requirement.need(recipe, known).high_gib > free_gib:
        for way in savings.ways_out(recipe, free_gib, known)[:1]:
            reason = f"or it would not fit into the {free_gib:.1f} GB free; costs {', '.join(way.costs)}"
            yield from (DraftLine(option, value, reason) for option, value in way.changes.items() if value is not None)
        return
    roomy = DraftLine("gradient_checkpointing", False, f"the {free_gib:.1f} GB free have room: about a third faster")
    needs = requirement.need(_with(recipe, [roomy]), known).high_gib
    if recipe.is_on("gradient_checkpointing") and needs + requirement.TIGHT_GIB <= free_gib:
        yield roomy


def text(first: FirstRun, lines: Sequence[DraftLine]) -> str:
    """The project file, each line with its reason."""
    written = ["# Made by `sdxl-train start`. `sdxl-train lora` and its like go by it; the command line overrides it."]
    for key, value, reason in _choices(first):
        written += ["", f"# {reason}", project.line(key, value)]
    written += ["", "# Options of sd-scripts that differ from the preset. Any other can stand here too.", "set:"]
    for line in lines:
        written += [f"  # {line.reason}", f"  {yaml_file.line(line.option, line.value)}"]
    return "\n".join([*written, *_samples(first), *_validation(first)]) + "\n"


def _choices(first: FirstRun) -> Iterator[tuple[str, str, str]]:
    preset = f"{first.reason}; in full: sdxl-train presets show {first.preset_name}"
    yield "kind", first.kind.value, f"A {first.kind.label}; the command of this name trains it"
    yield "preset", first.preset_name, preset[:1].upper() + preset[1:]
    yield "model", first.base.model, f"The base model: {first.base.label}"
    if first.prediction is not None:
        yield "prediction", first.prediction.value, f"What the base predicts, as you said: {first.prediction.label}"
    yield "data", str(first.data), f"{first.captions.pictures} pictures; captions: {first.captions}"
    if first.name:
        yield "name", first.name, "The name of the run and of its files"
    if first.trigger:
        yield "trigger", first.trigger, "The word that calls it in a prompt; captions that lack it get it in front"


def _samples(first: FirstRun) -> list[str]:
    """The lines on sample pictures, where the run is not to choose them."""
    if first.samples is None:
        return []
    prompts = [f"  - {yaml_file.quoted(prompt)}" for prompt in first.samples]
    listed = ["samples:", *prompts] if prompts else ["samples: false"]
    return ["", "# Prompts that a picture is drawn of now and then", *listed]


def _validation(first: FirstRun) -> list[str]:
    """The lines on pictures that are held back, where the run is not to decide it."""
    if first.validates is None:
        return []
    reason = "Some pictures are held back, to see when the run only learns the others by heart"
    written = ("validate: true", reason) if first.validates else ("validate: false", "No picture is held back")
    return ["", f"# {written[1]}", written[0]]
