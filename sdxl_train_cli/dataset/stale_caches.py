"""Remove the caches that do not belong to a run: sd-scripts makes them again. Nothing else is ever deleted."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sdxl_train_cli import formatting
from sdxl_train_cli.dataset import cache_findings, cache_fit, cache_stamps
from sdxl_train_cli.dataset.cache_owners import CacheOwners, Owner
from sdxl_train_cli.dataset.file_facts import Finding, Severity, SurveyedPicture
from sdxl_train_cli.dataset.finding_kinds import summarize
from sdxl_train_cli.dataset.folders import TrainingPictures
from sdxl_train_cli.errors import DatasetError, Problem
from sdxl_train_cli.recipe import Kind, Recipe, Value
from sdxl_train_cli.recipes import presets

DECIDING = (
    "resolution", "min_bucket_reso", "max_bucket_reso", "enable_bucket", "bucket_reso_steps", "bucket_no_upscale",
    "flip_aug", "alpha_mask", "max_token_length", "skip_cache_check", "cache_latents", "cache_latents_to_disk",
    "cache_text_encoder_outputs", "cache_text_encoder_outputs_to_disk",
)  # fmt: skip
"""Options that decide which caches a run reads, and what must be in them."""
_USUAL = "dim32-gc"
_KINDS = {kind.name for kind in (*cache_findings.KINDS, *cache_fit.KINDS, cache_stamps.OTHER_MAKER)}


@dataclass(frozen=True)
class RemovedCaches:
    """What was removed, and what was not."""

    files: tuple[Path, ...]
    bytes: int
    failed: tuple[Problem, ...]
    """Caches that can't be deleted."""
    left: tuple[Problem, ...]
    """Wrong files that are not certainly caches of this dataset, told to be moved by hand."""


def command(data: Path, regularisation: Path | None, recipe: Recipe, pictures: TrainingPictures) -> str:
    """The command that removes the caches which don't belong to this recipe.

    It names every option that the default preset has otherwise, and those that were typed; but none that a dataset
    sets for itself, as what is typed counts for all of them.
    """
    own = {option.name for subset in pictures.subsets for option in subset.dataset_options}
    usual = presets.load(Kind.LORA, _USUAL)
    words = ["sdxl-train", "dataset", "fix", str(data), "--stale-caches"]
    words += ["--reg", str(regularisation)] if regularisation else []
    words += ["--resolution", ",".join(map(str, recipe.sizes))] if recipe.sizes else []
    wanted = {option: recipe.get(option) for option in DECIDING if option not in own}
    side = str(wanted.get("resolution") or "").partition(",")[0]
    square = {override.option: override.value for override in presets.with_sizes(int(side))} if side.isdecimal() else {}
    if square and all(_text(wanted.get(option)) == _text(value) for option, value in square.items()):
        words += ["--resolution", side]
        wanted = {option: value for option, value in wanted.items() if option not in square}
    words += [
        word
        for option, value in wanted.items()
        if option == "resolution" or _text(value) != _text(usual.get(option)) or _is_typed(recipe, option)
        for word in ("--set", f"{option}={_text(value)}")
    ]
    return " ".join(map(formatting.shell_word, words))


def _is_typed(recipe: Recipe, option: str) -> bool:
    origin = recipe.origin(option)
    return origin is not None and origin.line is None


def _text(value: Value | None) -> str:
    """As `--set` takes it. A switch that is off is the same as one that is not set."""
    if value is None or value is False:
        return "null"
    return "true" if value is True else ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _wrong(found: Iterable[Finding]) -> list[Finding]:
    return [finding for finding in found if finding.kind in _KINDS and finding.severity is Severity.ERROR]


def require_none(found: Iterable[Finding]) -> None:
    """DatasetError if there are caches that a run would train on wrongly. Other findings don't matter here."""
    wrong = [summarize(finding) for finding in _wrong(found)]
    if wrong:
        raise DatasetError(wrong)


def remove(found: Iterable[Finding], seen: Sequence[SurveyedPicture]) -> RemovedCaches:
    """Remove those caches of these findings that certainly are sd-scripts' own. What is gone already is no error."""
    wrong, owners = _wrong(found), CacheOwners(seen)
    owned = owners.of(sorted({path for finding in wrong for path in finding.files}))
    size, gone, failed = 0, list[Path](), list[Problem]()
    for path in (path for path, owner in owned.items() if owner is Owner.RUN):
        try:
            bytes_ = path.lstat().st_size
            path.unlink()
        except FileNotFoundError:
            continue
        except OSError as error:
            is_locked = not os.access(path.parent, os.W_OK | os.X_OK)
            hint = "make its folder writable" if is_locked else None
            failed.append(Problem(f"{path} can't be deleted: {error.strerror}", hint))
        else:
            size += bytes_
            gone.append(path)
    others = {path for path, owner in owned.items() if owner is not Owner.RUN}
    left = [summarize(each) for each in wrong if others.intersection(each.files)]
    return RemovedCaches(tuple(sorted(gone)), size, tuple(failed), tuple(left))
