"""Write sdxl_train_cli/memory/measured_cells.csv: the memory of every run in docs/measured_*.jsonl.

    python scripts/measured_cells.py            print what the rows would be
    python scripts/measured_cells.py --write    and write them
    python scripts/measured_cells.py --check    exit 1 if the shipped rows differ

The files are the output of scripts/measure_gpu.py: put one there, and its cells count in the estimate's fit and for
anyone with the same settings. Cells count that finished with the full-size model, and with --fast as its default is. Of
equal cells the one that took most is kept. CUDA's context is the median of its card's, plain and fast apart.
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

import measure_gpu
from measure_gpu import Line

from sdxl_train_cli.memory import measured_cells
from sdxl_train_cli.memory.memory_settings import MemorySettings
from sdxl_train_cli.memory.requirement import RESOLUTION

DOCS = Path(__file__).resolve().parents[1] / "docs"
FAST = "default"
PEAKS = ("before_allocated_gib", "before_reserved_gib", "training_allocated_gib", "training_reserved_gib")
HEADER = """\
# Memory of runs measured on a known GPU, GiB. Made by scripts/measured_cells.py from docs/measured_*.jsonl, nothing by
# hand: sd-scripts unmodified (fast: with --fast), a model with SDXL's shapes and random weights. `before` are PyTorch's
# peaks until the first backward pass, `training` those after it, `process` is the driver's figure, `context` CUDA's.
"""


def main() -> int:
    """Print, write or compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--write", action="store_true")
    way.add_argument("--check", action="store_true")
    options = parser.parse_args()
    text = table([line for path in sorted(DOCS.glob("measured_*.jsonl")) for line in measure_gpu.read(path)])
    if options.write:
        measured_cells.TABLE.write_text(text, encoding="utf-8", newline="\n")
    if options.check:
        return 0 if text == measured_cells.TABLE.read_text(encoding="utf-8") else 1
    print(text, end="")
    return 0


def table(lines: Sequence[Line]) -> str:
    """The file's content."""
    counted = [
        line
        for line in lines
        if line.status == measure_gpu.OK and line.model == "full size" and line.way in {measure_gpu.PLAIN, FAST}
        and line.settings is not None and line.process_gib is not None
    ]  # fmt: skip
    rows = [row(line, context_gib(line, counted)) for line in highest(counted)]
    text = io.StringIO()
    text.write(HEADER)
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def highest(lines: Sequence[Line]) -> Iterator[Line]:
    """Of each run the line that took most, in the order of the first ones."""
    found = dict[tuple[str, ...], list[Line]]()
    for line in lines:
        found.setdefault((str(settings(line)), line.way, line.gpu), []).append(line)
    return (max(same, key=lambda line: line.process_gib or 0.0) for same in found.values())


def row(line: Line, context: float) -> dict[str, object]:
    """A line as the product reads it."""
    values: dict[str, object] = {"preset": f"{line.kind}/{line.preset}", **settings(line).model_dump(mode="json")}
    values |= {"width": RESOLUTION, "height": RESOLUTION, "fast": line.way == FAST}
    values |= {peak: getattr(line, peak) for peak in PEAKS}
    values |= {"process_gib": line.process_gib, "context_gib": context, "gpu": line.gpu, "driver": line.driver}
    values |= {"torch": line.torch, "sd_scripts": line.sd_scripts, "measured": line.date}
    return {name: text(value) for name, value in values.items()}


def settings(line: Line) -> MemorySettings:
    """What determines the run's memory."""
    return MemorySettings.model_validate({**(line.settings or {}), "kind": measure_gpu.Kind(line.kind)})


def context_gib(line: Line, lines: Sequence[Line]) -> float:
    """What the driver counts beyond what PyTorch reserved, on this line's card."""
    same = [one for one in lines if (one.gpu, one.way) == (line.gpu, line.way)]
    beyond = [
        one.process_gib - max(one.before_reserved_gib, one.training_reserved_gib)
        for one in same
        if one.process_gib is not None and one.before_reserved_gib is not None and one.training_reserved_gib is not None
    ]
    return round(median(beyond), 3)


def text(value: object) -> str:
    """A value of the table, or empty."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


if __name__ == "__main__":
    sys.exit(main())
