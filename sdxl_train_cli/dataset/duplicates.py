"""Find duplicate pictures: equal byte for byte, or equal to the eye.

Similar pictures have 128-bit difference hashes that differ in few bits, relative to the bits that are set. If hashes
are cut into more pieces than they may differ in bits, similar ones share at least one piece, so only those are
compared. If thousands share a piece (the title bar of screenshots), a second cut must match as well.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Iterable

from sdxl_train_cli.dataset.file_facts import PictureFacts

MOST_BITS = 7
"""Bits out of 128 by which similar pictures may differ."""
_LEAST_LIKENESS = 8
"""Set bits required per differing bit. A mostly plain picture sets few bits, so few can differ."""
_LEAST_DRAWN = 10
"""Set bits required before a hash is compared at all."""
_ROWS = struct.Struct("<8H")
"""Layout that cuts a hash into MOST_BITS + 1 pieces."""
_EVERY_EIGHTH = int.from_bytes(b"\1" * _ROWS.size, "little")
_MANY = 64
"""From this many hashes with a common piece, the second cut is used."""
_MOST_COMPARED = 400
"""Comparisons per hash within a second cut. Only crafted pictures share that many pieces, and comparing all of them
would take hours.
"""


def exact(facts: Iterable[PictureFacts]) -> list[tuple[PictureFacts, ...]]:
    """Groups of files with identical content, in input order."""
    by_content: dict[str, list[PictureFacts]] = defaultdict(list)
    for each in facts:
        if each.sha256:
            by_content[each.sha256].append(each)
    return [tuple(group) for group in by_content.values() if len(group) > 1]


def near(facts: Iterable[PictureFacts]) -> list[tuple[PictureFacts, ...]]:
    """Groups of pictures similar to the group's first one, excluding exact copies."""
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
    """The first hash of each group, indexed by its pieces."""

    def __init__(self) -> None:
        self._met: set[int] = set()
        self._with_piece: list[dict[int, list[int]]] = [{} for _ in range(MOST_BITS + 1)]
        self._recut: dict[tuple[int, int], _Recut] = {}
        """By place and piece, where many have it."""

    def of(self, one: int) -> int:
        """Index of the first similar hash, or the hash's own index if there is none."""
        if one in self._met:
            return one
        pieces = _ROWS.unpack(one.to_bytes(_ROWS.size, "little"))
        most = min(MOST_BITS, one.bit_count() // (_LEAST_LIKENESS - 1))
        plain_ones_too = len(pieces) - pieces.count(0) <= most  # plain areas are too common
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
    """Hashes that share a piece, indexed by the pieces of a second cut."""

    def __init__(self) -> None:
        self._hashes: list[int] = []
        self._with_piece: list[dict[int, list[int]]] = [{} for _ in range(MOST_BITS + 1)]
        """Their places among the hashes."""

    def add(self, one: int) -> None:
        for places, piece in zip(self._with_piece, _columns(one), strict=True):
            places.setdefault(piece, []).append(len(self._hashes))
        self._hashes.append(one)

    def near(self, one: int, most: int) -> list[int]:
        """At most `most` hashes that share a piece of the second cut, in order of arrival."""
        share = -(-most // len(self._with_piece))
        found = {
            at
            for places, piece in zip(self._with_piece, _columns(one), strict=True)
            for at in places.get(piece, ())[:share]
        }
        return [self._hashes[at] for at in sorted(found)[:most]]


def _columns(one: int) -> list[int]:
    """The second cut: every eighth bit."""
    return [one >> place & _EVERY_EIGHTH for place in range(MOST_BITS + 1)]


def _is_like(one: int, other: int) -> bool:
    apart = (one ^ other).bit_count()
    return apart <= MOST_BITS and apart <= (one | other).bit_count() // _LEAST_LIKENESS
