"""Which pictures of a dataset are the same, byte for byte or to the eye.

To the eye: their difference hashes of 128 bits differ in a few, and in few of those that are set. Two such hashes have
at least one piece in common if they are cut into more pieces than they may differ in bits, so only pictures with a
common piece are compared.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from sdxl_train_cli.dataset.facts import PictureFacts

MOST_BITS = 7
"""Of 128 that similar pictures differ in."""
_LEAST_LIKENESS = 8
"""Bits in one of two hashes for each that differs: where little is drawn on a plain ground, few differ anyway."""
_LEAST_DRAWN = 10
"""Bits that are set where there is something to compare."""
_BITS = 128
_PIECES = MOST_BITS + 1
_PIECE = _BITS // _PIECES
_MASK = (1 << _PIECE) - 1


def exact(facts: Iterable[PictureFacts]) -> list[tuple[PictureFacts, ...]]:
    """Groups of files with the same content, in the order in which they were given."""
    by_content: dict[str, list[PictureFacts]] = defaultdict(list)
    for each in facts:
        if each.sha256:
            by_content[each.sha256].append(each)
    return [tuple(group) for group in by_content.values() if len(group) > 1]


def near(facts: Iterable[PictureFacts]) -> list[tuple[PictureFacts, ...]]:
    """Groups of pictures that look like the first of their group and are no copies of it, one file of each content."""
    leads = _Leads()
    groups: dict[int, list[PictureFacts]] = defaultdict(list)
    met: set[str] = set()
    for each in facts:
        drawn = each.difference_hash or 0
        if drawn.bit_count() >= _LEAST_DRAWN and each.sha256 not in met:
            met.add(each.sha256)
            groups[leads.of(drawn)].append(each)
    return [tuple(group) for group in groups.values() if len(group) > 1]


class _Leads:
    """The first hash of each group, and where its pieces are met again."""

    def __init__(self) -> None:
        self._met: set[int] = set()
        self._with_piece: dict[tuple[int, int], list[int]] = defaultdict(list)

    def of(self, one: int) -> int:
        """The first hash that this one is like; itself if there is none."""
        if one in self._met:
            return one
        pieces = [(place, one >> place * _PIECE & _MASK) for place in range(_PIECES)]
        drawn = [piece for piece in pieces if piece[1]]
        most = min(MOST_BITS, one.bit_count() // (_LEAST_LIKENESS - 1))
        for piece in drawn if len(drawn) > most else pieces:  # a plain ground is met too often
            for other in self._with_piece[piece]:
                if _is_like(one, other):
                    return other
        self._met.add(one)
        for piece in pieces:
            self._with_piece[piece].append(one)
        return one


def _is_like(one: int, other: int) -> bool:
    return (one ^ other).bit_count() <= min(MOST_BITS, (one | other).bit_count() // _LEAST_LIKENESS)
