"""Look at the weights that a training wrote, with numpy alone: torch takes seconds to import.

    python weights.py FILE.safetensors --names network_tensors.json [--against BASE] [--before EARLIER] [--whole]

    {"tensors", "dtypes", "looked_at", "nonfinite", "nonfinite_tensors", "zero_tensors",
     "parts": [{"part", "modules", "idle", "scaled_away", "norm"}, ...],
     "blocks": [{"part", "block", "modules", "idle", "scaled_away", "norm", "largest", "where"}, ...],
     "against": {"compared", "changed", "parts": {part: {"tensors", "changed", "share", "relative"}}} or null,
     "before": {"compared", "moved"} or null}

    {"unreadable": "why"} for a file whose tensors can't be read.

Run by the training environment's Python. Of a network, every tensor is read. A network's module multiplies its
factors, and one of them starts at zero: a module with a factor that is all zero changes nothing, and is called idle.
So is one whose alpha is 0 where programs scale with it: `scaled_away` counts these.
`norm` is the Frobenius norm of what modules add to the base's weights, null where it can't be told. Of a checkpoint, a
sample is read, spread over its parts; `--whole` reads all of it. Only a checkpoint is compared `--against` its base:
`changed` counts tensors that differ from the base's once these are rounded to the file's own precision. `before`
compares with an earlier file of the same run.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import math
import mmap
import os
import re
import struct
import sys
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # matrices are small here: threads of our own do more
import numpy as np

NAMED = 5
MOST_THREADS = 4
SAMPLE = {"unet": 40, "te1": 6, "te2": 6}
"""Weights of a checkpoint that are read, by its part."""
PIECE = 1 << 20
"""Elements of one tensor that are read of a checkpoint."""
LARGEST_RANK = 8192
ROWS = 8
"""Rows of a LoHa's product that its norm is estimated from: the whole product of every layer takes minutes."""
INTEGERS = {"I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1",
            "BOOL": "u1"}  # fmt: skip
HALVES = np.arange(1 << 16, dtype="<u4").astype("<u2").view("<f2").astype("<f4")
"""Every number of 16 bits."""
FLOATS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "F8_E4M3": "u1", "F8_E5M2": "u1"}


def main(argv: list[str] | None = None) -> int:
    """Examine the file and print what was found."""
    parser = argparse.ArgumentParser(prog="weights.py", description=__doc__.partition("\n")[0])
    parser.add_argument("file")
    parser.add_argument("--names", required=True, help="the data file of what a network's tensors are called")
    parser.add_argument("--against", metavar="BASE")
    parser.add_argument("--before", metavar="EARLIER")
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--background", action="store_true", help="give way to every other process")
    options = parser.parse_args(argv)
    if options.background:
        give_way()
    names = Names(json.loads(Path(options.names).read_text(encoding="utf-8")))
    try:
        with np.errstate(all="ignore"):
            found = examine(options, names)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, MemoryError, struct.error) as error:
        found = {"unreadable": " ".join(f"{type(error).__name__}: {error}".split())}
    print(json.dumps(found, allow_nan=False))
    return 0


def give_way() -> None:
    """Let every other process go first."""
    if hasattr(os, "nice"):
        os.nice(19)
    else:
        kernel = ctypes.windll.kernel32
        kernel.SetPriorityClass(kernel.GetCurrentProcess(), 0x40)  # IDLE_PRIORITY_CLASS


class Tensors:
    """A safetensors file, mapped: a tensor is read when it is asked for."""

    def __init__(self, path: str) -> None:
        with open(path, "rb") as file:  # noqa: PTH123  a mapping outlives it
            (length,) = struct.unpack("<Q", file.read(8))
            self.entries = json.loads(file.read(length))
            self.entries.pop("__metadata__", None)
            self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._start = 8 + length

    def raw(self, name: str, limit: int | None = None) -> np.ndarray:
        """The tensor as it is stored, flat; of a long one its middle."""
        entry = self.entries[name]
        kind = {**INTEGERS, **FLOATS}[entry["dtype"]]
        begin, end = (self._start + offset for offset in entry["data_offsets"])
        size = np.dtype(kind).itemsize
        count = (end - begin) // size
        if limit is not None and count > limit:
            begin += (count - limit) // 2 * size
            count = limit
        return np.frombuffer(self._bytes, kind, count, begin)

    def values(self, name: str, limit: int | None = None) -> np.ndarray:
        """The tensor's numbers; flat where a limit is given, else in its shape."""
        entry = self.entries[name]
        found = widened(self.raw(name, limit), entry["dtype"])
        return found if limit is not None else found.reshape(entry["shape"])

    def is_float(self, name: str) -> bool:
        """Whether it holds numbers that are trained."""
        return self.entries[name]["dtype"] in FLOATS


