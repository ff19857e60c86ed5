"""Caches on disk that a run would read, held against that run: their size, flips and masks, and the length of texts.

sd-scripts asks a cache for its keys alone (library/strategy_base.py: _default_is_disk_cached_latents_expected;
library/strategy_sdxl.py: is_disk_cached_outputs_expected), so latents of another resolution are trained on, a mask
counts though `alpha_mask` is off, and long captions stay cut off. Keys with a resolution, as v0.11.1 writes, do belong
to it; where there is one without, both releases may take that.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from sdxl_train_cli.dataset import bucketing, cache_headers, cache_owners
from sdxl_train_cli.dataset.cache_findings import is_older
from sdxl_train_cli.dataset.cache_owners import CacheOwners
from sdxl_train_cli.dataset.file_facts import Finding, SurveyedPicture
from sdxl_train_cli.dataset.finding_kinds import ERROR, FindingKind, Hit
from sdxl_train_cli.recipe import Recipe
from sdxl_train_cli.sdscripts import latent_caches
from sdxl_train_cli.sdscripts.latent_caches import CacheFacts

_WINDOW = 77
"""Tokens of a caption with its two marks, where max_token_length is not set."""

WRONG_SIZE = FindingKind(
    "wrong-latents", ERROR, "{file} is a cache of another run: {detail}",
    "{count} caches are of another run ({detail}), and sd-scripts would train on them", "{command}",
)  # fmt: skip
MASKED = FindingKind(
    "unwanted-mask", ERROR, "{file} holds a mask, which sd-scripts would train with though alpha_mask is off",
    "{count} caches hold masks, which sd-scripts would train with though alpha_mask is off", "{command}",
)  # fmt: skip
WRONG_TEXT = FindingKind(
    "wrong-text-cache", ERROR, "{file} is a cache of another run: {detail}",
    "{count} caches are of another run ({detail}), and sd-scripts would train on them", "{command}",
)  # fmt: skip
BROKEN = FindingKind(
    cache_owners.BROKEN, ERROR, "{file} {detail}", "{count} caches can't be loaded by sd-scripts", "{command}",
)  # fmt: skip
INCOMPLETE = FindingKind(
    "incomplete-cache", ERROR, "{file} lacks {detail}, and skip_cache_check lets that pass",
    "{count} caches lack what this run needs, and skip_cache_check lets that pass", "{command}",
)  # fmt: skip
MISLEADING = FindingKind(
    cache_owners.MISLEADING, ERROR, "{file} belongs to another picture, but sd-scripts takes {detail} from its name",
    "{count} caches belong to other pictures, but sd-scripts takes the sizes of new ones from their names", "{command}",
)  # fmt: skip
FOREIGN = FindingKind(
    cache_owners.FOREIGN, ERROR, "sd-scripts would write a cache over {file}, which is not one",
    "sd-scripts would write caches over {count} files, which are none", "{command}",
)  # fmt: skip
KINDS = (WRONG_SIZE, MASKED, WRONG_TEXT, BROKEN, INCOMPLETE, MISLEADING, FOREIGN)
_MOST_CAUSES = 3
"""Told each on its own; with more, the first stands for all."""

Size = tuple[int, int]


def find(
    seen: Sequence[SurveyedPicture], beside: Sequence[Path], recipe: Recipe | None, command: str
) -> Iterator[Finding]:
    """Yield the findings. `command` removes what they name."""
    if recipe is None:
        return
    owners = CacheOwners(seen)
    if recipe.is_on("cache_latents") or recipe.is_on("cache_latents_to_disk"):
        yield from owners.findings(MISLEADING, list(_misleading(seen, beside)), command=command)
    found = _Found(recipe, seen)
    if recipe.is_on("cache_latents_to_disk"):
        found.check_latents(beside)
    if recipe.is_on("cache_text_encoder_outputs_to_disk"):
        found.check_texts()
    for kind, hits in found.hits.items():
        for same in _by_cause(kind, hits):
            yield from owners.findings(kind, same, command=command)


def _by_cause(kind: FindingKind, hits: Sequence[Hit]) -> Sequence[Sequence[Hit]]:
    """Hits of the same detail together, where the text for many tells it."""
    causes = defaultdict[str, list[Hit]](list)
    for hit in hits:
        causes[hit[1]].append(hit)
    if "{detail}" not in kind.many:
        return [hits]
    if len(causes) <= _MOST_CAUSES:
        return list(causes.values())
    path, detail = hits[0]
    return [[(path, f"such as {detail}"), *hits[1:]]]


class _Found:
    """What is wrong with the caches of a run, by kind."""

    def __init__(self, recipe: Recipe, seen: Sequence[SurveyedPicture]) -> None:
        self._recipe, self._seen = recipe, [each for each in seen if each.facts.error is None]
        self._skips = recipe.is_on("skip_cache_check")
        self.hits: dict[FindingKind, list[Hit]] = {kind: [] for kind in KINDS}

    def check_latents(self, beside: Sequence[Path]) -> None:
        """Hold each picture's latents against its bucket, or its buckets where it is trained at several sizes."""
        plan = bucketing.arrange(self._recipe, [each.picture for each in self._seen])
        sizes = defaultdict[Path, list[Size]](list)
        for placed in (placed for bucket in plan.buckets for placed in bucket.placed):
            sizes[placed.picture.path].append(placed.bucket)
        old = {path for path in beside if path.suffix == ".npz"}
        paths = {_latents(each): each for each in self._seen if each.facts.path.with_suffix(".npz") not in old}
        for path, facts in cache_headers.read(list(paths)).items():
            each = paths[path]
            if facts.fault:
                self.hits[BROKEN].append((path, facts.fault.value))
                continue
            if not any(map(latent_caches.LATENTS_KEY.fullmatch, facts.shapes)):
                self.hits[FOREIGN].append((path, ""))
                continue
            for bucket in sizes[each.facts.path]:
                self._check(path, facts, each, bucket)

    def _check(self, path: Path, facts: CacheFacts, each: SurveyedPicture, bucket: Size) -> None:
        options = {**{name: self._recipe.get(name) for name in ("flip_aug", "alpha_mask")}, **dict(each.subset.options)}
        shapes = _read_by_sd_scripts(facts.shapes, bucket)
        wanted = ["latents", *(["latents_flipped"] if options["flip_aug"] else [])]
        wrong = next((words for key in wanted if (words := _misfit(key, shapes.get(key), bucket))), None)
        mask = shapes.get("alpha_mask")
        if wrong is None and mask is not None and options["alpha_mask"] and mask != bucket[::-1]:
            wrong = f"a mask of {mask[-1]}x{mask[0]}, and this run needs {bucket[0]}x{bucket[1]}"
        if wrong:
            self.hits[WRONG_SIZE].append((path, wrong))
        elif mask is not None and not options["alpha_mask"]:
            self.hits[MASKED].append((path, ""))
        lacking = [key for key in [*wanted, *(["alpha_mask"] if options["alpha_mask"] else [])] if key not in shapes]
        if lacking and self._skips:
            self.hits[INCOMPLETE].append((path, " and ".join(lacking)))

    def check_texts(self) -> None:
        """Hold each encoded caption against the length that this run reads."""
        length = self._recipe.number("max_token_length")
        tokens = _WINDOW if length is None else int(length) + 2
        metadata = {_text(each): each.subset.metadata_file for each in self._seen}
        texts = {path: listed.file for path, listed in metadata.items() if listed is not None}
        for path, facts in cache_headers.read(list(metadata)).items():
            states = [facts.shapes.get(key) for key in ("hidden_state1", "hidden_state2")]
            lengths = {shape[0] for shape in states if shape}
            if facts.fault:
                self.hits[BROKEN].append((path, facts.fault.value))
            elif not facts.is_text:
                self.hits[FOREIGN].append((path, ""))
            elif lengths - {tokens}:
                words = f"{max(lengths - {tokens}) - 2} tokens of text, and this run reads {tokens - 2}"
                self.hits[WRONG_TEXT].append((path, words))
            elif path in texts and is_older(path, texts[path]):
                self.hits[WRONG_TEXT].append((path, f"older than {texts[path].name}, whose captions are not read"))
            elif self._skips and None in states:
                self.hits[INCOMPLETE].append((path, "hidden_state1 or hidden_state2"))


