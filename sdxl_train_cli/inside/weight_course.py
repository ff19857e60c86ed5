"""Follow the weights of one training through its checkpoints, with numpy alone.

    python weight_course.py FILE FILE... --names network_tensors.json     the files in the order of their training

    {"files": [{"norm", "rank", "moved", "nonfinite",
                "blocks": [{"part", "block", "modules", "norm", "rank", "moved"}, ...]}, ...]}

    {"unreadable": "why", "file": number} where one of them can't be read.

`norm` is the Frobenius norm of what the modules add to the base's weights, together. `rank` is the effective rank, the
exponential of the entropy of the singular values' shares, as a mean over modules: of dimension 32, 32 would use all
alike. `moved` is how far the file is from the one before, as a norm. What can't be told is null. Of a checkpoint that
is no network, a sample of its weights is read: `moved` is relative to their norm, and the rest is null.

A file's tensors are read one module at a time, through plain reads: mapped files would count as memory.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import struct
import sys
import threading
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
import numpy as np
import weights

FACTORS = 2


def main(argv: list[str] | None = None) -> int:
    """Follow the files and print what was found."""
    parser = argparse.ArgumentParser(prog="weight_course.py", description=__doc__.partition("\n")[0])
    parser.add_argument("files", nargs="+")
    parser.add_argument("--names", required=True, help="the data file of what a network's tensors are called")
    options = parser.parse_args(argv)
    names = weights.Names(json.loads(Path(options.names).read_text(encoding="utf-8")))
    opened: list[Read] = []
    try:
        with np.errstate(all="ignore"), contextlib.ExitStack() as open_files:
            opened.extend(open_files.enter_context(contextlib.closing(Read(path))) for path in options.files)
            found = course(opened, names)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, MemoryError, struct.error) as error:
        found = {"unreadable": " ".join(f"{type(error).__name__}: {error}".split()), "file": len(opened)}
    print(json.dumps(found, allow_nan=False))
    return 0


class Read:
    """A safetensors file, of which a tensor is read when it is asked for."""

    def __init__(self, path: str) -> None:
        self._file = open(path, "rb")  # noqa: PTH123, SIM115  until it is closed
        try:
            (length,) = struct.unpack("<Q", self._file.read(8))
            self.entries = json.loads(self._file.read(length))
        except (ValueError, struct.error):
            self._file.close()
            raise
        self.entries.pop("__metadata__", None)
        self._start, self._lock = 8 + length, threading.Lock()

    def close(self) -> None:
        """Read no more."""
        self._file.close()

    def values(self, name: str, limit: int | None = None) -> np.ndarray:
        """The tensor's numbers; flat where a limit is given, else in its shape."""
        entry = self.entries[name]
        kind = np.dtype({**weights.INTEGERS, **weights.FLOATS}[entry["dtype"]])
        begin, end = entry["data_offsets"]
        count = (end - begin) // kind.itemsize
        if limit is not None and count > limit:
            begin, count = begin + (count - limit) // 2 * kind.itemsize, limit
        with self._lock:
            self._file.seek(self._start + begin)
            raw = np.frombuffer(self._file.read(count * kind.itemsize), kind, count)
        found = weights.widened(raw, entry["dtype"])
        return found if limit is not None else found.reshape(entry["shape"])

    def is_float(self, name: str) -> bool:
        """Whether it holds numbers that are trained."""
        return self.entries[name]["dtype"] in weights.FLOATS


class Place(NamedTuple):
    """What one module is in one file."""

    norm: float | None
    rank: float | None
    moved: float | None
    nonfinite: bool


def course(opened: list[Read], names: weights.Names) -> dict:
    """All files, from the first to the last."""
    floats = [name for name in opened[-1].entries if opened[-1].is_float(name)]
    modules = names.grouped(floats)
    if not modules or any(names.part(name) == "vae" for name in floats):
        return {"files": sampled(opened, names)}
    with ThreadPoolExecutor(min(weights.MOST_THREADS, os.cpu_count() or 1)) as pool:
        followed = dict(zip(modules, pool.map(lambda item: follow(opened, names, *item), modules.items()), strict=True))
    return {"files": [summed(names, {name: places[at] for name, places in followed.items()})
                      for at in range(len(opened))]}  # fmt: skip


def follow(opened: list[Read], names: weights.Names, module: str, found: dict[str, str]) -> list[Place]:
    """One module through all files."""
    places: list[Place] = []
    before: tuple[dict[str, np.ndarray], float | None] | None = None
    rows = [row for row in names.modules if any(suffix in found for suffix in row["factors"])]
    with np.errstate(all="ignore"):
        for file in opened:
            if any(name not in file.entries for name in found.values()):
                places.append(Place(None, None, None, nonfinite=False))
                before = None
                continue
            values = {suffix: file.values(name) for suffix, name in found.items()}
            alpha = file.values(f"{module}.alpha").item() if f"{module}.alpha" in file.entries else None
            places.append(look(rows, values, alpha, before))
            before = values, alpha
    return places


