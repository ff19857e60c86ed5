"""Fit the few constants of sdxl_train_cli/memory/estimation.py to the measured table, and report how well they do.

    python scripts/fit_vram.py             print the constants and every cell: measured, estimated, error
    python scripts/fit_vram.py --write     and write vram_constants.json and docs/vram.md
    python scripts/fit_vram.py --check     exit 1 where either of them is not what this script makes of the data

Run with a Python that has sdxl_train_cli. The search is Nelder and Mead's, from a fixed start: no chance in it.
"""

from __future__ import annotations

import argparse
import difflib
import json
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, astuple, dataclass, replace
from pathlib import Path
from statistics import fmean

from sdxl_train_cli.memory import estimation, requirement
from sdxl_train_cli.memory.estimate_inputs import Demand, read
from sdxl_train_cli.memory.estimation import EstimateSpread, FittedConstants
from sdxl_train_cli.memory.optimizer_state import STATES, factored_bytes
from sdxl_train_cli.recipe import Kind

REPORT = Path(__file__).resolve().parents[1] / "docs" / "vram.md"
START = (-0.7, 0.2, 0.6, 0.1)
"""Start of the search as logarithms (of the last constant minus 1): 0.5, 1.2, 1.8 and 2.1."""
LEAST, MOST = -7.0, 4.0
"""Beyond these logarithms the result no longer changes: no context, or phases that cost only the largest one."""
DIGITS = 3
SPREAD_DIGITS = 4
CONTRADICTED = ("LoRA 32, gradient checkpointing", 2)
"""Excluded: 9.4 to 13.1 for one more image, while every other checkpointed row adds 0.8 to 1.6 per image."""
ASSUMED_OPTIMIZERS = ("AdamW8bit", "Lion8bit", "Adafactor", "Lion", "AdamW")

Point = tuple[float, ...]


@dataclass(frozen=True)
class Cell:
    """One measured value and its demand."""

    row: str
    batch: int
    measured: float
    demand: Demand

    @property
    def is_contradicted(self) -> bool:
        """Whether the rest of the table contradicts it."""
        return (self.row, self.batch) == CONTRADICTED

    def error(self, constants: FittedConstants) -> float:
        """Relative error of the estimate. Positive if it is too high."""
        return estimation.total_gib(self.demand, constants) / self.measured - 1


@dataclass(frozen=True)
class Fit:
    """The constants, and each cell's error with and without its row in the fit."""

    constants: FittedConstants
    errors: tuple[float, ...]
    held_out: tuple[float, ...]


def main() -> int:
    """Fit, then print, write or compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--write", action="store_true")
    way.add_argument("--check", action="store_true")
    options = parser.parse_args()
    cells = measured_cells()
    found = fit(cells)
    made = {estimation.CONSTANTS: constants_text(cells, found), REPORT: report(cells, found)}
    if options.write:
        for path, text in made.items():
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n")
    print("\n".join(summary(cells, found)))
    return max(differs(path, text) for path, text in made.items()) if options.check else 0


def measured_cells() -> list[Cell]:
    """Every value of the table."""
    return [
        Cell(label(row), batch, gib, read(estimation.table_recipe(row, batch)).likely)
        for row in requirement.rows()
        for batch, gib in row.measured_gib.items()
    ]


def label(row: requirement.TableRow) -> str:
    """A row's settings in words."""
    dims = "" if row.kind is Kind.DREAMBOOTH else f" {row.network_dim}" + (f"+{row.conv_dim}" if row.conv_dim else "")
    switches = {"full bf16": row.full_bf16, "fp8 base": row.fp8_base}
    named = [name for name, is_on in switches.items() if is_on]
    named += ["gradient checkpointing"] if row.gradient_checkpointing else []
    return ", ".join([row.kind.label + dims, *named])


def fit(cells: Sequence[Cell]) -> Fit:
    """Fit to all cells, then once for each row without that row."""
    constants = fitted_to(cells)
    without = {row: fitted_to([cell for cell in cells if cell.row != row]) for row in {cell.row for cell in cells}}
    return Fit(
        constants,
        tuple(cell.error(constants) for cell in cells),
        tuple(cell.error(without[cell.row]) for cell in cells),
    )


