"""Which pictures of a dataset are the same, byte for byte or to the eye.

To the eye: their difference hashes of 128 bits differ in a few. Two such hashes have at least one piece in common if
they are cut into more pieces than they may differ in bits, so only pictures with a common piece are compared.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from itertools import combinations

from sdxl_train_cli.dataset.facts import PictureFacts

MOST_BITS = 7
"""Of 128 that similar pictures differ in."""
_BITS = 128
_PIECES = MOST_BITS + 1
_PIECE = _BITS // _PIECES


def exact(facts: Iterable[PictureFacts]) -> list[tuple[PictureFacts, ...]]:
    """Groups of files with the same content, in the order in which they were given."""
    by_content: dict[str, list[PictureFacts]] = defaultdict(list)
    for each in facts:
        if each.sha256:
            by_content[each.sha256].append(each)
    return [tuple(group) for group in by_content.values() if len(group) > 1]


def near(facts: Iterable[PictureFacts]) -> list[tuple[PictureFacts, ...]]:
    """Groups of pictures that look the same and are not the same file, one file of each content."""
    by_hash: dict[int, list[PictureFacts]] = defaultdict(list)
    met: set[str] = set()
    for each in facts:
        if each.difference_hash is not None and each.sha256 not in met:
            met.add(each.sha256)
            by_hash[each.difference_hash].append(each)
    groups = [[each for one in hashes for each in by_hash[one]] for hashes in _joined(list(by_hash))]
    return [tuple(group) for group in groups if len(group) > 1]


def _joined(hashes: Sequence[int]) -> list[list[int]]:
    """Sort hashes into groups, each of which differs in few bits from another of its group."""
    leads = {each: each for each in hashes}
    for one, other in _close(hashes):
        first, second = _lead(leads, one), _lead(leads, other)
        leads[second] = first
    groups: dict[int, list[int]] = defaultdict(list)
    for each in hashes:
        groups[_lead(leads, each)].append(each)
    return list(groups.values())


def _close(hashes: Sequence[int]) -> Iterator[tuple[int, int]]:
    for place in range(_PIECES):
        shift, mask = place * _PIECE, (1 << _PIECE) - 1
        with_piece: dict[Hashable, list[int]] = defaultdict(list)
        for each in hashes:
            with_piece[each >> shift & mask].append(each)
        for group in with_piece.values():
            for one, other in combinations(group, 2):
                if (one ^ other).bit_count() <= MOST_BITS:
                    yield one, other


def _lead(leads: dict[int, int], each: int) -> int:
    while leads[each] != each:
        leads[each] = each = leads[leads[each]]
    return each