def widened(raw: np.ndarray, dtype: str) -> np.ndarray:
    """Stored numbers as 32-bit floats; numpy knows neither bfloat16 nor the 8-bit kinds."""
    if dtype == "BF16":
        wide = raw.astype("<u4")
        wide <<= 16
        return wide.view("<f4")
    if dtype.startswith("F8"):
        return eight_bit(dtype)[raw]
    if dtype == "F16":
        return HALVES.take(raw.view("<u2"))  # numpy's own conversion takes twice as long, and more for small numbers
    return raw if dtype in {"F64", "F32"} else raw.astype("<f4")


def eight_bit(dtype: str) -> np.ndarray:
    """All 256 numbers of an 8-bit float."""
    mantissa_bits, bias = (3, 7) if dtype == "F8_E4M3" else (2, 15)
    table = np.empty(256, "<f4")
    for byte in range(256):
        exponent, mantissa = (byte & 0x7F) >> mantissa_bits, byte & ((1 << mantissa_bits) - 1)
        fraction = mantissa / (1 << mantissa_bits)
        value = (1 + fraction) * 2.0 ** (exponent - bias) if exponent else fraction * 2.0 ** (1 - bias)
        if dtype == "F8_E4M3" and byte & 0x7F == 0x7F:  # noqa: PLR2004  all bits set: its only NaN
            value = math.nan
        elif dtype == "F8_E5M2" and exponent == 0x1F:  # noqa: PLR2004  the same as in 16 bits
            value = math.nan if mantissa else math.inf
        table[byte] = -value if byte & 0x80 else value
    return table


class Names:
    """What tensors are called: the module, part and block that each belongs to."""

    def __init__(self, table: dict) -> None:
        self.modules = table["modules"]
        self.beside = table["beside"]
        self._suffixes = {suffix for row in self.modules for suffix in row["factors"] if "beside" not in row}
        self._lengths = sorted({len(suffix) for suffix in self._suffixes}, reverse=True)
        self._parts = {part: re.compile("|".join(patterns)) for part, patterns in table["parts"].items()}
        self._block = re.compile(table["blocks"])

    def part(self, name: str) -> str:
        """unet, te1, te2, vae, or other."""
        return next((part for part, pattern in self._parts.items() if pattern.match(name)), "other")

    def block(self, name: str) -> str:
        """The block of the U-Net: input 4, middle, output 2."""
        found = self._block.search(name)
        if found is None:
            return ""
        return found["middle"] or f"{found['place']} {found['number']}"

    def grouped(self, names: list[str]) -> dict[str, dict[str, str]]:
        """A network's modules: for each, its tensors by suffix. Empty where the file is no network."""
        found: dict[str, dict[str, str]] = defaultdict(dict)
        for name in names:
            suffix = self._suffix(name)
            if suffix is not None:
                found[name[: -len(suffix)]][suffix] = name
        for row in self.modules:
            if "beside" in row:
                for name in names:
                    if name.endswith(row["beside"]):
                        module = name[: -len(row["beside"])]
                        found[module][row["factors"][0]] = module + row["factors"][0]
        return found

    def _suffix(self, name: str) -> str | None:
        """The longest known end of a name: one look for each length takes a fifth of one for each end."""
        ends = (name[-length:] for length in self._lengths)
        return next((end for end in ends if end in self._suffixes), None)