def fitted_to(cells: Sequence[Cell]) -> FittedConstants:
    """Constants that minimise the squared logarithm of estimated over measured."""
    taught = [cell for cell in cells if not cell.is_contradicted]

    def badness(point: Point) -> float:
        constants = constants_at(point)
        return sum(math.log1p(cell.error(constants)) ** 2 for cell in taught)

    found = minimum(badness, minimum(badness, START))  # the second walk starts with a fresh simplex
    return FittedConstants(*(round(number, DIGITS) for number in astuple(constants_at(found))))


def constants_at(point: Point) -> FittedConstants:
    """Constants of a point of the unbounded search: all are positive, and the exponent exceeds one."""
    context, kept, checkpointed, overlap = (math.exp(min(max(number, LEAST), MOST)) for number in point)
    return FittedConstants(context, kept, checkpointed, 1 + overlap)


def minimum(badness: Callable[[Point], float], start: Point, steps: int = 400, enough: float = 1e-9) -> Point:
    """Nelder-Mead search."""
    corners = [start, *(tuple(x + 0.2 * (i == j) for j, x in enumerate(start)) for i in range(len(start)))]
    known = sorted((badness(corner), corner) for corner in corners)
    for _ in range(steps):
        worst_badness, worst = known[-1]
        if worst_badness - known[0][0] < enough:
            break
        middle = tuple(map(fmean, zip(*(corner for _, corner in known[:-1]), strict=True)))
        tried = [at(badness, middle, worst, -1.0)]
        if tried[0][0] < known[0][0]:
            tried.append(at(badness, middle, worst, -2.0))
        elif tried[0][0] >= known[-2][0]:
            tried = [at(badness, middle, worst, -0.5 if tried[0][0] < worst_badness else 0.5)]
        if min(tried)[0] < worst_badness:
            known[-1] = min(tried)
        else:
            known[1:] = [at(badness, known[0][1], corner, 0.5) for _, corner in known[1:]]
        known.sort()
    return known[0][1]


def at(badness: Callable[[Point], float], centre: Point, corner: Point, share: float) -> tuple[float, Point]:
    """Point at a given share of the way from the centre to the corner, and its badness."""
    point = tuple(c + share * (x - c) for c, x in zip(centre, corner, strict=True))
    return badness(point), point


def spread(cells: Sequence[Cell], found: Fit) -> EstimateSpread:
    """Range of measured over estimated, for cells whose row was not in the fit."""
    ratios = [1 / (1 + error) for cell, error in zip(cells, found.held_out, strict=True) if not cell.is_contradicted]
    return EstimateSpread(low=round(min(1.0, *ratios), SPREAD_DIGITS), high=round(max(1.0, *ratios), SPREAD_DIGITS))


def constants_text(cells: Sequence[Cell], found: Fit) -> str:
    """The content of vram_constants.json."""
    made = {"constants": asdict(found.constants), "spread": asdict(spread(cells, found))}
    return json.dumps(made, indent=2) + "\n"


def mean(errors: Sequence[float]) -> float:
    """Mean absolute error in percent."""
    return 100 * fmean(map(abs, errors))


def taught_only(cells: Sequence[Cell], errors: Sequence[float]) -> list[float]:
    """Errors of all cells but the contradicted one."""
    return [error for cell, error in zip(cells, errors, strict=True) if not cell.is_contradicted]


def summary(cells: Sequence[Cell], found: Fit) -> list[str]:
    """Lines to print."""
    shown = [f"{name:14}{number:8.3f}" for name, number in asdict(found.constants).items()]
    shown += [
        f"{cell.row:40} batch {cell.batch}  measured {cell.measured:5.1f}  "
        f"estimated {cell.measured * (1 + error):5.1f}  error {100 * error:+6.1f} %  held out {100 * held:+6.1f} %"
        + ("  contradicted, not fitted" if cell.is_contradicted else "")
        for cell, error, held in zip(cells, found.errors, found.held_out, strict=True)
    ]
    worst = 100 * max(map(abs, taught_only(cells, found.errors)))
    return [
        *shown,
        f"mean absolute error over {len(cells)} cells: {mean(found.errors):.2f} %",
        f"leave-one-row-out error: {mean(found.held_out):.2f} %",
        f"largest error of a fitted cell: {worst:.1f} %",
    ]


