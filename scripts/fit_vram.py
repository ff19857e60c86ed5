"""Fit the few constants of sdxl_train_cli/memory/estimation.py to measured runs, and report how well they do.

    python scripts/fit_vram.py             print the constants and every cell: measured, estimated, error
    python scripts/fit_vram.py --write     and write vram_constants.json and docs/vram.md
    python scripts/fit_vram.py --check     exit 1 where either of them is not what this script makes of the data

Two sources: vram_table.csv, the process alone on a machine that is not named, and measured_cells.csv, runs on a known
GPU. Run with a Python that has sdxl_train_cli. The search is Nelder and Mead's, from a fixed start: no chance in it.
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

from sdxl_train_cli import gpu
from sdxl_train_cli.gpu import Gpu
from sdxl_train_cli.memory import estimation, fitted_constants, measured_cells, requirement
from sdxl_train_cli.memory.cuda_context import CudaContext
from sdxl_train_cli.memory.estimate_inputs import Demand, Demands, read
from sdxl_train_cli.memory.estimation import CountedRun
from sdxl_train_cli.memory.fitted_constants import EstimateSpread, FittedConstants
from sdxl_train_cli.memory.measured_cells import MeasuredCell
from sdxl_train_cli.memory.measurements import MeasuredRuns
from sdxl_train_cli.memory.optimizer_state import STATES, factored_bytes
from sdxl_train_cli.recipe import Kind, Recipe, Setting
from sdxl_train_cli.recipes import presets

REPORT = Path(__file__).resolve().parents[1] / "docs" / "vram.md"
START = (0.05, 0.4, 0.3, 0.6, 0.1, -0.9)
"""Start of the search as logarithms, the third of the constant minus 1: 1.05, 1.5, 2.3, 1.8, 1.1 and 0.4."""
LEAST, MOST = -7.0, 4.0
"""Beyond these logarithms the result no longer changes: no context, or phases that cost only the largest one."""
DIGITS = 3
SPREAD_DIGITS = 4
TABLE = "table"
CONTRADICTED = ("LoRA 32, gc", 2)
"""Excluded: 9.4 to 13.1 for one more image, while every other checkpointed row adds 0.8 to 1.6 per image."""
ASSUMED_OPTIMIZERS = ("AdamW8bit", "Lion8bit", "Adafactor", "Lion", "AdamW")

PRESETS = ("anime", "character", "dim32-gc", "dim32-bf16-gc", "dim32-fp8-gc", "dim128-fp8-gc", "slow-and-safe")
CARDS, HEADROOM = (6, 8, 10, 12, 16, 24), 0.5
"""GB, and what a desktop takes of it."""

Point = tuple[float, ...]


@dataclass(frozen=True)
class Cell:
    """One measured value and its demand."""

    source: str
    """TABLE or the GPU's name."""
    row: str
    """The table's row of these settings. A row of both sources is left out of a fit as a whole."""
    words: str
    batch: int
    measured: float
    """GiB of the process."""
    context: float | None
    """CUDA's context on that machine. None on the table's, where it is fitted."""
    demands: Demands
    counted: CountedRun
    """Of the likely demand."""
    allocated: float | None = None
    """GiB that PyTorch had allocated by the first backward pass."""

    @property
    def is_contradicted(self) -> bool:
        """Whether the rest of the table contradicts it."""
        return self.source == TABLE and (self.row, self.batch) == CONTRADICTED

    def context_with(self, constants: FittedConstants) -> float:
        """The context, measured or fitted."""
        return constants.table_context_gib if self.context is None else self.context

    def estimated(self, constants: FittedConstants) -> float:
        """GiB that the process should take."""
        own = constants.of_table if self.source == TABLE else constants
        return self.context_with(constants) + estimation.reserved_gib(self.counted, own)

    def error(self, constants: FittedConstants) -> float:
        """Relative error of the estimate. Positive if it is too high."""
        return self.estimated(constants) / self.measured - 1

    def ends(self, constants: FittedConstants, spread: EstimateSpread) -> tuple[float, float]:
        """The range that is told for these settings on that machine."""
        context = self.context_with(constants)
        fixed = CudaContext(context, context, context, "")
        found = estimation.estimate_demands(self.demands, constants, spread, fixed)
        return found.low_gib, found.high_gib


