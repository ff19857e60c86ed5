"""Let the points of a sweep share one cache of latents, which the first of them makes.

Presets keep latents in RAM, so that each run encodes every picture anew. On disk, sd-scripts keeps them beside the
pictures and reads them again. Text-encoder outputs stay in RAM: their files don't say for which caption they were made,
so a later run would train edited captions as they were.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.origin import Origin
from sdxl_train_cli.recipe import Recipe, Setting
from sdxl_train_cli.recipes.presets import Override
from sdxl_train_cli.records.record import Record
from sdxl_train_cli.sweeps.axes import Axis

IN_MEMORY, ON_DISK = "cache_latents", "cache_latents_to_disk"
_TO_DISK = (ON_DISK, "cache_text_encoder_outputs_to_disk")
_DECIDING = frozenset({
    IN_MEMORY, ON_DISK, "resolution", "enable_bucket", "min_bucket_reso", "max_bucket_reso", "bucket_reso_steps",
    "bucket_no_upscale", "flip_aug", "color_aug", "random_crop", "alpha_mask", "masked_loss", "vae", "no_half_vae",
    "resize_interpolation", "skip_cache_check",
})  # fmt: skip
"""What is in a cache of latents. Points that differ in one of these can't share it."""
_ORIGIN = Origin("the sweep")


@dataclass(frozen=True)
class SharedCaches:
    """What is set for all points, and what is said of it."""

    overrides: tuple[Override, ...] = ()
    words: str = ""
    are_shared: bool = False


def keep_apart(recipe: Recipe, axes: Sequence[Axis], typed: Sequence[Override]) -> SharedCaches:
    """Let no two points write the same cache, where none waits for another. UsageError where that was typed."""
    varied = [axis.option for axis in axes]
    on_disk = [option for option in _TO_DISK if recipe.is_on(option) or option in varied]
    if not on_disk:
        return SharedCaches(words="each run makes its own: on a cluster none waits for another")
    chosen = [*varied, *(one.option for one in typed if one.value)]
    asked = next((option for option in on_disk if option in chosen), None)
    if asked is not None:
        words = f"with {asked}, runs that begin together would write the same files"
        raise UsageError(words, f"--set {asked}=null, or --at-once 1")
    apart = [Override(option, None, _ORIGIN) for option in on_disk]
    apart += [Override(option.removesuffix("_to_disk"), True, _ORIGIN) for option in on_disk]
    words = f"each run makes its own in RAM, without {on_disk[0]}: on a cluster none waits for another"
    return SharedCaches(tuple(apart), words)


def in_memory(record: Record) -> Record:
    """The record of a run that keeps its caches to itself."""
    found = [option for option in _TO_DISK if option in record.settings and record.settings[option].value]
    settings = {option: setting for option, setting in record.settings.items() if option not in found}
    settings |= {option.removesuffix("_to_disk"): Setting(value=True, origin=_ORIGIN) for option in found}
    return record.model_copy(update={"settings": settings})


def plan(recipe: Recipe, axes: Sequence[Axis], typed: Sequence[Override]) -> SharedCaches:
    """Decide it for a point's recipe; touches nothing."""
    varied = [axis.option for axis in axes if axis.option in _DECIDING]
    if recipe.is_on(ON_DISK) and not varied:
        words = "latents are kept on disk beside the pictures: the first run makes them for all"
        return SharedCaches(words=words, are_shared=True)
    if not recipe.is_on(IN_MEMORY) and not recipe.is_on(ON_DISK):
        return SharedCaches(words="nothing is cached: the preset encodes each picture at each step")
    if varied:
        return SharedCaches(words=f"{varied[0]} decides what is in a cache, so that each run makes its own")
    if any(one.option == ON_DISK for one in typed):
        return SharedCaches(words="each run caches latents anew, as you have chosen")
    words = (
        "latents are kept on disk beside the pictures: the first run makes them for all "
        f"(--set {ON_DISK}=null leaves them in RAM, made anew by each)"
    )
    return SharedCaches((Override(ON_DISK, True, _ORIGIN),), words, are_shared=True)