def examine(options: argparse.Namespace, names: Names) -> dict:
    """Everything about the file."""
    tensors = Tensors(options.file)
    floats = [name for name in tensors.entries if tensors.is_float(name)]
    modules = names.grouped(floats)
    parts = {names.part(name) for name in floats}
    is_network = bool(modules) and "vae" not in parts
    threads = 1 if options.background else min(MOST_THREADS, os.cpu_count() or 1)
    if is_network:
        facts = network_facts(tensors, names, modules, threads)
    else:
        facts = sample_facts(tensors, names, options.whole)
    return {
        "tensors": len(tensors.entries),
        "dtypes": sorted({entry["dtype"] for entry in tensors.entries.values()}),
        **facts,
        "against": None
        if is_network or not options.against
        else against(tensors, Tensors(options.against), names, options.whole),
        "before": before(tensors, Tensors(options.before), names, whole=is_network) if options.before else None,
    }


class Module(NamedTuple):
    """What one module of a network was found to be."""

    name: str
    tensors: int
    nonfinite: list[str]
    zero: int
    idle: bool
    scaled_away: bool
    norm: float | None


def network_facts(tensors: Tensors, names: Names, modules: dict[str, dict[str, str]], threads: int) -> dict:
    """Look at every module of a network."""
    with ThreadPoolExecutor(threads) as pool:  # numpy lets others work while it counts
        looked = list(pool.map(lambda item: look(tensors, names, *item), modules.items()))
    groups: dict[tuple[str, str], list[Module]] = defaultdict(list)
    for module in looked:
        groups[names.part(module.name), names.block(module.name)].append(module)
    nonfinite = [name for module in looked for name in module.nonfinite]
    return {
        "looked_at": sum(module.tensors for module in looked),
        "nonfinite": nonfinite[:NAMED],
        "nonfinite_tensors": len(nonfinite),
        "zero_tensors": sum(module.zero for module in looked),
        "parts": [
            {"part": part, **summed([module for (each, _), rows in groups.items() if each == part for module in rows])}
            for part in dict.fromkeys(part for part, _ in groups)
        ],
        "blocks": [
            {"part": part, "block": block, **summed(rows), **largest(rows)} for (part, block), rows in groups.items()
        ],
    }


def look(tensors: Tensors, names: Names, module: str, found: dict[str, str]) -> Module:
    """Look at one module of a network."""
    with np.errstate(all="ignore"):
        values = {suffix: tensors.values(name) for suffix, name in found.items()}
        squares = {suffix: square(value) for suffix, value in values.items()}
        nonfinite = [found[suffix] for suffix, value in values.items() if not is_finite(value, squares[suffix])]
        rows = [row for row in names.modules if any(suffix in values for suffix in row["factors"])]
        scaled = [row for row in rows if any(suffix in values for suffix in row.get("scaled_with", ()))]
        others = beside(tensors, names, module, with_alpha=bool(scaled))
        nonfinite += [name for name, value in others.items() if not np.isfinite(value).all()]
        empty = {suffix for suffix, value in values.items() if squares[suffix] == 0 and not value.any()}
        alpha = tensors.values(f"{module}.alpha").item() if f"{module}.alpha" in tensors.entries else None
        scaled_away = alpha == 0 and bool(scaled)
        idle = all((scaled_away and row in scaled) or any(suffix in empty for suffix in row["factors"]) for row in rows)
        norm = 0.0 if idle else module_norm(rows, values, alpha)
    return Module(module, len(values) + len(others), nonfinite, len(empty), idle, scaled_away and idle, norm)


def beside(tensors: Tensors, names: Names, module: str, *, with_alpha: bool) -> dict[str, np.ndarray]:
    """What stands beside a module's factors. A LoKr's two whole matrices have an alpha that nobody reads."""
    there = [module + suffix for suffix in names.beside if with_alpha or suffix != ".alpha"]
    return {name: tensors.values(name) for name in there if name in tensors.entries}


def summed(modules: list[Module]) -> dict:
    """Modules together: their count, how many are idle, and the norm of all that they add."""
    known = known_norms(modules)
    return {
        "modules": len(modules),
        "idle": sum(module.idle for module in modules),
        "scaled_away": sum(module.scaled_away for module in modules),
        "norm": short(math.sqrt(sum(norm * norm for norm, _ in known))) if known else None,
    }


def largest(modules: list[Module]) -> dict:
    """The module that adds most."""
    norm, name = max(known_norms(modules), default=(None, None))
    return {"largest": None if norm is None else short(norm), "where": name}


def short(norm: float) -> float:
    """Six digits of it."""
    return float(f"{norm:.6g}")