def assumptions(cells: Sequence[Cell]) -> list[str]:
    """One line for each alternative reading of the table's settings: how well the constants fit it."""
    lines = []
    for trains_text in (True, False):
        for name in ASSUMED_OPTIMIZERS:
            other = [replace(cell, demand=assumed(cell.demand, name, trains_text=trains_text)) for cell in cells]
            constants = fitted_to(other)
            errors = taught_only(other, [cell.error(constants) for cell in other])
            who = "trained" if trains_text else "on the GPU, not trained"
            lines.append(f"| {who} | {name} | {mean(errors):.1f} % | {100 * max(map(abs, errors)):.1f} % |")
    return lines


def assumed(demand: Demand, name: str, *, trains_text: bool) -> Demand:
    """The demand if the table had been measured with another optimizer, or with only the U-Net trained."""
    state = STATES[name.lower()]
    dim = None if demand.full else demand.network_dim
    each = factored_bytes(dim, conv=False) if state.is_factored else state.bytes_per_weight(demand.trained_bytes)
    other = replace(demand, optimizer=state, state_bytes=each)
    if trains_text:
        return other
    return replace(other, trained_text=0, text_bytes=2.0 if demand.full else demand.text_bytes)


def report(cells: Sequence[Cell], found: Fit) -> str:
    """The content of docs/vram.md."""
    lines = [
        f"| {cell.row}{' (*)' if cell.is_contradicted else ''} | {cell.batch} | {cell.measured:g} "
        f"| {cell.measured * (1 + error):.1f} | {100 * error:+.1f} % | {100 * held:+.1f} % |"
        for cell, error, held in zip(cells, found.errors, found.held_out, strict=True)
    ]
    constants, factors = found.constants, spread(cells, found)
    return TEMPLATE.format(
        cells="\n".join(lines),
        assumptions="\n".join(assumptions(cells)),
        mean=mean(found.errors),
        held_out=mean(found.held_out),
        mean_fitted=mean(taught_only(cells, found.errors)),
        held_out_fitted=mean(taught_only(cells, found.held_out)),
        worst=100 * max(map(abs, taught_only(cells, found.errors))),
        low=factors.low,
        high=factors.high,
        **asdict(constants),
    )


def differs(path: Path, made: str) -> int:
    """Print a file's differences from the generated text. Returns 1 if there are any."""
    there = path.read_text(encoding="utf-8") if path.is_file() else ""
    lines = difflib.unified_diff(there.splitlines(), made.splitlines(), path.name, "made anew", lineterm="", n=0)
    for line in (shown := list(lines)):
        print(line, file=sys.stderr)
    return 1 if shown else 0


