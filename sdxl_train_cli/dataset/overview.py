"""A dataset counted: folders, sizes, tags, lengths of captions. What is counted is what an epoch will see."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from sdxl_train_cli.dataset import tokens
from sdxl_train_cli.dataset.facts import Seen, Survey
from sdxl_train_cli.dataset.folders import Picture, Subset

Counted = TypeVar("Counted", str, tuple[int, int])

TOKEN_EDGES = (1, 16, 31, 46, 61, 76, 151, 226)
"""Where each bar of the histogram begins: up to 75, 150 and 225 are what sd-scripts reads at its three lengths."""


@dataclass(frozen=True)
class Bar:
    """One bar of the histogram of caption lengths."""

    least: int
    most: int | None
    """The last of the bar; None for the bar without end."""
    count: int

    @property
    def label(self) -> str:
        """`0`, `1-15`, `226 and more`."""
        if self.most is None:
            return f"{self.least} and more"
        return str(self.least) if self.least == self.most else f"{self.least}-{self.most}"


@dataclass(frozen=True)
class Overview:
    """What a person wants to know of a dataset at first."""

    folders: tuple[Subset, ...]
    sizes: tuple[tuple[int, int, int], ...]
    """Width, height and how many pictures have them, the most frequent first."""
    unread: int
    """Pictures that can't be decoded: they are counted nowhere else."""
    tags: tuple[tuple[str, int], ...]
    """The most frequent first, by how many pictures have them; lower case, as sd-scripts counts them."""
    lengths: tuple[Bar, ...]
    """Of the captions that have files, in tokens, with the trigger where it is put first."""
    is_estimate: bool
    """Whether tokens are estimated, where CLIP's vocabulary is not at hand."""


def of(survey: Survey) -> Overview:
    """Count what was seen; captions are those of training pictures, as they are trained on."""
    readable = [seen for seen in survey.seen if seen.facts.error is None]
    sizes = Counter((seen.facts.width, seen.facts.height) for seen in readable)
    trained = [seen for seen in survey.seen if not seen.subset.is_reg]
    captions = [text(seen) for seen in trained]
    known = tokens_of(survey)
    return Overview(
        folders=survey.pictures.subsets,
        sizes=tuple((*size, count) for size, count in _ordered(sizes)),
        unread=len(survey.seen) - len(readable),
        tags=tuple(_ordered(Counter(tag for caption in captions for tag in tags(caption)))),
        lengths=_bars([known[seen.facts.path] for seen in trained if seen.facts.path in known]),
        is_estimate=any(seen.caption is not None and seen.caption.is_estimate for seen in trained),
    )


def pictures(survey: Survey) -> list[Picture]:
    """The pictures as buckets are made of them: those that can be decoded."""
    return [picture(seen) for seen in survey.seen if seen.facts.error is None]


def picture(seen: Seen) -> Picture:
    """One picture as a bucket is made of it."""
    subset, facts = seen.subset, seen.facts
    return Picture(facts.path, facts.width, facts.height, subset.num_repeats, subset.is_reg)


def text(seen: Seen) -> str:
    """What the picture is trained with (library/train_util.py: read_caption, process_caption)."""
    caption = seen.caption
    own = (seen.subset.class_tokens or "") if caption is None or caption.error is not None else caption.text
    return f"{seen.subset.caption_prefix} {own}" if seen.subset.caption_prefix else own


def tags(caption: str) -> set[str]:
    """What stands between its commas."""
    return {tag for tag in (part.strip().lower() for part in caption.split(",")) if tag}


def tokens_of(survey: Survey) -> Mapping[Path, int]:
    """How long each picture's caption is as it is trained on; only of those that are read from files."""
    prefixes = {subset.caption_prefix for subset in survey.pictures.subsets if subset.caption_prefix}
    count = tokens.counter()[0] if prefixes else tokens.estimate
    more = {prefix: count(prefix) for prefix in prefixes}
    return {
        seen.facts.path: seen.caption.tokens + more.get(seen.subset.caption_prefix or "", 0)
        for seen in survey.seen
        if seen.caption is not None and seen.caption.tokens is not None
    }


def _ordered(counts: Counter[Counted]) -> list[tuple[Counted, int]]:
    """The most frequent first; equals in the order of their names."""
    return sorted(counts.items(), key=lambda each: (-each[1], each[0]))


def _bars(lengths: Sequence[int]) -> tuple[Bar, ...]:
    """One bar from each edge to the next; those beyond the longest caption are left out."""
    starts = (0, *TOKEN_EDGES)
    ends = (*(edge - 1 for edge in TOKEN_EDGES), None)
    longest = max(lengths, default=-1)
    return tuple(
        Bar(start, end, sum(start <= length and (end is None or length <= end) for length in lengths))
        for start, end in zip(starts, ends, strict=True)
        if start <= longest
    )