@dataclass(frozen=True)
class Fit:
    """The constants, and each cell's error with and without its row in the fit."""

    constants: FittedConstants
    without_row: tuple[FittedConstants, ...]
    """For each cell."""
    errors: tuple[float, ...]
    held_out: tuple[float, ...]


def main() -> int:
    """Fit, then print, write or compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--write", action="store_true")
    way.add_argument("--check", action="store_true")
    options = parser.parse_args()
    cells = all_cells()
    found = fit(cells)
    made = {fitted_constants.CONSTANTS: constants_text(cells, found), REPORT: report(cells, found)}
    if options.write:
        for path, text in made.items():
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n")
    print("\n".join(summary(cells, found)))
    return max(differs(path, text) for path, text in made.items()) if options.check else 0


def all_cells() -> list[Cell]:
    """Every value of both sources; of fast runs none, as the estimate is of plain ones."""
    return [*table_cells(), *(measured_cell(cell) for cell in measured_cells.load() if not cell.fast)]


def table_cells() -> list[Cell]:
    """Every value of the measured table."""
    return [
        of_demands(TABLE, row.title, row.title, batch, gib, None, read(estimation.table_recipe(row, batch)))
        for row in requirement.rows()
        for batch, gib in row.measured_gib.items()
    ]


def measured_cell(cell: MeasuredCell) -> Cell:
    """A run on a known GPU."""
    row = requirement.row_of(cell.recipe)
    title = cell.preset if row is None else row.title
    words = f"preset {cell.preset}" if "text" in cell.settings.caches else title
    words += ", samples" if cell.settings.samples else ""
    facts = (title, words, cell.settings.batch_size, cell.process_gib)
    counted = of_demands(cell.gpu, *facts, cell.context_gib, read(cell.recipe))
    return replace(counted, allocated=cell.before_allocated_gib)


def of_demands(  # noqa: PLR0913, PLR0917  one argument per fact of the cell
    source: str, row: str, words: str, batch: int, measured: float, context: float | None, demands: Demands
) -> Cell:
    """A cell, counted."""
    return Cell(source, row, words, batch, measured, context, demands, estimation.count(demands.likely))


def fit(cells: Sequence[Cell]) -> Fit:
    """Fit to all cells, then once for each row without that row, whatever its source."""
    constants = fitted_to(cells)
    without = {row: fitted_to([cell for cell in cells if cell.row != row]) for row in {cell.row for cell in cells}}
    return Fit(
        constants,
        tuple(without[cell.row] for cell in cells),
        tuple(cell.error(constants) for cell in cells),
        tuple(cell.error(without[cell.row]) for cell in cells),
    )


def fitted_to(cells: Sequence[Cell]) -> FittedConstants:
    """The constant of allocated memory, then those that minimise the cubed logarithm of estimated over measured.

    The cube weighs a large error more than many small ones: what counts is whether a run fits.
    """
    taught = [cell for cell in cells if not cell.is_contradicted]
    workspaces = fmean(cell.allocated - cell.counted.forward for cell in cells if cell.allocated is not None)

    def badness(point: Point) -> float:
        constants = constants_at(point, workspaces)
        return sum(abs(math.log1p(cell.error(constants))) ** 3 for cell in taught)

    found = minimum(badness, minimum(badness, START))  # the second walk starts with a fresh simplex
    return FittedConstants(*(round(number, DIGITS) for number in astuple(constants_at(found, workspaces))))


def constants_at(point: Point, workspaces: float) -> FittedConstants:
    """Constants of a point of the unbounded search: all are positive, and the exponent exceeds one."""
    numbers = [math.exp(min(max(number, LEAST), MOST)) for number in point]
    kept, checkpointed, overlap, vae, table_reserved, table_context = numbers
    return FittedConstants(workspaces, kept, checkpointed, 1 + overlap, vae, table_reserved, table_context)


def minimum(badness: Callable[[Point], float], start: Point, steps: int = 600, enough: float = 1e-9) -> Point:
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
    """Range of what PyTorch reserved over the ends of the estimate, for cells whose row was not in the fit."""
    low, high = list[float](), list[float]()
    for cell, constants in zip(cells, found.without_row, strict=True):
        if cell.is_contradicted:
            continue
        reserved = cell.measured - cell.context_with(constants)
        low.append(reserved / estimation.reserved_gib(cell.counted, constants))
        high.append(reserved / estimation.reserved_gib(cell.counted, constants.at_worst))
    return EstimateSpread(round(min(1.0, *low) - 5e-5, SPREAD_DIGITS), round(max(1.0, *high) + 5e-5, SPREAD_DIGITS))


def constants_text(cells: Sequence[Cell], found: Fit) -> str:
    """The content of vram_constants.json."""
    made = {"constants": asdict(found.constants), "spread": asdict(spread(cells, found))}
    return json.dumps(made, indent=2) + "\n"


def mean(errors: Sequence[float]) -> float:
    """Mean absolute error in percent."""
    return 100 * fmean(map(abs, errors))


def largest(errors: Sequence[float]) -> float:
    """Largest absolute error in percent."""
    return 100 * max(map(abs, errors))


def taught_only(cells: Sequence[Cell], errors: Sequence[float]) -> list[float]:
    """Errors of all cells but the contradicted one."""
    return [error for cell, error in zip(cells, errors, strict=True) if not cell.is_contradicted]


def outside(cells: Sequence[Cell], found: Fit) -> list[Cell]:
    """Cells outside the range that is told for them, but for the contradicted one."""
    factors = spread(cells, found)
    ranges = [cell.ends(found.constants, factors) for cell in cells]
    taught = [(cell, ends) for cell, ends in zip(cells, ranges, strict=True) if not cell.is_contradicted]
    return [cell for cell, (low, high) in taught if not low <= cell.measured <= high]


def allocation_errors(cells: Sequence[Cell], constants: FittedConstants) -> list[float]:
    """Relative errors of what PyTorch should have allocated by the first backward pass."""
    return [
        (cell.counted.forward + constants.workspaces_gib) / cell.allocated - 1
        for cell in cells
        if cell.allocated is not None
    ]


def summary(cells: Sequence[Cell], found: Fit) -> list[str]:
    """Lines to print."""
    shown = [f"{name:18}{number:8.3f}" for name, number in asdict(found.constants).items()]
    shown += [
        f"{source_name(cell)[:6]:6} {cell.words:36} batch {cell.batch}  measured {cell.measured:5.1f}  "
        f"estimated {cell.measured * (1 + error):5.1f}  error {100 * error:+6.1f} %  held out {100 * held:+6.1f} %"
        + ("  contradicted, not fitted" if cell.is_contradicted else "")
        for cell, error, held in zip(cells, found.errors, found.held_out, strict=True)
    ]
    allocated, fits = allocation_errors(cells, found.constants), outside(cells, found)
    return [
        *shown,
        f"allocated by the first backward pass: mean error {mean(allocated):.2f} %, largest {largest(allocated):.1f} %",
        *(f"{name}: {words}" for name, words in figures(cells, found).items()),
        f"largest error of a fitted cell: {largest(taught_only(cells, found.errors)):.1f} %",
        f"cells outside their range: {', '.join(f'{cell.words} {cell.batch}' for cell in fits) or 'none'}",
    ]


def figures(cells: Sequence[Cell], found: Fit) -> dict[str, str]:
    """Mean errors of both sources, and of each."""
    known = [cell.source != TABLE for cell in cells]
    parts = {"both sources": [True] * len(cells), "the table": [not one for one in known], "the known GPU": known}
    return {
        f"{name}, {sum(chosen)} cells": f"mean error {mean(picked(found.errors, chosen)):.2f} %, "
        f"with the row left out {mean(picked(found.held_out, chosen)):.2f} %"
        for name, chosen in parts.items()
    }


def picked(errors: Sequence[float], chosen: Sequence[bool]) -> list[float]:
    """The errors of chosen cells."""
    return [error for error, is_chosen in zip(errors, chosen, strict=True) if is_chosen]


def source_name(cell: Cell) -> str:
    """The source in a word or two."""
    return cell.source.removeprefix("NVIDIA ").partition(" ")[0]


def assumptions(cells: Sequence[Cell]) -> list[str]:
    """One line for each alternative reading of the table's settings: how well the constants fit it."""
    lines = []
    table = [cell for cell in cells if cell.source == TABLE]
    rest = [cell for cell in cells if cell.source != TABLE]
    for trains_text in (True, False):
        for name in ASSUMED_OPTIMIZERS:
            read_so = [read_as(cell, name, trains_text=trains_text) for cell in table]
            constants = fitted_to([*read_so, *rest])
            errors = taught_only(read_so, [cell.error(constants) for cell in read_so])
            who = "trained" if trains_text else "on the GPU, not trained"
            lines.append(f"| {who} | {name} | {mean(errors):.1f} % | {largest(errors):.1f} % |")
    return lines