TEMPLATE = """\
# GPU memory: the estimate and how it was fitted

Written by `python scripts/fit_vram.py --write`; a test compares it with the shipped data.
A GB of memory here is 2^30 bytes: the MiB that nvidia-smi shows, divided by 1024.

## The model

Some memory is held for the whole run: CUDA's context, the weights of the U-Net, the text encoders and the network, and
the optimizer's states. It follows from counts of weights and bytes (`network_size.py`, `optimizer_state.py`,
`demand.py`).

Some memory comes and goes within a step. The forward pass keeps activations and 16-bit copies of float32 weights; the
backward pass turns them into gradients, which stay until the optimizer has stepped. How much autograd keeps was counted
on sd-scripts' own U-Net without a GPU, operation by operation (`activations.csv`, made by
`scripts/measure_activations.py`). PyTorch's allocator reuses one phase's blocks in the next only if their sizes fit, so
the phases need more than the largest and less than their sum. This is modelled as the root of a sum of powers.

The rest is fitted to the measured table, with four constants in all:

| constant | value | stands for |
| --- | --- | --- |
| `context_gib` | {context_gib:g} | CUDA's context, its libraries and their workspaces, GB |
| `activations` | {activations:g} | GB reserved for each GB that autograd keeps |
| `checkpointed` | {checkpointed:g} | the same with gradient checkpointing, which recomputes blocks |
| `overlap` | {overlap:g} | the power by which the phases of a step add up |

## The fit

Mean absolute error over the 25 measured cells: {mean:.2f} %. Leave-one-row-out: {held_out:.2f} %. Without the cell
marked (*): {mean_fitted:.2f} % and {held_out_fitted:.2f} %; the largest error is then {worst:.1f} %.

(*) is explicitly excluded from the fit: LoRA 32 with gradient checkpointing goes from 9.4 to 13.1 for one more image,
while every other checkpointed row adds 0.8 to 1.6 per image. The table contradicts itself here, so the error is shown
instead of being fitted away.

| row | batch | measured | estimated | error | error with the row left out |
| --- | --- | --- | --- | --- | --- |
{cells}

## What the table does not say

It does not name the optimizer or the attention, or say whether text encoders were trained. Each pair was tried, with
all four constants fitted again; errors without (*):

| text encoders | optimizer | mean error | largest |
| --- | --- | --- | --- |
{assumptions}

The table is therefore read as: text encoders trained, AdamW8bit, 75 tokens, latents cached, bf16, an attention that
spares memory (xformers and sdpa keep the same), 1024x1024. The shipped presets differ: they train the U-Net alone and
cache the text encoders' outputs, so they need less than the row that they are named after.

## The range

The upper end is the estimate times {high:g}, the lower end times {low:g}: the worst ratios of measured to
estimated over the fitted cells, each estimated with constants fitted without its row. The check uses the upper end.
Anything unknown (an optimizer or a network module that is not in the tables, a state that may be paged out) widens the
range further and is named.

## Where it does not apply

The table was measured with sd-scripts 0.8.3 on a machine that it does not name. Its largest figures, 47.7 and 47.8,
may come from a full 48 GB card, on which PyTorch's allocator releases what it can spare.

An fp8 base saves memory only with gradient checkpointing. Without it, autograd keeps a 16-bit copy of every weight that
was cast for a multiplication, and the run takes more than with a 16-bit base. All fp8 rows of the table are
checkpointed.

In three more cases a setting that usually saves memory costs some. Each was found by drawing thousands of settings at
random, and each has a test. When text encoders are trained with gradient checkpointing, sd-scripts gives their
vocabulary a gradient (0.19 GB in 16 bits, 0.38 in 32), which is never freed: with pictures far below 512 pixels it can
be more than checkpointing saves. Cached latents are encoded `vae_batch_size` at a time before the U-Net is loaded: many
large pictures at once take more than the training. A LoKr whose dim is more than half its larger factor keeps that
factor whole, which is smaller than the pair of matrices.

LoHa and LoKr have not been measured on a GPU. Their weights are counted exactly. Both multiply out their matrices in
each step, and autograd keeps a 16-bit copy the size of every weight that they change: counted as above, LyCORIS and
sd-scripts' own modules keep 11.57 GB at 1024x1024 where a LoRA keeps 8.14. With gradient checkpointing only one block's
copies exist at a time: 0.62 GB where a LoRA keeps 0.58.

A run that draws samples is underestimated: on an H100 one at 1024x1024 took 15.1 GB, while 8.4 to 9.8 were estimated
(docs/gpu_checks.md). The estimate assumes that the text encoders stay on the processor; for samples they probably move
to the GPU and stay there.

## Your own measurements

The check before a run uses the best of three sources, and says which: a run with the same settings measured on this
machine, otherwise the measured table, otherwise the estimate. The suggestions after a refusal use the same sources, and
so does `sdxl-train plan` for this machine's GPU. With `--data` it looks for runs with pictures as large as these,
otherwise for full batches of the largest pictures that the resolution allows.

Each real run that succeeds adds one line to `measurements.jsonl` in the home folder: the settings that affect memory
(all options except those known to be harmless; paths are left out), the size and number of pictures in its fullest
batch, the peak GPU memory of the trainer's processes, seconds per step, GPU, driver, torch, sd-scripts and date. The
memory is read from the driver. If it does not report memory per process (Windows, containers), the peak is the increase
since the start. A record applies to a run with the same settings, the same GPU name, the same number of pictures at
once, and pictures of the same size or up to a tenth smaller.

- `sdxl-train fit --preset X --model M --data D` measures right away: three real steps on the largest bucket of your
  pictures, with 1, 2, 3, 4, 6, 8 ... at a time, until it does not fit. Without a GPU it shows the RAM of a
  scaled-down model instead, which says nothing about GPU memory.
- `sdxl-train vram --mine` shows the records along with the table, each with its estimate; with `--json` the output is
  an object with `table` and `mine`.
- `sdxl-train vram --export FILE` writes them as CSV. `--merge FILE` adds another person's records and checks every row;
  they count for GPUs with the same name if you have no record of your own.

`python scripts/measure_vram.py --output FILE --against` measures the table's cells on this machine's GPU, with SDXL's
real shapes and random weights, and prints the error of the estimate for each. The estimate has not been compared with
such a file yet: it rests on the table above alone.
"""

if __name__ == "__main__":
    sys.exit(main())
