"""Compare what a LoRA adds to the base's weights with the weighted sum of what others add. numpy alone.

    python compare_sums.py MADE.safetensors FACTOR FILE [FACTOR FILE ...]

    {"wanted", "made", "error", "modules": [{"module", "wanted", "made", "error"}, ...]}

All figures are Frobenius norms: of the sum that was wanted, of what the file adds, and of the difference. A module adds
alpha / rank times up times down. Names are kohya's. The products themselves are never made: a norm follows from the
small matrices between the factors. Run by the training environment's Python; {"unreadable": "why"} for broken files.
"""

from __future__ import annotations

import json
import math
import os
import sys

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # matrices are small here
import numpy as np
import weights

UP, DOWN, ALPHA = ".lora_up.weight", ".lora_down.weight", ".alpha"


def main(argv: list[str]) -> int:
    """Compare, and print what was found."""
    if len(argv) < 3 or len(argv) % 2 == 0:  # noqa: PLR2004  a file, and at least one pair
        print("usage: compare_sums.py MADE FACTOR FILE [FACTOR FILE ...]", file=sys.stderr)
        return 0 if argv[:1] in (["-h"], ["--help"]) else 2
    try:
        found = compare(argv[0], [(float(argv[at]), argv[at + 1]) for at in range(1, len(argv), 2)])
    except (OSError, ValueError, LookupError, TypeError, MemoryError) as error:
        found = {"unreadable": " ".join(f"{type(error).__name__}: {error}".split())}
    print(json.dumps(found))
    return 0


def compare(made: str, wanted: list[tuple[float, str]]) -> dict:
    """The norms of each module, and of all together."""
    result = weights.Tensors(made)
    sources = [(factor, weights.Tensors(path)) for factor, path in wanted]
    names = {name[: -len(DOWN)]: None for file in (result, *(file for _, file in sources)) for name in file.entries
             if name.endswith(DOWN)}  # fmt: skip
    rows = [row(module, result, sources) for module in names]
    return {key: math.sqrt(sum(each[key] ** 2 for each in rows)) for key in ("wanted", "made", "error")} | {
        "modules": rows
    }


def row(module: str, result: weights.Tensors, sources: list[tuple[float, weights.Tensors]]) -> dict:
    """The norms of one module."""
    wanted = [product for factor, file in sources if (product := factors(file, module, factor)) is not None]
    made = factors(result, module, 1.0)
    minus = [] if made is None else [(-made[0], made[1])]
    return {
        "module": module,
        "wanted": norm(wanted),
        "made": norm(minus),
        "error": norm([*wanted, *minus]),
    }


def factors(file: weights.Tensors, module: str, factor: float) -> tuple[np.ndarray, np.ndarray] | None:
    """Up, scaled, and down, both flat and in 64 bits; None where the file has no such module."""
    if module + DOWN not in file.entries:
        return None
    up, down = (file.values(module + ending).astype("f8") for ending in (UP, DOWN))
    alpha = file.values(module + ALPHA).item() if module + ALPHA in file.entries else down.shape[0]
    return up.reshape(len(up), -1) * (factor * alpha / down.shape[0]), down.reshape(len(down), -1)


def norm(products: list[tuple[np.ndarray, np.ndarray]]) -> float:
    """The norm of a sum of products."""
    if not products:
        return 0.0
    left = np.concatenate([up for up, _ in products], axis=1)
    right = np.concatenate([down for _, down in products], axis=0)
    _, one = np.linalg.qr(left)
    _, other = np.linalg.qr(right.T)
    return float(np.linalg.norm(one @ other.T))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
