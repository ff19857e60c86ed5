"""Run one of sd-scripts' LoRA tools with a singular value decomposition that costs what its matrices are worth.

    python quick_svd.py RANK SCRIPT [args...]    run in the sd-scripts checkout, by the training environment's Python

networks/resize_lora.py multiplies a LoRA's factors and decomposes the whole product, with a square matrix of its
longer side. RANK says that no matrix has a higher one; then a basis of the columns is found by multiplication, and a
matrix of RANK rows is decomposed: the same numbers within rounding, in a small part of the time. 0 says that nothing is
known of the rank: only the square matrix is left out, of which the tools drop all but the first columns.
SCRIPT may be another script of this folder, such as scaled.py.

Relied upon: the tools call torch.linalg.svd with one matrix and take the first columns and rows of what it gives
(networks/resize_lora.py, networks/extract_lora_from_models.py; v0.10.1 and v0.11.1).
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

MORE = 8
"""Columns beyond the rank, so that rounding hides no direction."""


def main(argv: list[str]) -> int:
    """Change the decomposition, then become the script."""
    if len(argv) < 2 or argv[0] in {"-h", "--help"}:  # noqa: PLR2004  a rank and a script
        print("usage: quick_svd.py RANK SCRIPT [args...]", file=sys.stderr)
        return 0 if argv[:1] in (["-h"], ["--help"]) else 2
    sys.path[0] = str(Path.cwd())  # where SCRIPT's own folder would stand if it were run directly
    torch.linalg.svd = quick(torch.linalg.svd, int(argv[0]))
    sys.argv = argv[1:]
    runpy.run_path(sys.argv[0], run_name="__main__")
    return 0


def quick(original: Callable[..., Any], rank: int) -> Callable[..., Any]:
    """The decomposition of one matrix of at most this rank."""

    def svd(matrix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        columns = rank + MORE
        if not rank or 2 * columns >= min(matrix.shape):
            return original(matrix, full_matrices=False)  # type: ignore[no-any-return]
        chance = torch.Generator().manual_seed(0)
        probe = torch.randn(matrix.shape[1], columns, generator=chance, dtype=matrix.dtype).to(matrix.device)
        basis, _ = torch.linalg.qr(matrix @ probe)
        left, values, right = original(basis.T @ matrix, full_matrices=False)
        return basis @ left, values, right

    return svd


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
