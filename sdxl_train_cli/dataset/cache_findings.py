"""Stale caches beside the pictures: sd-scripts' cache files that belong to other pictures or captions.

sd-scripts takes a picture's size from the name of its cache, and never checks whether a cache is older than its source
(library/train_util.py: load_dreambooth_dir; library/strategy_sd.py, library/strategy_sdxl.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from sdxl_train_cli.dataset.cache_owners import CacheOwners
from sdxl_train_cli.dataset.file_facts import Finding, SurveyedPicture
from sdxl_train_cli.dataset.finding_kinds import ERROR, WARNING, FindingKind, Hit
from sdxl_train_cli.recipe import Recipe
from sdxl_train_cli.sdscripts import latent_caches

_OTHERS = re.compile(r".*_(?:sd|sd3|flux|lumina|hunyuan_image|anima)(?:_te)?\.npz", re.DOTALL)
"""Of sd-scripts' other trainers (library/strategy_*.py)."""
_ANEW = "{command}"

_OTHER_SIZE = FindingKind(
    "stale-latents", ERROR, "{file} was cached at a different size than its picture, which is {detail}",
    "{count} caches have a different size than their pictures, and sd-scripts would use them", _ANEW,
)  # fmt: skip
_OLD = FindingKind(
    "old-latents", WARNING, "{file} is a cache from an old sd-scripts, perhaps of another model",
    "{count} caches are from an old sd-scripts, perhaps of another model", _ANEW,
)  # fmt: skip
_OLDER_LATENTS = FindingKind(
    "older-latents", WARNING, "{file} is a cache older than its picture",
    "{count} caches are older than their pictures", "if the picture has changed, delete its cache",
)  # fmt: skip
_OLDER_TEXT = FindingKind(
    "stale-text-cache", WARNING, "{file} is a cache older than its caption, so the new caption is not read",
    "{count} caches are older than their captions, so the new captions are not read", _ANEW,
)  # fmt: skip
_OTHER_FAMILY = FindingKind(
    "other-cache", WARNING, "{file} is a cache of another kind of model, which SDXL training does not read",
    "{count} caches are of other kinds of models, which SDXL training does not read",
    "nothing: they do no harm",
)  # fmt: skip
KINDS = (_OTHER_SIZE, _OLD, _OLDER_TEXT)
"""Those whose caches have to go where a run reads them."""


def find(
    seen: Sequence[SurveyedPicture], beside: Sequence[Path], recipe: Recipe | None, command: str
) -> Iterator[Finding]:
    """Yield the findings. A stale cache that the recipe reads is more severe. `command` removes those."""
    caches = [path for path in beside if path.suffix == ".npz"]
    if not caches:
        return
    owners = CacheOwners(seen)
    by_stem = {each.facts.path.with_suffix(""): each for each in seen}
    sizes = [(path, match) for path in caches if (match := latent_caches.LATENTS.fullmatch(path.name))]
    found = [
        (path, (int(match[2]), int(match[3])), each)
        for path, match in sizes
        if (each := by_stem.get(path.with_name(match[1])))
    ]
    stale: list[Hit] = [
        (path, f"{each.facts.width}x{each.facts.height}")
        for path, size, each in found
        if size != (each.facts.width, each.facts.height)
    ]
    yield from owners.findings(_OTHER_SIZE, stale, command=command)
    on_disk = recipe is not None and recipe.is_on("cache_latents_to_disk")
    old: list[Hit] = [(path, "") for path in caches if path.with_suffix("") in by_stem]
    yield from owners.findings(_OLD, old, ERROR if on_disk else None, command=command)
    wrong = {path for path, _ in stale}
    yield from _OLDER_LATENTS.of_files(
        [(path, "") for path, _, each in found if path not in wrong and is_older(path, each.facts.path)]
    )
    texts = [(path, by_stem.get(path.with_name(path.name.removesuffix(latent_caches.TEXT_SUFFIX)))) for path in caches
             if path.name.endswith(latent_caches.TEXT_SUFFIX)]  # fmt: skip
    reads_text = recipe is not None and recipe.is_on("cache_text_encoder_outputs_to_disk")
    yield from owners.findings(
        _OLDER_TEXT,
        [(path, "") for path, each in texts if each and each.caption and is_older(path, each.caption.path)],
        ERROR if reads_text else None,
        command=command,
    )
    yield from _OTHER_FAMILY.of_files([(path, "") for path in caches if _OTHERS.fullmatch(path.name)])


def is_older(cache: Path, source: Path) -> bool:
    """Whether a cache was written before what it was made of; False where that can't be told."""
    try:
        return cache.stat().st_mtime_ns < source.stat().st_mtime_ns
    except OSError:
        return False
