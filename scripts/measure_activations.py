"""Write sdxl_train_cli/memory/activations.csv: what autograd keeps, counted without a GPU. Standard library only.

    python scripts/measure_activations.py --python PYTHON --checkout FOLDER

PYTHON is the training environment's, FOLDER an unmodified sd-scripts; about ten minutes and 2 GB of memory.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "sdxl_train_cli"
TABLE = PACKAGE / "memory" / "activations.csv"
MIB = 2**20
SIZES = ("kept", "recomputed", "copies")


def main() -> int:
    """Count, then write the whole table at once."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", required=True, help="the training environment's Python")
    parser.add_argument("--checkout", type=Path, required=True, help="a folder with sd-scripts")
    parser.add_argument("--output", type=Path, default=TABLE)
    options = parser.parse_args()
    commit = told(["git", "rev-parse", "HEAD"], options.checkout).strip()
    argv = [options.python, str(PACKAGE / "inside" / "activations.py")]
    counted = json.loads(told(argv, options.checkout))
    options.output.write_text(table(counted, commit), encoding="utf-8", newline="\n")
    print(f"{options.output}: {len(counted['rows'])} rows")
    return 0


def told(argv: list[str], folder: Path) -> str:
    """A command's stdout. Its stderr goes to ours."""
    return subprocess.run(argv, cwd=folder, check=True, stdout=subprocess.PIPE, encoding="utf-8").stdout


def table(counted: dict[str, object], commit: str) -> str:
    """The rows as CSV, sizes in MiB, below a header naming their source."""
    rows = counted["rows"]
    assert isinstance(rows, list)  # noqa: S101  the other script's promise
    text = io.StringIO()
    text.write(
        "# What autograd keeps in one step of SDXL, MiB. Made by scripts/measure_activations.py, nothing by hand.\n"
    )
    text.write(f"# torch {str(counted['torch']).partition('+')[0]}, FakeTensorMode, no GPU; sd-scripts {commit}.\n")
    text.write("# What the columns mean stands in sdxl_train_cli/inside/activations.py.\n")
    writer = csv.writer(text, lineterminator="\n")
    names = [name for name in rows[0] if name not in SIZES]
    writer.writerow([*names, *(f"{size}_mib" for size in SIZES)])
    for row in rows:
        choices = [str(row[name]).lower() for name in names]
        writer.writerow([*choices, *(round(row[size] / MIB, 1) for size in SIZES)])
    return text.getvalue()


if __name__ == "__main__":
    sys.exit(main())
