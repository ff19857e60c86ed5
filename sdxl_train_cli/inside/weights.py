"""Look at every weight that a training wrote.

    python weights.py FILE.safetensors [FILE.safetensors...] [--against BASE.safetensors]

    {"files": [{"path", "tensors", "parameters", "dtypes",
                "finite", "nonfinite", "all_zero", "zero_tensors", "max_abs", "changed"}, ...]}

Run by the training environment's Python.

`nonfinite` and `all_zero` name the first five such tensors, `zero_tensors` counts the latter; `max_abs` is of the
finite values. A LoRA's lora_up weights start at zero: one that is still all zero was not trained. `changed` counts the
tensors that differ from those of the base model, once these are rounded to the file's own precision.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import sys
from pathlib import Path
from typing import Any

NAMED = 5
# What is looked at in one piece, in elements: keeps the memory small beside the largest tensor of a checkpoint.
PIECE = 1 << 24


def main() -> int:
    """Examine each file and print what was found."""
    parser = argparse.ArgumentParser(prog="weights.py", description=__doc__.partition("\n")[0])
    parser.add_argument("files", nargs="+", metavar="FILE")
    parser.add_argument("--against", metavar="BASE")
    options = parser.parse_args()
    sys.path[0] = str(Path.cwd())  # the files beside this one must not stand for modules of the same name
    file = "torch"
    try:
        with contextlib.redirect_stdout(sys.stderr):
            torch = importlib.import_module("torch")
            safetensors = importlib.import_module("safetensors")
            examined = []
            for file in options.files:
                examined.append(examine(torch, safetensors, file, options.against))
    except Exception as error:  # noqa: BLE001  a damaged file fails in ways of the libraries' own
        print(" ".join(f"{file}: {type(error).__name__}: {error}".split()), file=sys.stderr)
        return 1
    print(json.dumps({"files": examined}, allow_nan=False))
    return 0


def examine(torch: Any, safetensors: Any, file: str, base: str | None) -> dict[str, Any]:  # noqa: ANN401  modules that may not be there
    """Go through one file, holding one tensor at a time, and its like of the base model."""
    nonfinite: list[str] = []
    all_zero: list[str] = []
    dtypes: set[str] = set()
    tensors = parameters = changed = 0
    max_abs = 0.0
    with contextlib.ExitStack() as stack:
        opened = stack.enter_context(safetensors.safe_open(file, framework="pt"))
        untrained = stack.enter_context(safetensors.safe_open(base, framework="pt")) if base else None
        known = set(untrained.keys()) if untrained else set()
        for name in opened.keys():  # noqa: SIM118  not a mapping: it has no iterator of its own
            tensor = opened.get_tensor(name)
            finite, largest = span(torch, tensor)
            tensors += 1
            parameters += tensor.numel()
            dtypes.add(str(tensor.dtype).removeprefix("torch."))
            max_abs = max(max_abs, largest)
            if name in known:
                changed += not torch.equal(untrained.get_tensor(name).to(tensor.dtype), tensor)
            if not finite:
                nonfinite.append(name)
            elif largest == 0:
                all_zero.append(name)
    return {
        "path": file,
        "tensors": tensors,
        "parameters": parameters,
        "dtypes": sorted(dtypes),
        "finite": not nonfinite,
        "nonfinite": nonfinite[:NAMED],
        "all_zero": all_zero[:NAMED],
        "zero_tensors": len(all_zero),
        "max_abs": max_abs,
        "changed": changed,
    }


def span(torch: Any, tensor: Any) -> tuple[bool, float]:  # noqa: ANN401  the same
    """Return whether all values are finite, and the largest of those that are, whatever its sign."""
    finite, largest = True, 0.0
    for piece in tensor.reshape(-1).split(PIECE):
        values = piece.to(torch.float64 if piece.dtype == torch.float64 else torch.float32).abs()
        bounded = torch.isfinite(values)
        finite = finite and bool(bounded.all())
        largest = max(largest, float(values.where(bounded, 0).max()) if values.numel() else 0.0)
    return finite, largest


if __name__ == "__main__":
    sys.exit(main())