def read_as(cell: Cell, name: str, *, trains_text: bool) -> Cell:
    """The cell, had the table been measured with other settings."""
    demands = replace(cell.demands, likely=assumed(cell.demands.likely, name, trains_text=trains_text))
    return replace(cell, demands=demands, counted=estimation.count(demands.likely))


def assumed(demand: Demand, name: str, *, trains_text: bool) -> Demand:
    """The demand if the table had been measured with another optimizer, or with only the U-Net trained."""
    state = STATES[name.lower()]
    dim = None if demand.full else demand.network_dim
    each = factored_bytes(dim, conv=False) if state.is_factored else state.bytes_per_weight(demand.trained_bytes)
    other = replace(demand, optimizer=state, state_bytes=each)
    if trains_text:
        return other
    return replace(other, trained_text=0, text_bytes=2.0 if demand.full else demand.text_bytes)


def samples_by_card() -> list[str]:
    """One line for each preset: the side of the samples that a run draws by default, on each card."""
    lines = []
    for name in PRESETS:
        loaded = presets.load(Kind.LORA, name)
        sides = [drawn_side(loaded, gpu.hypothetical(gib, HEADROOM)) for gib in CARDS]
        lines.append(f"| {name} | {' | '.join(sides)} |")
    return lines


def drawn_side(bare: Recipe, card: Gpu) -> str:
    """The largest of the sides that a run tries which fits, in pixels."""
    known = MeasuredRuns((), card, "").need
    if known(bare).high_gib > card.free_gib:
        return "does not fit"
    wanted = ("sample_prompts", "prompts.txt"), ("sample_every_n_steps", 100)
    drawing = bare.replaced({name: Setting(value=value) for name, value in wanted})
    sizes = [(side, drawing.model_copy(update={"sample_pixels": side**2})) for side in (1024, 768, 512)]
    return next((str(side) for side, each in sizes if known(each).high_gib <= card.free_gib), "none")