def look(rows: list[dict], values: dict[str, np.ndarray], alpha: float | None, before: tuple | None) -> Place:
    """One module of one file."""
    broken = not all(weights.is_finite(value, weights.square(value)) for value in values.values())
    if broken:
        return Place(None, None, None, nonfinite=True)
    factors = rows[0]["factors"] if len(rows) == 1 and rows[0]["form"] == "lora" else []
    pair = [flat(values[suffix]) for suffix in factors[:FACTORS] if suffix in values]
    is_pair = len(pair) == FACTORS and len(values) == FACTORS and pair[0].shape[1] == pair[1].shape[0]
    earlier = before[0] if before is not None and same_shapes(values, before[0]) else None
    if not is_pair or pair[1].shape[0] > weights.LARGEST_RANK:
        norm = weights.module_norm(rows, values, alpha)
        moved = None if earlier is None or norm is None else loose_distance(values, earlier, norm)
        return Place(norm, None, moved, nonfinite=False)
    scale = 1.0 if alpha is None else alpha / pair[1].shape[0]
    singular = singular_values(*pair)
    moved = None
    if earlier is not None:
        moved = distance(*pair, *(flat(earlier[suffix]) for suffix in factors[:FACTORS])) * abs(scale)
    norm = math.sqrt(float(np.sum(singular * singular))) * abs(scale)
    return Place(norm, effective_rank(singular), moved, nonfinite=False)


def flat(values: np.ndarray) -> np.ndarray:
    """A factor as a matrix."""
    return values.reshape(values.shape[0], -1)


def same_shapes(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    """Whether two files' factors can be compared."""
    return all(value.shape == other[suffix].shape for suffix, value in one.items())


def singular_values(up: np.ndarray, down: np.ndarray) -> np.ndarray:
    """Those of the product, which is large, from the small matrices of its factors' inner sides."""
    inner, outer = (up.T @ up).astype("f8"), (down @ down.T).astype("f8")
    try:  # the squares are the eigenvalues of inner @ outer
        root = np.linalg.cholesky(inner)
    except np.linalg.LinAlgError:  # a factor has fewer directions than rows
        values, vectors = np.linalg.eigh(inner)
        root = vectors * np.sqrt(np.clip(values, 0, None))
    return np.sqrt(np.clip(np.linalg.eigvalsh(root.T @ outer @ root), 0, None))


def effective_rank(singular: np.ndarray) -> float | None:
    """How many directions there are, each counted by its share: exp of the entropy."""
    total = float(singular.sum())
    if total <= 0:
        return None
    shares = singular[singular > 0] / total
    return math.exp(-float(np.sum(shares * np.log(shares))))


def distance(up: np.ndarray, down: np.ndarray, up_before: np.ndarray, down_before: np.ndarray) -> float:
    """The norm of the difference of two products, from small matrices, and without taking large ones off each other."""
    left, right = up - up_before, down - down_before  # up @ down - before = left @ down + up_before @ right
    one = float(np.sum((left.T @ left) * (down @ down.T), dtype="f8"))
    two = float(np.sum((up_before.T @ up_before) * (right @ right.T), dtype="f8"))
    both = float(np.sum((left.T @ up_before) * (down @ right.T), dtype="f8"))
    return math.sqrt(max(one + two + 2 * both, 0.0))  # in this order, what is no number stays none


def loose_distance(values: dict[str, np.ndarray], before: dict[str, np.ndarray], norm: float) -> float:
    """Where no product can be compared: the relative change of the factors, times the module's norm."""
    there = sum(weights.square(value) for value in values.values())
    change = sum(weights.square((value - before[suffix]).reshape(-1)) for suffix, value in values.items())
    return norm * math.sqrt(change / there) if there else 0.0


def summed(names: weights.Names, places: dict[str, Place]) -> dict:
    """One file, and its blocks."""
    groups: dict[tuple[str, str], list[Place]] = defaultdict(list)
    for module, place in places.items():
        groups[names.part(module), names.block(module)].append(place)
    blocks = [{"part": part, "block": block, "modules": len(rows), **together(rows)}
              for (part, block), rows in groups.items()]  # fmt: skip
    broken = sum(place.nonfinite for place in places.values())
    return {**together(list(places.values())), "nonfinite": broken, "blocks": blocks}


def together(places: list[Place]) -> dict:
    """Norms as the norm of all, ranks as their mean."""
    return {"norm": root([place.norm for place in places]), "rank": mean([place.rank for place in places]),
            "moved": root([place.moved for place in places])}  # fmt: skip


def root(values: list[float | None]) -> float | None:
    """The norm of parts with these norms."""
    known = [value for value in values if value is not None and math.isfinite(value)]
    return weights.short(math.sqrt(sum(value * value for value in known))) if known else None


def mean(values: list[float | None]) -> float | None:
    """Their mean."""
    known = [value for value in values if value is not None and math.isfinite(value)]
    return weights.short(sum(known) / len(known)) if known else None


def sampled(opened: list[Read], names: weights.Names) -> list[dict]:
    """Checkpoints that are no networks: how far a sample of their weights has moved."""
    chosen = weights.sample(opened[-1], names, whole=False)
    found, before = [], dict[str, np.ndarray]()
    for file in opened:
        now = {name: file.values(name, weights.PIECE) for name in chosen if name in file.entries}
        shared = [name for name in now if name in before and now[name].shape == before[name].shape]
        there = sum(weights.square(now[name]) for name in shared)
        change = sum(weights.square(now[name] - before[name]) for name in shared)
        broken = sum(not weights.is_finite(value, weights.square(value)) for value in now.values())
        moved = math.sqrt(change / there) if there and math.isfinite(change) and math.isfinite(there) else None
        found.append({"norm": None, "rank": None, "moved": moved, "nonfinite": broken, "blocks": []})
        before = now
    return found


if __name__ == "__main__":
    sys.exit(main())
