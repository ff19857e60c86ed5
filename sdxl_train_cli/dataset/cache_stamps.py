"""A small file beside pictures that says which VAE and text encoders have made the caches there.

A run writes it where there are no caches yet: all that will be there are its own. Caches that were there before, from
sd-scripts alone or an older sdxl-train, stay unknown until they are deleted.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sdxl_train_cli import files, formatting
from sdxl_train_cli.dataset.cache_owners import CacheOwners, Owner
from sdxl_train_cli.dataset.file_facts import Finding, SurveyedPicture, shown
from sdxl_train_cli.dataset.finding_kinds import ERROR, WARNING, FindingKind
from sdxl_train_cli.dataset.folders import TrainingPictures
from sdxl_train_cli.recipe import Recipe
from sdxl_train_cli.sdscripts import latent_caches
from sdxl_train_cli.sdscripts.cache_makers import CacheMakers, WeightSample

NAME = ".sdxl-train-caches.json"
_LARGEST = 1 << 16

OTHER_MAKER = FindingKind(
    "other-maker", ERROR, "{file} was made with another {what} than this run's",
    "{count} caches in {folder} were made with another {what} than this run's", "{command}",
)  # fmt: skip
UNKNOWN = FindingKind(
    "unknown-maker", WARNING, "nothing tells whether {file} was made with this run's {what}",
    "nothing tells whether {count} caches in {folder} were made with this run's {what}",
    "if not, {remedy}",
)  # fmt: skip


@dataclass(frozen=True)
class CachePart:
    """One kind of cache that a run reads from disk."""

    key: str
    """In the stamp, and in `CacheMakers`."""
    suffix: str
    what: str

    def maker(self, makers: CacheMakers) -> WeightSample | None:
        """What would make it."""
        return makers.vae if self.key == "vae" else makers.text_encoders


def parts(recipe: Recipe) -> list[CachePart]:
    """The caches that a run reads from disk."""
    found = []
    if recipe.is_on("cache_latents_to_disk"):
        found.append(CachePart("vae", latent_caches.LATENTS_SUFFIX, "VAE"))
    if recipe.is_on("cache_text_encoder_outputs_to_disk"):
        found.append(CachePart("text_encoders", latent_caches.TEXT_SUFFIX, "pair of text encoders"))
    return found


def find(
    folders: Sequence[Path],
    recipe: Recipe,
    makers: CacheMakers,
    command: str,
    seen: Sequence[SurveyedPicture] = (),
) -> Iterator[Finding]:
    """Yield a finding for each folder whose caches were made by others, or by nobody knows whom."""
    owners = CacheOwners(seen)
    flags = " ".join(map(formatting.shell_word, makers.flags))
    for folder in folders:
        stamp = _load(folder)
        for part in parts(recipe):
            maker = part.maker(makers)
            named = _named(folder, part)
            hits = [(path, "") for path, owner in owners.of(named).items() if owner is not Owner.UNKNOWN]
            made_by = stamp.get(part.key)
            if maker is None or made_by is None:
                pattern = f"{formatting.shell_word(shown(folder))}/*{part.suffix}"
                remedy = f"delete them: rm {pattern}" if len(hits) == len(named) else "move them away"
                yield from UNKNOWN.of_files(hits, remedy=remedy, what=part.what, folder=shown(folder))
            elif not made_by.is_like(maker):
                yield from owners.findings(
                    OTHER_MAKER, hits, command=f"{command} {flags}", what=part.what, folder=shown(folder)
                )


def write(pictures: TrainingPictures, recipe: Recipe, makers: CacheMakers) -> None:
    """Say who will have made the caches, in each folder that has none yet. A folder that can't be written is let be."""
    for folder in folders_of(pictures):
        stamp = _load(folder)
        for part in parts(recipe):
            maker = part.maker(makers)
            if maker is not None and not any(map(_is_cache, _named(folder, part))):
                stamp[part.key] = maker
        if stamp != _load(folder):
            text = json.dumps({"made_by": {key: sample.plain for key, sample in stamp.items()}})
            with contextlib.suppress(OSError):
                files.write(folder / NAME, text + "\n")


def folders_of(pictures: TrainingPictures) -> list[Path]:
    """Every folder that has pictures of a run."""
    found = {
        path.parent for subset in pictures.subsets if subset.metadata_file for path in subset.metadata_file.captions
    }
    return sorted(found | {subset.image_dir for subset in pictures.subsets if not subset.metadata_file})


def _is_cache(path: Path) -> bool:
    facts = latent_caches.read(path)
    return facts.fault is None and (facts.is_latents or facts.is_text)


def _named(folder: Path, part: CachePart) -> list[Path]:
    """The files that are caches by their names."""
    try:
        with os.scandir(folder) as found:
            return sorted(Path(entry.path) for entry in found if entry.name.endswith(part.suffix))
    except OSError:
        return []


def _load(folder: Path) -> dict[str, WeightSample]:
    """What a folder's stamp says; nothing where there is none, or it is not ours."""
    try:
        found = files.read_json(folder / NAME, _LARGEST)
    except (OSError, ValueError):
        return {}
    made_by = found.get("made_by") if isinstance(found, dict) else None
    samples = {key: WeightSample.parse(sample) for key, sample in made_by.items()} if isinstance(made_by, dict) else {}
    return {str(key): sample for key, sample in samples.items() if sample is not None}