def report(cells: Sequence[Cell], found: Fit) -> str:
    """The content of docs/vram.md."""
    lines = [
        f"| {source_name(cell)} | {cell.words}{' (*)' if cell.is_contradicted else ''} | {cell.batch} "
        f"| {cell.measured:.4g} | {cell.measured * (1 + error):.1f} | {100 * error:+.1f} % | {100 * held:+.1f} % |"
        for cell, error, held in zip(cells, found.errors, found.held_out, strict=True)
    ]
    factors = spread(cells, found)
    allocated = allocation_errors(cells, found.constants)
    return TEMPLATE.format(
        cells="\n".join(lines),
        figures="\n".join(f"- {name}: {words}." for name, words in figures(cells, found).items()),
        assumptions="\n".join(assumptions(cells)),
        cards="| preset | " + " | ".join(f"{gib} GB" for gib in CARDS) + " |\n" + "| --- " * (len(CARDS) + 1) + "|",
        headroom=HEADROOM,
        samples="\n".join(samples_by_card()),
        mean_fitted=mean(taught_only(cells, found.errors)),
        held_out_fitted=mean(taught_only(cells, found.held_out)),
        worst=largest(taught_only(cells, found.errors)),
        allocated_mean=mean(allocated),
        allocated_worst=largest(allocated),
        known_context=next(cell.context for cell in cells if cell.context is not None),
        low=factors.low,
        high=factors.high,
        **asdict(found.constants),
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

A run has phases: loading models, caching latents, caching captions, training, drawing samples. It needs what the
largest of them takes. `phases.py` counts the models that are on the GPU in each, in the order in which sd-scripts
v0.10.1 and v0.11.1 move them. Two findings: an fp8 base is cast in RAM, so what peaks before training is the float32
VAE encoding pictures; and a sample of 1024x1024 that is decoded at once, as sd-scripts alone does it, takes 8.3 GB in
float32 and 4.1 in 16 bits, more than most trainings. Prompts are encoded on the processor where the text encoders have
left the GPU: both releases leave them there. So `sdxl-train` has samples decoded in strips (`inside/sampled.py`): 2.1
and 1.0 GB are counted for it, and 1.25 times as much is told. What it takes on a GPU has not been measured. `--lowram`
loads everything straight to the GPU, the U-Net in float32 first: 12.9 GB, whatever is trained then.

In a training step, some memory is held throughout: the weights of the U-Net, the text encoders and the network, and the
optimizer's states. It follows from counts of weights and bytes (`network_size.py`, `optimizer_state.py`,
`estimate_inputs.py`). Some comes and goes: the forward pass keeps activations and 16-bit copies of float32 weights; the
backward pass turns them into gradients, which stay until the optimizer has stepped. How much autograd keeps was counted
on sd-scripts' own U-Net without a GPU, operation by operation (`activations.csv`, made by
`scripts/measure_activations.py`). PyTorch's allocator reuses blocks only if their sizes fit, so both need more than the
larger one and less than their sum. This is modelled as the root of a sum of powers.

