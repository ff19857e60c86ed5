"""inside/fast.py where there is no GPU: what it would record as a CUDA graph is run again from its fixed places.

    python recorded_on_processor.py INGREDIENTS SCRIPT [args...]

Run by the training environment's Python. The kernels differ from a GPU's; all that stands around a recording is the
same: fixed inputs and outputs, shared gradients, other shapes, and what makes it be forgotten.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

INSIDE = Path(__file__).parents[1] / "sdxl_train_cli" / "inside"


def main() -> int:
    """Become fast.py, with recordings of this file's kind."""
    spec = importlib.util.spec_from_file_location("fast", INSIDE / "fast.py")
    fast: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fast)
    fast.possible = lambda wanted, _argv: wanted
    fast.torch.cuda.graph_pool_handle = object
    fast.record = record
    return fast.main(sys.argv[1:])


def record(work: Callable[[], None], _pool: object) -> Callable[[], None]:
    """Do the work, and give what does it again and leaves its results in the same place."""
    work()
    recording: Any = work.__self__

    def forward() -> None:
        place = recording.output
        work()
        recording.alive = recording.output
        place.copy_(recording.output.detach())
        recording.output = place

    def backward() -> None:
        place, recording.output = recording.output, recording.alive
        work()
        recording.output = place

    return forward if work.__name__ == "_forward" else backward


if __name__ == "__main__":
    sys.exit(main())
