"""Which files beside pictures are certainly sd-scripts' caches of them. Only these are ever deleted.

A name proves little: people keep arrays of their own as .npz. The picture must be there, and the content must be what
sd-scripts writes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from enum import Enum
from functools import cached_property
from pathlib import Path

from sdxl_train_cli.dataset import cache_headers
from sdxl_train_cli.dataset.file_facts import Finding, Severity, SurveyedPicture
from sdxl_train_cli.dataset.finding_kinds import FindingKind, Hit
from sdxl_train_cli.sdscripts import latent_caches
from sdxl_train_cli.sdscripts.latent_caches import CacheFacts, CacheFault

BROKEN, FOREIGN, MISLEADING = "broken-cache", "foreign-cache", "misleading-cache"
"""Kinds whose words are true of any file, whoever made it."""


class Owner(Enum):
    """Whose a file is. The value says what to do with one that is not deleted, and with many."""

    RUN = ("", "")
    """sd-scripts' cache of a picture of this dataset."""
    NO_PICTURE = (
        "it belongs to no picture of this dataset: move it away",
        "they belong to no picture of this dataset: move them away",
    )
    """A cache, but of no picture here."""
    UNKNOWN = (
        "it is not a cache of sd-scripts: move it away",
        "they are not caches of sd-scripts: move them away",
    )
    """Nothing proves that sd-scripts made it."""


class CacheOwners:
    """Tells the caches of a dataset's pictures from other files."""

    def __init__(self, seen: Sequence[SurveyedPicture]) -> None:
        self._seen = seen

    @cached_property
    def _stems(self) -> frozenset[Path]:
        """Of every picture; most datasets have no file that asks for them."""
        return frozenset(each.facts.path.with_suffix("") for each in self._seen)

    def of(self, paths: Sequence[Path]) -> Mapping[Path, Owner]:
        """Look at these files; those that are gone are left out."""
        return {path: self._owner(path, facts) for path, facts in cache_headers.read(paths).items()}

    def _owner(self, path: Path, facts: CacheFacts) -> Owner:
        latents, text = facts.fault is None and facts.is_latents, facts.fault is None and facts.is_text
        if latents and path.with_suffix("") in self._stems:
            return Owner.RUN
        match = latent_caches.LATENTS.fullmatch(path.name)
        if match and latent_caches.is_padded(match[2], match[3]) and path.with_name(match[1]) in self._stems:
            cut = facts.fault is CacheFault.BROKEN and latent_caches.is_cut_off(path, latent_caches.LATENTS_KEY)
            return Owner.RUN if latents or cut else Owner.UNKNOWN
        stem = path.name.removesuffix(latent_caches.TEXT_SUFFIX)
        if stem not in {path.name, ""} and path.with_name(stem) in self._stems:
            cut = facts.fault is CacheFault.BROKEN and latent_caches.is_cut_off(path, latent_caches.TEXT_KEY)
            return Owner.RUN if text or cut else Owner.UNKNOWN
        return Owner.NO_PICTURE if latents or text else Owner.UNKNOWN

    def findings(
        self, kind: FindingKind, hits: Sequence[Hit], severity: Severity | None = None, **words: str
    ) -> Iterator[Finding]:
        """Yield findings of this kind; those about files that aren't deleted say so."""
        owners = self.of([path for path, _ in hits])
        for owner in Owner:
            own = [hit for hit in hits if owners.get(hit[0], Owner.UNKNOWN) is owner]
            yield from _named(kind, owner, len(own)).of_files(own, severity, **words)


def _named(kind: FindingKind, owner: Owner, count: int) -> FindingKind:
    if owner is Owner.RUN:
        return kind
    hint = owner.value[count > 1]
    if owner is Owner.NO_PICTURE or kind.name in {BROKEN, FOREIGN, MISLEADING}:
        return replace(kind, hint=hint)
    return replace(
        kind,
        one="{file} is not a cache of sd-scripts, but has the name of one",
        many="{count} files are not caches of sd-scripts, but have names of such",
        hint=hint,
    )
