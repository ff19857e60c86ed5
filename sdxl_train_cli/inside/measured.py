"""Run one of sd-scripts' training scripts and note the most that PyTorch's allocator held on the GPU.

    python measured.py REPORT SCRIPT [args...]      run in the sd-scripts checkout, by the training environment's Python

For scripts/measure_vram.py alone. REPORT, a file, gets {"allocated": bytes, "reserved": bytes} however the script ends;
both are null where torch was not loaded or has no GPU. The script runs as it would by itself.
"""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path


def main(argv: list[str]) -> int:
    """Run the script in this process, and write down its peak memory."""
    if len(argv) < 2 or argv[0] in {"-h", "--help"}:  # noqa: PLR2004  a report and a script
        print("usage: measured.py REPORT SCRIPT [args...]", file=sys.stderr)
        return 0 if argv[:1] in (["-h"], ["--help"]) else 2
    report, *command = argv
    sys.argv = command
    sys.path[0] = str(Path(command[0]).resolve().parent)  # what it would be if the script were run directly
    try:
        runpy.run_path(command[0], run_name="__main__")
    finally:
        Path(report).write_text(json.dumps(peaks()), encoding="utf-8")
    return 0


def peaks() -> dict[str, int | None]:
    """Ask torch, where the script has loaded it."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return {"allocated": None, "reserved": None}
    return {"allocated": torch.cuda.max_memory_allocated(), "reserved": torch.cuda.max_memory_reserved()}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