def known_norms(modules: list[Module]) -> list[tuple[float, str]]:
    """The norms that can be told, each with its module."""
    return [(each.norm, each.name) for each in modules if each.norm is not None and math.isfinite(each.norm)]


def square(values: np.ndarray) -> float:
    """The sum of the squares, which tells of almost every tensor at once that it is finite and not zero."""
    flat = values.reshape(-1)
    return float(np.dot(flat, flat))


def is_finite(values: np.ndarray, squared: float) -> bool:
    """Whether all are numbers: the square of some large ones is none."""
    return math.isfinite(squared) or bool(np.isfinite(values).all())


def module_norm(rows: list[dict], values: dict[str, np.ndarray], alpha: float | None) -> float | None:
    """The Frobenius norm of what a module adds to the base's weights."""
    try:
        known = [NORMS[row["form"]](values, row["factors"], alpha) for row in rows]
    except (ValueError, LookupError):  # shapes that don't belong together
        return None
    return None if any(norm is None for norm in known) else math.sqrt(sum(norm * norm for norm in known))


def product_norm(left: np.ndarray, right: np.ndarray) -> float:
    """The norm of a product of two flat matrices, from their inner sides alone: the product itself is large."""
    left, right = left.reshape(left.shape[0], -1), right.reshape(right.shape[0], -1)
    if left.shape[1] > LARGEST_RANK:  # no network has it, and its square would not fit into memory
        raise ValueError(left.shape)
    squared = float(np.sum((left.T @ left) * (right @ right.T), dtype="f8"))
    return math.sqrt(max(squared, 0.0))  # in this order, what is no number stays none


def lora_norm(values: dict[str, np.ndarray], factors: list[str], alpha: float | None) -> float | None:
    """Up times down; not told where a third factor stands between."""
    up, down, *middle = (values.get(suffix) for suffix in factors)
    if up is None or down is None or any(value is not None for value in middle):
        return None
    return product_norm(up, down) * (1.0 if alpha is None else alpha / down.shape[0])


def loha_norm(values: dict[str, np.ndarray], factors: list[str], alpha: float | None) -> float | None:
    """Two products, multiplied number by number: estimated from a few rows."""
    if any(suffix in values for suffix in factors[4:]):
        return None
    one, one_right, two, two_right = (values[suffix] for suffix in factors[:4])
    taken = np.linspace(0, len(one) - 1, min(ROWS, len(one))).astype(int)
    part = (one[taken] @ one_right) * (two[taken] @ two_right)
    whole = math.sqrt(float(np.sum(part * part, dtype="f8")) * len(one) / len(taken))
    return whole * (1.0 if alpha is None else alpha / one_right.shape[0])


def lokr_norm(values: dict[str, np.ndarray], factors: list[str], alpha: float | None) -> float | None:
    """A Kronecker product, whose norm is the product of its sides' norms."""
    if factors[6] in values:
        return None
    norms = []
    for whole, left, right in (factors[0:3], factors[3:6]):
        norms.append(plain(values[whole]) if whole in values else product_norm(values[left], values[right]))
    rank = next((values[suffix].shape[0] for suffix in (factors[5], factors[2]) if suffix in values), None)
    return norms[0] * norms[1] * (1.0 if alpha is None or rank is None else alpha / rank)


def plain_norm(values: dict[str, np.ndarray], factors: list[str], _alpha: float | None) -> float | None:
    """One tensor that is added as it is."""
    return plain(values[factors[0]]) if len(factors) == 1 else None


def plain(values: np.ndarray) -> float:
    """The norm of a tensor."""
    return math.sqrt(square(values))


NORMS = {"lora": lora_norm, "loha": loha_norm, "lokr": lokr_norm, "plain": plain_norm}


def plain_name(name: str) -> str:
    """A name without what torch.compile has put into it."""
    return name.replace("_orig_mod.", "")


def sample(tensors: Tensors, names: Names, *, whole: bool) -> list[str]:
    """Weights spread over the parts of a checkpoint, in the order of their names; all of them with `whole`."""
    floats = sorted(name for name in tensors.entries if tensors.is_float(name))
    if whole:
        return floats
    found = []
    for part, count in SAMPLE.items():
        there = [name for name in floats if name.endswith("weight") and names.part(name) == part]
        large = [name for name in there if len(tensors.entries[name]["shape"]) > 1] or there
        found += [large[round(at)] for at in np.linspace(0, len(large) - 1, min(count, len(large)))]
    return list(dict.fromkeys(found)) or floats[: SAMPLE["unet"]]


