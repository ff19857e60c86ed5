"""Assemble a safetensors file from tensors of others, by a plan.

    python assemble.py PLAN.json        run by the training environment's Python

    {"files": [path, ...], "target": path, "metadata": {key: text}, "dtype": "fp16" | "bf16" | "float" | null,
     "tensors": {name: {"parts": [[file, tensor, factor], ...], "axis": 0 | 1} or {"value": number, "dtype": ...}}}

Each tensor is one tensor of a file (its number in `files`) times a factor, or several of them one behind the other
along an axis. Factors are applied in 32 bits; without a dtype, a tensor keeps that of its first part. A tensor whose
factor is 1 and whose type stays is copied bit by bit. Prints {"tensors", "bytes"} once the file is written; on stderr,
how many tensors are done, as `done/total`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16, "float": torch.float32}
EVERY = 50
"""Tensors between two lines of progress."""


def main(argv: list[str]) -> int:
    """Assemble the file of a plan."""
    if len(argv) != 1 or argv[0] in {"-h", "--help"}:
        print("usage: assemble.py PLAN.json", file=sys.stderr)
        return 0 if argv[:1] in (["-h"], ["--help"]) else 2
    plan = json.loads(Path(argv[0]).read_text(encoding="utf-8"))
    sources = [safe_open(path, framework="pt") for path in plan["files"]]
    dtype = DTYPES.get(plan["dtype"])
    made: dict[str, torch.Tensor] = {}
    for number, (name, row) in enumerate(plan["tensors"].items(), 1):
        made[name] = assembled(row, sources, dtype)
        if number % EVERY == 0 or number == len(plan["tensors"]):
            print(f"{number}/{len(plan['tensors'])}", file=sys.stderr)
    save_file(made, plan["target"], metadata=plan["metadata"] or None)
    print(json.dumps({"tensors": len(made), "bytes": Path(plan["target"]).stat().st_size}))
    return 0


def assembled(row: dict[str, Any], sources: list[Any], dtype: torch.dtype | None) -> torch.Tensor:
    """One tensor of the plan."""
    if "value" in row:
        return torch.tensor(row["value"], dtype=DTYPES[row["dtype"]])
    parts = [scaled(sources[number].get_tensor(tensor), factor) for number, tensor, factor in row["parts"]]
    first = sources[row["parts"][0][0]].get_tensor(row["parts"][0][1])
    whole = parts[0] if len(parts) == 1 else torch.cat([part.float() for part in parts], dim=row["axis"])
    is_number = first.is_floating_point()
    return whole.to(dtype if dtype is not None and is_number else first.dtype).contiguous()


def scaled(tensor: torch.Tensor, factor: float) -> torch.Tensor:
    """A tensor times a factor."""
    return tensor if factor == 1 else tensor.float() * factor


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
