"""Problems and oddities of a dataset's picture files, individually and compared with each other."""

from __future__ import annotations

import os
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence

from sdxl_train_cli.dataset import duplicates, picture
from sdxl_train_cli.dataset.file_facts import FileFault, Finding, PictureFacts, Severity, SurveyedPicture
from sdxl_train_cli.dataset.finding_kinds import ERROR, WARNING, FindingKind, Hit
from sdxl_train_cli.recipe import Recipe

_WINDOWS = sys.platform == "win32"
_DELETE = "delete it, or save it again as png or jpg"
_FIX = "`sdxl-train dataset fix {root} --to NEWDIR` makes a repaired copy"
"""{root} is the folder of the pictures that have the problem: that of --reg where they are for regularisation."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
"""Control characters in a name break every file list and log."""
_DEEP = {"I", "F"}
_SHIFTS = {
    2: "mirrored", 3: "upside down", 4: "upside down and mirrored", 5: "on its side and mirrored", 6: "on its side",
    7: "on its side and mirrored", 8: "on its side",
}  # fmt: skip
"""How a picture of each EXIF orientation is stored, which is how sd-scripts uses it."""

Told = Callable[[PictureFacts], str | None]
"""Returns what to say about a picture, or None if it is fine."""


def _fault(fault: FileFault) -> Told:
    return lambda facts: facts.error if facts.fault is fault else None


def _mixed_case(facts: PictureFacts) -> str | None:
    suffix = facts.path.suffix
    return None if _WINDOWS or suffix in {suffix.lower(), suffix.upper()} else suffix.lower()


def _other_suffix(facts: PictureFacts) -> str | None:
    usual = facts.path.suffix.lower() in picture.SUFFIXES.get(facts.format, ())
    return None if usual or not facts.format else facts.format


def _animated(facts: PictureFacts) -> str | None:
    return f"{facts.frames} frames" if facts.frames > 1 and facts.format != "MPO" else None


def _deep(facts: PictureFacts) -> str | None:
    return facts.mode if facts.mode in _DEEP or facts.mode.startswith("I;16") else None


_KINDS: tuple[tuple[FindingKind, Told], ...] = (
    (
        FindingKind("unreadable", ERROR, "{file} can't be read: {detail}", "{count} pictures can't be read",
                    "check that it exists and that you can read it; or delete it"),
        _fault(FileFault.UNREADABLE),
    ),
    (
        FindingKind("no-picture", ERROR, "{file} is not a readable picture",
                    "{count} files are not readable pictures", _DELETE),
        _fault(FileFault.NO_PICTURE),
    ),
    (
        FindingKind("truncated", ERROR, "{file} is cut off or broken: {detail}",
                    "{count} pictures are cut off or broken", _DELETE),
        _fault(FileFault.TRUNCATED),
    ),
    (
        FindingKind("too-large", ERROR, "{file} is too large: {detail}", "{count} pictures are too large to decode",
                    "make it smaller: training never uses more than a few million pixels"),
        _fault(FileFault.TOO_LARGE),
    ),
    (
        FindingKind("mixed-case", ERROR, "{file}: sd-scripts misses suffixes in mixed case",
                    "{count} pictures have suffixes in mixed case, which sd-scripts misses", "rename it to {detail}"),
        _mixed_case,
    ),
    (
        FindingKind("odd-name", ERROR, "{file} has a line break or another control character in its name",
                    "{count} pictures have line breaks or other control characters in their names",
                    "rename it. " + _FIX),
        lambda facts: "" if _CONTROL.search(facts.path.name) else None,
    ),
    (
        FindingKind("rotated", ERROR,
                    "{file} is stored {detail}, and sd-scripts ignores the EXIF entry that rotates it",
                    "{count} pictures are stored rotated, and sd-scripts ignores their EXIF entry", _FIX),
        lambda facts: _SHIFTS.get(facts.orientation),
    ),
    (
        FindingKind("deep-colours", ERROR,
                    "{file} has more than 8 bits of grey ({detail}): it would train as all white",
                    "{count} pictures have more than 8 bits of grey: they would train as all white", _FIX),
        _deep,
    ),
    (
        FindingKind("wrong-suffix", WARNING, "{file} is a {detail}, whatever its suffix says",
                    "{count} pictures have a different format than their suffix says",
                    "training reads it anyway; other programs may not. " + _FIX),
        _other_suffix,
    ),
    (
        FindingKind("animated", WARNING, "{file} is animated, and only the first of its {detail} is trained on",
                    "{count} pictures are animated: only the first frame of each is trained on",
                    "save the frames that you want as separate pictures"),
        _animated,
    ),
    (
        FindingKind("cmyk", WARNING, "{file} has print colours (CMYK), which come out wrong",
                    "{count} pictures have print colours (CMYK), which come out wrong", _FIX),
        lambda facts: "" if facts.mode == "CMYK" else None,
    ),
)  # fmt: skip
_ALPHA = FindingKind(
    "alpha", WARNING, "{file} is partly transparent, and those parts train as whatever colour lies beneath",
    "{count} pictures are partly transparent, and those parts train as whatever colour lies beneath",
    _FIX + "; or leave these parts out of training: --set alpha_mask=true",
)  # fmt: skip
_SAME_STEM = FindingKind(
    "same-stem", WARNING, "",
    "{count} pictures share a name except for the suffix, and so share one caption and one cache",
    "rename one of each pair",
)  # fmt: skip
_DUPLICATE = FindingKind(
    "duplicate", WARNING, "", "{count} pictures are exact copies of each other",
    "delete the copies: each one makes its picture count once more",
)  # fmt: skip
_NEAR = FindingKind(
    "near-duplicate", WARNING, "", "{count} pictures look almost the same as another",
    "keep one of each, unless you want them to count more",
)  # fmt: skip


def find(seen: Sequence[SurveyedPicture], recipe: Recipe | None, roots: Mapping[bool, str]) -> Iterator[Finding]:
    """Yield the findings. `roots` are the folders as the user can type them, by whether they are of --reg."""
    masks = recipe is not None and recipe.is_on("alpha_mask")
    for is_reg, root in roots.items():
        own = [each for each in seen if each.subset.is_reg is is_reg]
        for kind, told in _KINDS:
            hits = [(each.facts.path, words) for each in own if (words := told(each.facts)) is not None]
            yield from kind.of_files(hits, root=root)
        yield from _ALPHA.of_files([(each.facts.path, "") for each in own if each.facts.has_alpha and not masks],
                                   root=root)  # fmt: skip
    stems = _stems(seen)
    yield from _SAME_STEM.of_files(_grouped(stems), _weight_of_same_stems(stems, recipe))
    facts = [each.facts for each in seen]
    yield from _DUPLICATE.of_files(_grouped(duplicates.exact(facts)))
    yield from _NEAR.of_files(_grouped(duplicates.near(facts)))


def _grouped(groups: Sequence[Sequence[PictureFacts]]) -> list[Hit]:
    """Each group's other pictures, described as copies of its first one."""
    return [
        (each.path, "" if each is group[0] else f"as {group[0].path.name}")
        for group in groups for each in group
    ]  # fmt: skip


def _stems(seen: Sequence[SurveyedPicture]) -> list[list[PictureFacts]]:
    by_stem: dict[str, list[PictureFacts]] = defaultdict(list)
    for each in seen:
        by_stem[os.path.normcase(os.path.splitext(each.facts.path)[0])].append(each.facts)  # noqa: PTH122 - no more paths
    return [group for group in by_stem.values() if len(group) > 1]


def _weight_of_same_stems(groups: Sequence[Sequence[PictureFacts]], recipe: Recipe | None) -> Severity:
    """Severity of equal stems: with a disk cache, two pictures of one size share the latents of one of them."""
    on_disk = recipe is not None and recipe.is_on("cache_latents_to_disk")
    sizes = [[(facts.width, facts.height) for facts in group] for group in groups]
    return ERROR if on_disk and any(len(set(group)) < len(group) for group in sizes) else WARNING
