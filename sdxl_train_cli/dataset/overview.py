"""Dataset statistics: folders, sizes, tags, caption lengths, counted as an epoch sees them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from sdxl_train_cli.dataset import caption
from sdxl_train_cli.dataset.file_facts import Survey, SurveyedPicture
from sdxl_train_cli.dataset.folders import Subset

Counted = TypeVar("Counted", str, tuple[int, int])

TOKEN_EDGES = (1, 16, 31, 46, 61, 76, 151, 226)
"""Lower edges of the histogram bars. sd-scripts reads up to 75, 150 or 225 tokens."""


@dataclass(frozen=True)
class HistogramBar:
    """One bar of the histogram of caption lengths."""

    least: int
    most: int | None
    """Upper edge, inclusive. None for the last bar."""
    count: int

    @property
    def label(self) -> str:
        """Label such as `0`, `1-15`, `226 or more`."""
        if self.most is None:
            return f"{self.least} or more"
        return str(self.least) if self.least == self.most else f"{self.least}-{self.most}"


@dataclass(frozen=True)
class Overview:
    """Statistics of a dataset."""

    folders: tuple[Subset, ...]
    sizes: tuple[tuple[int, int, int], ...]
    """Width, height and number of pictures, most frequent first."""
    unread: int
    """Undecodable pictures. They are counted nowhere else."""
    tags: tuple[tuple[str, int], ...]
    """Tags by number of pictures, most frequent first, in lower case as sd-scripts counts them."""
    lengths: tuple[HistogramBar, ...]
    """Caption lengths in tokens, including a prepended trigger, of captions that have files."""
    is_estimate: bool
    """Whether token counts are estimated because CLIP's vocabulary is not available."""


def summarize(survey: Survey) -> Overview:
    """Compute the statistics. Captions are those of training pictures, as trained."""
    every = survey.distinct
    readable = [seen for seen in every if seen.facts.error is None]
    sizes = Counter((seen.facts.width, seen.facts.height) for seen in readable)
    trained = [seen for seen in every if not seen.subset.is_reg]
    captions = [trained_caption(seen) for seen in trained]
    known = caption.token_counts(survey.seen)
    return Overview(
        folders=survey.pictures.subsets,
        sizes=tuple((*size, count) for size, count in _ordered(sizes)),
        unread=len(every) - len(readable),
        tags=tuple(_ordered(Counter(tag for words in captions for tag in split_tags(words)))),
        lengths=_bars([known[seen.facts.path] for seen in trained if seen.facts.path in known]),
        is_estimate=any(seen.caption is not None and seen.caption.is_estimate for seen in trained),
    )


def trained_caption(seen: SurveyedPicture) -> str:
    """The text that the picture is trained with (library/train_util.py: read_caption, process_caption)."""
    read = seen.caption
    own = (seen.subset.class_tokens or "") if read is None or read.error is not None else read.text
    return f"{seen.subset.caption_prefix} {own}" if seen.subset.caption_prefix else own


def split_tags(words: str) -> set[str]:
    """The comma-separated parts of a caption."""
    return {tag for tag in (part.strip().lower() for part in words.split(",")) if tag}


def _ordered(counts: Counter[Counted]) -> list[tuple[Counted, int]]:
    """Most frequent first; ties in alphabetical order."""
    return sorted(counts.items(), key=lambda each: (-each[1], each[0]))


def _bars(lengths: Sequence[int]) -> tuple[HistogramBar, ...]:
    """One bar from each edge to the next, up to the longest caption."""
    starts = (0, *TOKEN_EDGES)
    ends = (*(edge - 1 for edge in TOKEN_EDGES), None)
    longest = max(lengths, default=-1)
    return tuple(
        HistogramBar(start, end, sum(start <= length and (end is None or length <= end) for length in lengths))
        for start, end in zip(starts, ends, strict=True)
        if start <= longest
    )