CUDA's context belongs to the machine. `sdxl-train setup` measures it on each GPU that is there, and keeps it with the
environment; without a GPU, `cuda_contexts.csv` has a range by compute capability and CUDA version, with its sources.

The rest is fitted, with seven constants in all:

| constant | value | stands for | fitted to |
| --- | --- | --- | --- |
| `workspaces_gib` | {workspaces_gib:g} | GB allocated in a step beside what is counted | allocated, known GPU |
| `activations` | {activations:g} | GB reserved for each GB that autograd keeps | reserved, known GPU |
| `checkpointed` | {checkpointed:g} | the same with gradient checkpointing, which recomputes blocks | both sources |
| `overlap` | {overlap:g} | the power by which the parts of a step add up | both sources |
| `vae` | {vae:g} | GB reserved for each GB of the VAE's activations, much of it workspace | reserved, known GPU |
| `table_reserved` | {table_reserved:g} | the table's machine: GB where the known GPU reserves 1 | the table |
| `table_context_gib` | {table_context_gib:g} | CUDA's context on the table's machine, GB | the table |

Why the table's machine has a factor: for each further picture without gradient checkpointing the known GPU took 8.3 GB,
the table's machine 9.8 to 11.8; with it 1.1 and 0.8 to 1.6. The table's software is of early 2024, and its pictures'
shapes are not known; those on the known GPU were all of one shape, which leaves no gaps in memory. An estimate goes by
the known GPU, the upper end of its range by the table's machine.

## The fit

What PyTorch had allocated by the first backward pass, of which only `workspaces_gib` is fitted: mean error
{allocated_mean:.2f} %, largest {allocated_worst:.1f} %. What the whole process took:

{figures}

Without the cell marked (*): {mean_fitted:.2f} % and {held_out_fitted:.2f} %; the largest error is then {worst:.1f} %. A
row is left out of a fit with all of its cells in both sources. CUDA's context on the known GPU was {known_context:.3f}
GB.

(*) is explicitly excluded from the fit: LoRA 32 with gradient checkpointing goes from 9.4 to 13.1 for one more image,
while every other checkpointed row adds 0.8 to 1.6 per image. The table contradicts itself here, so the error is shown
instead of being fitted away.

`table` is `vram_table.csv`: sd-scripts 0.8.3, a machine that it does not name. `H100` is `measured_cells.csv`:
sd-scripts v0.10.1 unmodified, SDXL's shapes with random weights, NVIDIA H100 80GB, driver 580.159.04, torch
2.11.0+cu130, bitsandbytes 0.50.2, 2026-11-26 and 27; presets as shipped, and the table's rows as the table is read
below.