def sample_facts(tensors: Tensors, names: Names, whole: bool) -> dict:
    """Look at a checkpoint's sample."""
    looked_at = sample(tensors, names, whole=whole)
    limit = None if whole else PIECE
    read = {name: tensors.values(name, limit) for name in looked_at} if not whole else None
    nonfinite, zero = [], 0
    for name in looked_at:
        values = read[name] if read else tensors.values(name)
        if not is_finite(values, square(values)):
            nonfinite.append(name)
        zero += not values.any()
    return {
        "looked_at": len(looked_at),
        "nonfinite": nonfinite[:NAMED],
        "nonfinite_tensors": len(nonfinite),
        "zero_tensors": zero,
        "parts": [],
        "blocks": [],
    }


def against(tensors: Tensors, base: Tensors, names: Names, whole: bool) -> dict:
    """Compare with the base model's tensors of the same name."""
    parts: dict[str, list[tuple[int, int, float, float]]] = defaultdict(list)
    known = set(base.entries)
    for name in sample(tensors, names, whole=whole):
        same = plain_name(name)
        if same not in known or base.entries[same]["shape"] != tensors.entries[name]["shape"]:
            continue
        dtype = tensors.entries[name]["dtype"]
        limit = None if whole else PIECE
        ours, theirs = tensors.values(name, limit).reshape(-1), base.values(same, limit).reshape(-1)
        changed = differing(ours, theirs, dtype)
        moved = (ours - theirs)[changed]
        parts[names.part(name)].append(
            (int(changed.sum()), changed.size, float(np.dot(moved, moved)), float(np.dot(theirs, theirs)))
        )
    return {
        "compared": sum(map(len, parts.values())),
        "changed": sum(changed > 0 for rows in parts.values() for changed, *_ in rows),
        "parts": {part: compared(rows) for part, rows in parts.items()},
    }


def compared(rows: list[tuple[int, int, float, float]]) -> dict:
    """How much of a part differs from the base: the share of its numbers, and the change beside the weights."""
    changed, count, moved, there = (sum(column) for column in zip(*rows, strict=True))
    relative = math.sqrt(moved / there) if there and math.isfinite(moved) and math.isfinite(there) else None
    return {
        "tensors": len(rows),
        "changed": sum(row[0] > 0 for row in rows),
        "share": changed / count if count else 0.0,
        "relative": relative,
    }


def differing(ours: np.ndarray, theirs: np.ndarray, dtype: str) -> np.ndarray:
    """Which numbers are none that the base's become by rounding: to the file's precision, by way of 16 bits too."""
    changed = np.ones(len(ours), bool)
    for way in (theirs, rounded(theirs, "BF16"), rounded(theirs, "F16")):
        changed &= ours != rounded(way, dtype)
        if not changed.any():
            break
    return changed


def rounded(values: np.ndarray, dtype: str) -> np.ndarray:
    """Numbers as they are once they were stored in a precision."""
    if dtype == "BF16":
        bits = values.astype("<f4").view("<u4")
        return ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).view("<f4")
    if dtype == "F16":
        return values.astype("<f2").astype("<f4")
    if dtype.startswith("F8"):
        table = np.sort(eight_bit(dtype)[np.isfinite(eight_bit(dtype))])
        at = np.searchsorted(table, values).clip(1, len(table) - 1)
        below, above = table[at - 1], table[at]
        return np.where(values - below < above - values, below, above)
    return values


def before(tensors: Tensors, earlier: Tensors, names: Names, *, whole: bool) -> dict:
    """Compare with an earlier file of the same run, bit by bit."""
    moved = count = 0
    for name in sample(tensors, names, whole=whole):
        entry, other = tensors.entries[name], earlier.entries.get(name)
        if other is None or (other["dtype"], other["shape"]) != (entry["dtype"], entry["shape"]):
            continue
        limit = None if whole else PIECE
        count += 1
        moved += tensors.raw(name, limit).tobytes() != earlier.raw(name, limit).tobytes()
    return {"compared": count, "moved": moved}


if __name__ == "__main__":
    sys.exit(main())
