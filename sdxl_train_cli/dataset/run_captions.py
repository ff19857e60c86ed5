"""The captions that a run trains on where the trigger is put before them, so that they can be cached like any others.

sd-scripts adds a caption_prefix in each step, after text-encoder outputs are cached (library/train_util.py:
process_caption). Captions that have the trigger already are given as metadata in the run's folder instead; the files
beside the pictures stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from sdxl_train_cli.dataset import caption_text
from sdxl_train_cli.dataset.file_facts import Survey, SurveyedPicture
from sdxl_train_cli.dataset.folders import TrainingPictures
from sdxl_train_cli.errors import Problem, WayOut
from sdxl_train_cli.origin import Origin
from sdxl_train_cli.recipe import Kind, Recipe, Setting

_IN_MEMORY, _ON_DISK = "cache_text_encoder_outputs", "cache_text_encoder_outputs_to_disk"
_ORIGIN = Origin("--trigger")
_MOVING = ("shuffle_caption", "token_warmup_step", "caption_tag_dropout_rate")
"""What moves or drops tags behind those of keep_tokens."""


@dataclass(frozen=True)
class RunCaptions:
    """A recipe and its pictures after it is decided how the trigger gets into the captions."""

    recipe: Recipe
    pictures: TrainingPictures
    notes: tuple[str, ...] = ()
    obstacle: str | None = None
    """Why the trigger costs memory; None where it does not."""


def plan(recipe: Recipe, survey: Survey) -> RunCaptions:
    """Decide it for a typed recipe; touches nothing."""
    pictures = survey.pictures
    if not (recipe.is_on(_IN_MEMORY) or recipe.is_on(_ON_DISK)):
        return RunCaptions(recipe, pictures)
    if not pictures.has_prefix:
        return RunCaptions(*_in_memory(recipe, pictures)) if _stands_in(survey) else RunCaptions(recipe, pictures)
    reason = _obstacle(recipe, pictures)
    if reason is not None:
        obstacle = f"the trigger switches off the text-encoder cache, which takes up to 1.5 GB more: {reason}"
        return RunCaptions(recipe.replaced({_IN_MEMORY: None, _ON_DISK: None}), pictures, (obstacle,), obstacle)
    recipe, pictures, notes = _in_memory(recipe, replace(pictures, captions=_captions(survey)))
    lacking = [subset.place.name for subset in pictures.subsets if subset.caption_prefix]
    where = "no caption" if len(lacking) == len(pictures.subsets) else f"no caption in {' and '.join(lacking)}"
    note = f"{where} has the trigger: the run gets captions with it in front, and your files stay as they are"
    return RunCaptions(recipe, pictures, (note, *notes))


def split_trigger(recipe: Recipe, trigger: str | None) -> Iterator[Problem]:
    """A trigger of several tags of which keep_tokens holds only the first ones in place.

    sd-scripts cuts a caption at caption_separator (library/train_util.py: process_caption).
    """
    kept, separator = recipe.number("keep_tokens"), str(recipe.get("caption_separator") or ",")
    tags = len([tag for tag in (trigger or "").split(separator) if tag.strip()])
    moves = any(recipe.is_on(option) or recipe.number(option) for option in _MOVING)
    if moves and kept and kept < tags and not recipe.get("keep_tokens_separator"):
        words = f"keep_tokens={kept:g} keeps {kept:g} of the {tags} tags of the trigger '{trigger}' in place"
        yield replace(recipe.problem("keep_tokens", words), ways=(WayOut((f"keep_tokens={tags}",)),))


def _stands_in(survey: Survey) -> bool:
    """Whether the trigger is the caption of pictures that have none."""
    trigger = survey.pictures.trigger
    return bool(trigger) and any(seen.caption is None and seen.subset.class_tokens == trigger for seen in survey.seen)


def _in_memory(recipe: Recipe, pictures: TrainingPictures) -> tuple[Recipe, TrainingPictures, tuple[str, ...]]:
    """A cache on disk goes by the picture's name: the next run would take its outputs whatever its trigger is."""
    if not recipe.is_on(_ON_DISK):
        return recipe, pictures, ()
    in_memory = recipe.replaced({_IN_MEMORY: Setting(value=True, origin=_ORIGIN), _ON_DISK: None})
    note = "text-encoder outputs are cached in memory: on disk they would serve runs with another trigger too"
    return in_memory, pictures, (note,)


def _obstacle(recipe: Recipe, pictures: TrainingPictures) -> str | None:
    """Why sd-scripts could not train on captions from metadata (library/train_util.py: FineTuningDataset)."""
    if any(subset.is_reg for subset in pictures.subsets):
        return "sd-scripts takes no regularization pictures beside captions of the run's own"
    if recipe.number("validation_split"):
        return "sd-scripts holds back no pictures for validation beside captions of the run's own"
    if any(subset.masks is not None for subset in pictures.subsets):
        return "sd-scripts takes no masks beside captions of the run's own"
    if recipe.kind is Kind.DREAMBOOTH and not recipe.is_on("cache_latents"):
        return "a Dreambooth run takes captions of its own only with cache_latents"
    return None


def _captions(survey: Survey) -> Mapping[Path, str]:
    return {seen.facts.path: as_trained(seen, survey.pictures.trigger) for seen in survey.seen}


def as_trained(seen: SurveyedPicture, trigger: str | None) -> str:
    """The caption with what is put first; the trigger that stands in for a caption is not doubled."""
    read, prefix = seen.caption, seen.subset.caption_prefix
    if read is not None and read.error is None:
        return f"{prefix} {read.text}" if prefix else read.text
    own = seen.subset.class_tokens or ""
    has_trigger = trigger is not None and caption_text.has_trigger(own, trigger)
    return f"{prefix} {own}" if prefix and not has_trigger else own
