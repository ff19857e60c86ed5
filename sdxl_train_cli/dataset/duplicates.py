"""Which pictures of a dataset are the same, byte for byte or to the eye.

To the eye: their difference hashes of 128 bits differ in a few, and in few of those that are set. Two such hashes have
at least one piece in common if they are cut into more pieces than they may differ in bits, so only pictures with a
common piece are compared. Where thousands have one in common, as the title bar of screenshots, those are compared that
have a piece of another cut in common too.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Iterable

from sdxl_train_cli.dataset.file_facts import PictureFacts

MOST_BITS = 7
"""Of 128 that similar pictures differ in."""
_LEAST_LIKENESS = 8
"""Bits in one of two hashes for each that differs: where little is drawn on a plain ground, few differ anyway."""
_LEAST_DRAWN = 10
"""Bits that are set where there is something to compare."""
_ROWS = struct.Struct("<8H")
"""A hash as MOST_BITS + 1 pieces."""
_EVERY_EIGHTH = int.from_bytes(b"\1" * _ROWS.size, "little")
_MANY = 64
"""Hashes with one piece in common that are worth another cut."""
_MOST_COMPARED = 400
"""Hashes with such pieces that one is compared with. Only pictures that were made for it have as many in common in both
cuts, and all of them compared with each other would take hours."""


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
        self._with_piece: list[dict[int, list[int]]] = [{} for _ in range(MOST_BITS + 1)]
        self._recut: dict[tuple[int, int], _Recut] = {}
        """By place and piece, where many have it."""

    def of(self, one: int) -> int:
        """The first hash that this one is like; itself if there is none."""
        if one in self._met:
            return one
        pieces = _ROWS.unpack(one.to_bytes(_ROWS.size, "little"))
        most = min(MOST_BITS, one.bit_count() // (_LEAST_LIKENESS - 1))
        plain_ones_too = len(pieces) - pieces.count(0) <= most  # a plain ground is met too often
        left = _MOST_COMPARED
        for place, piece in enumerate(pieces):
            if piece or plain_ones_too:
                others = self._with_piece[place].get(piece, ())
                if len(others) > _MANY:
                    others = self._recut[place, piece].near(one, left)
                    left -= len(others)
                for other in others:
                    if _is_like(one, other):
                        return other
        self._met.add(one)
        for place, piece in enumerate(pieces):
            self._add(place, piece, one)
        return one

    def _add(self, place: int, piece: int, one: int) -> None:
        others = self._with_piece[place].setdefault(piece, [])
        others.append(one)
        if len(others) > _MANY:
            recut = self._recut.setdefault((place, piece), _Recut())
            for other in others if len(others) == _MANY + 1 else (one,):
                recut.add(other)


class _Recut:
    """Hashes that have one piece in common, by the pieces of another cut."""

    def __init__(self) -> None:
        self._hashes: list[int] = []
        self._with_piece: list[dict[int, list[int]]] = [{} for _ in range(MOST_BITS + 1)]
        """Their places among the hashes."""

    def add(self, one: int) -> None:
        for places, piece in zip(self._with_piece, _columns(one), strict=True):
            places.setdefault(piece, []).append(len(self._hashes))
        self._hashes.append(one)

    def near(self, one: int, most: int) -> list[int]:
        """At most so many that have one of its pieces, in the order in which they came."""
        share = -(-most // len(self._with_piece))
        found = {
            at
            for places, piece in zip(self._with_piece, _columns(one), strict=True)
            for at in places.get(piece, ())[:share]
        }
        return [self._hashes[at] for at in sorted(found)[:most]]


def _columns(one: int) -> list[int]:
    """Another cut into as many pieces: every eighth bit."""
    return [one >> place & _EVERY_EIGHTH for place in range(MOST_BITS + 1)]


def _is_like(one: int, other: int) -> bool:
    apart = (one ^ other).bit_count()
    return apart <= MOST_BITS and apart <= (one | other).bit_count() // _LEAST_LIKENESS