def _latents(each: SurveyedPicture) -> Path:
    size = f"_{each.facts.width:04d}x{each.facts.height:04d}"
    return each.facts.path.with_name(f"{each.facts.path.stem}{size}{latent_caches.LATENTS_SUFFIX}")


def _text(each: SurveyedPicture) -> Path:
    return each.facts.path.with_name(f"{each.facts.path.stem}{latent_caches.TEXT_SUFFIX}")


def _read_by_sd_scripts(shapes: Mapping[str, tuple[int, ...]], bucket: Size) -> Mapping[str, tuple[int, ...]]:
    """The arrays without a resolution in their keys where there are any, else those of this bucket."""
    suffix = f"_{bucket[1] // latent_caches.SCALE}x{bucket[0] // latent_caches.SCALE}"
    if "latents" in shapes:
        return shapes
    return {key.removesuffix(suffix): shape for key, shape in shapes.items() if key.endswith(suffix)}


def _misfit(key: str, shape: tuple[int, ...] | None, bucket: Size) -> str | None:
    """How latents differ from what the bucket takes, in words; None where they don't, or are not there."""
    if shape is None:
        return None
    expected = (latent_caches.CHANNELS, *(side // latent_caches.SCALE for side in reversed(bucket)))
    if shape == expected:
        return None
    name = "flipped latents" if key == "latents_flipped" else "latents"
    if len(shape) != len(expected) or shape[0] != expected[0]:
        return f"{name} of the shape {'x'.join(map(str, shape))}, which is not SDXL's"
    size = f"{shape[2] * latent_caches.SCALE}x{shape[1] * latent_caches.SCALE}"
    return f"{name} of {size} pixels, and this run needs {bucket[0]}x{bucket[1]}"


def _misleading(seen: Sequence[SurveyedPicture], beside: Sequence[Path]) -> Iterator[Hit]:
    """Yield caches whose names begin like that of another picture, which has none: sd-scripts compares no further.

    It goes through pictures and caches side by side, both sorted (library/train_util.py: load_dreambooth_dir).
    """
    caches, pictures = defaultdict[Path, list[str]](list), defaultdict[Path, list[SurveyedPicture]](list)
    for path in beside:
        if latent_caches.LATENTS.fullmatch(path.name):
            caches[path.parent].append(str(path))
    for each in seen if caches else ():
        if each.facts.path.parent in caches and each.subset.metadata_file is None:
            pictures[each.facts.path.parent].append(each)
    for folder, names in caches.items():
        names.sort(key=lambda name: name.rsplit("_", maxsplit=2)[0])
        at = 0
        for each in sorted(pictures[folder], key=lambda each: str(each.facts.path)):
            stem = os.path.splitext(each.facts.path)[0]  # noqa: PTH122 - as sd-scripts does
            while at < len(names) and names[at][: len(stem)] < stem:
                at += 1
            if at < len(names) and names[at].startswith(stem):
                match = latent_caches.LATENTS.fullmatch(names[at])
                is_other = match is not None and match[1] != stem
                if match and is_other and (int(match[2]), int(match[3])) != (each.facts.width, each.facts.height):
                    yield Path(names[at]), f"the size of {each.facts.path.name}"