| source | settings | batch | measured | estimated | error | error with the row left out |
| --- | --- | --- | --- | --- | --- | --- |
{cells}

## What the table does not say

It does not name the optimizer or the attention, or say whether text encoders were trained. Each pair was tried, with
all constants fitted again; errors of the table's cells without (*):

| text encoders | optimizer | mean error | largest |
| --- | --- | --- | --- |
{assumptions}

The table is therefore read as: text encoders trained, AdamW8bit, 75 tokens, latents cached, bf16, an attention that
spares memory (xformers and sdpa keep the same), 1024x1024. Read like this, fourteen of its cells were measured again on
the H100, and lie within -6 % and +10 % of it. The shipped presets differ: they train the U-Net alone and cache the text
encoders' outputs, so they need less than the row that they are named after.

## The range

The upper end is what the estimate is with `table_reserved`, times {high:g}, the lower end the estimate times {low:g}:
the worst ratios of measured cells to those ends, each with constants fitted without its row. CUDA's context is added
with its own range. The check uses the upper end. Anything unknown (an optimizer or a network module that is not in the
tables, a state that may be paged out) widens the range further and is named.

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

The VAE's constant comes from one card and from float32. cuDNN chooses its algorithms by the card, and takes one with a
smaller workspace where memory is short, so what peaks while pictures are encoded or decoded may be less elsewhere.

The phases of `--lowram` are counted, and have not been measured: the file's tensors are on the GPU beside those that
are made from them. The upper end has 4 GB for it. Samples count at the training's resolution, whatever the prompts ask
for.

`--fast` has a peak of its own, which is not estimated: on the H100, for LoRA 32, it reserved 7 to 18 % less than the
plain run without gradient checkpointing, and from 7 % more to 4 % less with it (docs/speed.md); CUDA's context grew by
0.1 GB. A fast run is checked against a measured fast run of the same settings, otherwise against 7 % more than the
plain run needs.

Several GPUs: each takes what one alone does, and buckets as large as all gradients, which DistributedDataParallel makes
at the start (torch, `reducer.cpp`), for a network too, though sd-scripts averages its gradients by itself. They are
counted, and have not been measured. NCCL's own buffers are not counted. Runs on several GPUs are not recorded as
measurements.

## Samples that are drawn by default

The side in pixels of a square sample, by preset and card, at batch 1 and with {headroom} GB taken by a desktop: the
largest of 1024, 768 and 512 with which the whole run fits.

{cards}
{samples}

## Your own measurements

The check before a run uses the best of three sources, and says which: a run with the same settings measured on this
machine; otherwise one measured on any card, with that card's CUDA context exchanged for this one's
(`measured_cells.csv` before `vram_table.csv`); otherwise the estimate. The suggestions after a refusal use the same
sources, and so does `sdxl-train plan` for this machine's GPU. With `--data` it looks for runs with pictures as large as
these, otherwise for full batches of the largest pictures that the resolution allows.

Each real run that succeeds adds one line to `measurements.jsonl` in the home folder: the settings that affect memory
(all options except those known to be harmless; paths are left out), the size and number of pictures in its fullest
batch, the peak GPU memory of the trainer's processes, seconds per step, GPU, driver, torch, sd-scripts and date. The
memory is read from the driver. If it does not report memory per process (Windows, containers), the peak is the increase
since the start. A record applies to a run with the same settings, the same GPU name, the same number of pictures at
once, and pictures of the same size or up to a tenth smaller.

- `sdxl-train fit --preset X --model M --data D` measures right away: a few real steps on the largest bucket of your
  pictures, with growing batches, with and without gradient checkpointing. Without a GPU it shows the RAM of a
  scaled-down model instead, which says nothing about GPU memory.
- `sdxl-train vram --mine` shows the records along with the table, each with its estimate; with `--json` the output is
  an object with `table` and `mine`.
- `sdxl-train vram --export FILE` writes them as CSV. `--merge FILE` adds another person's records and checks every row;
  they count for GPUs with the same name if you have no record of your own.

`python scripts/measure_gpu.py` measures cells on the GPU that is there, with SDXL's real shapes and random weights: the
peaks while models are loaded and caches made, until the first backward pass, and after it.
"""

if __name__ == "__main__":
    sys.exit(main())
