"""GPU memory of a run: measured with exactly these settings, on whatever GPU, or else estimated.

What was measured on another GPU has that machine's CUDA context exchanged for this one's.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from sdxl_train_cli import language
from sdxl_train_cli.errors import Problem, VramError, WayOut
from sdxl_train_cli.gpu import Gpu
from sdxl_train_cli.memory import cuda_context, estimation, fitted_constants, measured_cells, memory_settings
from sdxl_train_cli.memory.cuda_context import CudaContext
from sdxl_train_cli.memory.measured_cells import MeasuredCell
from sdxl_train_cli.recipe import Kind, Recipe
from sdxl_train_cli.sdscripts import optimizer
from sdxl_train_cli.sdscripts.attention import chosen_attention

TABLE = Path(__file__).with_name("vram_table.csv")
RESOLUTION = 1024
"""Side of the square that the table was measured at, in pixels."""
BATCH_SIZES = (1, 2, 3, 4, 8)
"""The table's columns."""
_NCCL = "NCCL's own buffers are not counted"
TIGHT_GIB = 0.3
"""Headroom below which a fit is called tight: another browser tab takes as much."""


@dataclass(frozen=True)
class TableRow:
    """One row of the table: the measured settings, and GiB by batch size."""

    kind: Kind
    network_dim: int | None
    conv_dim: int | None
    full_bf16: bool
    fp8_base: bool
    gradient_checkpointing: bool
    measured_gib: Mapping[int, float]

    def __hash__(self) -> int:
        return hash(self.title)

    @property
    def title(self) -> str:
        """The row in words."""
        dims = "" if self.network_dim is None else f" {self.network_dim}"
        conv = "" if self.conv_dim is None else f"+{self.conv_dim}"
        switches = {"full bf16": self.full_bf16, "fp8 base": self.fp8_base, "gc": self.gradient_checkpointing}
        return ", ".join([f"{self.kind.label}{dims}{conv}", *(name for name, on in switches.items() if on)])

    def is_like(self, recipe: Recipe) -> bool:
        """Whether the options that the table names are equal. Others may differ."""
        conv_dim = recipe.arguments("network_args").get("conv_dim")
        width, _, height = str(recipe.get("resolution") or "").partition(",")
        return (
            self.kind is recipe.kind
            and self.network_dim == recipe.get("network_dim")
            and str(self.conv_dim or "") == (conv_dim or "")
            and self.full_bf16 == recipe.is_on("full_bf16")
            and self.fp8_base == recipe.is_on("fp8_base")
            and self.gradient_checkpointing == recipe.is_on("gradient_checkpointing")
            and {width.strip(), (height or width).strip()} == {str(RESOLUTION)}
        )


def _is_as_measured(recipe: Recipe) -> bool:
    """Whether unlisted settings are as docs/vram.md found them to be: text encoders trained."""
    trains_text = recipe.is_on("train_text_encoder") or (
        recipe.kind.is_network and not recipe.is_on("network_train_unet_only")
    )
    cached = recipe.is_on("cache_text_encoder_outputs") or recipe.is_on("cache_text_encoder_outputs_to_disk")
    draws = memory_settings.without_samples(recipe) is not None
    return trains_text and not cached and not draws and not _takes_more(recipe)


def _takes_more(recipe: Recipe) -> bool:
    """Whether it takes clearly more than any row: 32-bit states, plain attention, fp32, LyCORIS."""
    module = recipe.get("network_module")
    name = optimizer.optimizer(recipe)
    return (
        not (name.endswith("8bit") or name in {"adafactor", "lion", "pagedlion"})
        or chosen_attention(recipe) is None
        or recipe.get("mixed_precision") not in {"bf16", "fp16"}
        or module not in {None, "networks.lora"}
    )


@cache
def rows() -> tuple[TableRow, ...]:
    """The table as measured with sd-scripts 0.8.3 on 2024-02-09, Python process only."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        lines = csv.DictReader(line for line in file if not line.startswith("#"))
        return tuple(_row(line) for line in lines)


def _row(line: Mapping[str, str]) -> TableRow:
    return TableRow(
        kind=Kind(line["kind"]),
        network_dim=int(line["network_dim"]) if line["network_dim"] else None,
        conv_dim=int(line["conv_dim"]) if line["conv_dim"] else None,
        full_bf16=line["full_bf16"] == "true",
        fp8_base=line["fp8_base"] == "true",
        gradient_checkpointing=line["gradient_checkpointing"] == "true",
        measured_gib={int(key[2:]): float(gib) for key, gib in line.items() if key.startswith("bs") and gib},
    )


def row_of(recipe: Recipe) -> TableRow | None:
    """The row with the recipe's options, as far as the table names them."""
    return next((row for row in rows() if row.is_like(recipe)), None)


def measured_gib(recipe: Recipe) -> float | None:
    """The table's value for exactly these settings and batch size. None if not measured."""
    row = row_of(recipe)
    batch_size = recipe.get("train_batch_size")
    if row is None or not isinstance(batch_size, int) or not _is_as_measured(recipe):
        return None
    return row.measured_gib.get(batch_size)


@dataclass(frozen=True)
class MemoryNeed:
    """Memory of a run, Python process only, and how it is known."""

    low_gib: float
    high_gib: float
    """The value that a check uses."""
    measured: bool
    doubts: tuple[str, ...] = ()
    """Reasons for an estimate's range wider than the measurements'."""
    source: str = "the measured table"
    """Where the value comes from: a measured run, the table, or an estimate."""

    def __str__(self) -> str:
        return f"{self.figure} GB ({self.source})"

    @property
    def figure(self) -> str:
        """GiB: one figure, or a range."""
        is_one = self.low_gib == self.high_gib
        return f"{self.high_gib:.4g}" if is_one else f"{self.low_gib:.1f} to {self.high_gib:.1f}"


Known = Callable[[Recipe], MemoryNeed | None]
"""Returns what a run needs on a certain GPU. None if nothing is known of that GPU."""


def unmeasured(_recipe: Recipe) -> None:
    """Nothing is known of the GPU."""


def need(recipe: Recipe, known: Known = unmeasured) -> MemoryNeed:
    """Memory of a typed recipe on each of its GPUs. RecipeError if its values are out of range."""
    alone = known(recipe) or of_any_gpu(recipe, cuda_context.expected())
    return alone if recipe.processes == 1 else _with_buckets(alone, estimation.buckets_gib(recipe))


def _with_buckets(alone: MemoryNeed, gib: float) -> MemoryNeed:
    low, high = (round(each + gib, 2) for each in (alone.low_gib, alone.high_gib))
    source = f"{alone.source}, and {gib:.1f} GB of gradient buckets for several GPUs"
    return MemoryNeed(low, high, measured=False, doubts=(*alone.doubts, _NCCL), source=source)


def of_any_gpu(recipe: Recipe, context: CudaContext) -> MemoryNeed:
    """What it takes where CUDA's context is this: measured on a known GPU, in the table, or estimated."""
    known = _measured(recipe, context)
    if known is not None:
        return known
    bare = memory_settings.without_samples(recipe)
    without = None if bare is None else _measured(bare, context)
    return _estimated(recipe, context) if without is None else with_samples(without, recipe, context)


def with_samples(without: MemoryNeed, recipe: Recipe, context: CudaContext) -> MemoryNeed:
    """What a run needs that was measured without its samples."""
    low, high = estimation.drawing_gib(recipe, context)
    if high <= without.high_gib:
        return without
    low, source = max(low, without.low_gib), "an estimate, highest while drawing samples"
    return MemoryNeed(low, high, measured=False, doubts=without.doubts, source=source)


def _measured(recipe: Recipe, context: CudaContext) -> MemoryNeed | None:
    """From a known GPU or the table."""
    measured = measured_cells.like(recipe, fast=False)
    if measured is not None:
        return of_cell(measured, context)
    gib = measured_gib(recipe)
    if gib is None:
        return None
    constants, _ = fitted_constants.load()
    return _exchanged(gib - constants.table_context_gib, context, "the measured table")


def heaviest(recipes: Sequence[Recipe], known: Known = unmeasured) -> Recipe:
    """The one that takes the most memory, of a recipe as each of its datasets trains with it."""
    return recipes[0] if len(recipes) == 1 else max(recipes, key=lambda recipe: need(recipe, known).high_gib)


def of_cell(measured: MeasuredCell, context: CudaContext) -> MemoryNeed:
    """A measured run's need where CUDA's context is this."""
    beside_context = measured.reserved_gib + measured.beyond_plain_gib
    return _exchanged(beside_context, context, f"measured on an {measured.gpu} on {measured.measured}")


def _exchanged(reserved_gib: float, context: CudaContext, source: str) -> MemoryNeed:
    low, high = (round(reserved_gib + gib, 2) for gib in (context.low_gib, context.high_gib))
    return MemoryNeed(low, high, measured=True, source=source)


def _estimated(recipe: Recipe, context: CudaContext) -> MemoryNeed:
    """An estimate; its upper end is no higher than what a larger network or batch was measured to take."""
    found = estimation.estimate(recipe, context)
    source = "an estimate" if found.phase == estimation.TRAINING else f"an estimate, highest while {found.phase}"
    low, high = found.low_gib, found.high_gib
    larger = measured_cells.larger(recipe)
    if larger is not None and of_cell(larger, context).high_gib < high:
        most = of_cell(larger, context)
        low, high, source = min(low, most.low_gib), most.high_gib, f"{source}, at most what a larger run took"
    return MemoryNeed(low, high, measured=False, doubts=found.doubts, source=source)


def cell(row: TableRow, batch_size: int) -> MemoryNeed:
    """A cell of the table: measured, or estimated for the row's settings."""
    gib = row.measured_gib.get(batch_size)
    if gib is not None:
        return MemoryNeed(gib, gib, measured=True)
    return _estimated(estimation.table_recipe(row, batch_size), cuda_context.expected())


def require(
    recipe: Recipe, device: Gpu | None, ways_out: Callable[[], Sequence[WayOut]], known: Known = unmeasured
) -> str:
    """Compare the need with the GPU's free memory. VramError if it is too little, with ways out as flags.

    `ways_out` is only called in that case. Returns the comparison in words.
    """
    if device is None:
        raise VramError(
            language.problem(
                "no-gpu",
                "no NVIDIA GPU was found, and on a processor SDXL trains for weeks",
                "check `nvidia-smi`; without one: --dry-run --gpu-memory 8, or `sdxl-train smoke`, which really trains",
            )
        )
    needed = need(recipe, known)
    doubts = "".join(f"; {doubt}" for doubt in needed.doubts)
    if needed.high_gib > device.free_gib:
        raise VramError(_too_little(recipe, device, needed, doubts, tuple(ways_out())))
    is_tight = device.free_gib - needed.high_gib < TIGHT_GIB
    tight = language.said("plan", "tight", ", a tight fit") if is_tight else ""
    facts = {"low": needed.low_gib, "high": needed.high_gib, "free": device.free_gib, "device": device.name}
    english = "needs {needed}{doubts}; {device} has {free:.1f} GB free{tight}"
    return language.said("plan", "fits", english, needed=needed, doubts=doubts, tight=tight, **facts)


def _too_little(recipe: Recipe, device: Gpu, needed: MemoryNeed, doubts: str, ways: tuple[WayOut, ...]) -> Problem:
    told = language.problem(
        "too-little-memory",
        "{kind} {name} needs {needed}; {device} has {free:.1f} GB free of {total:.1f}",
        "or try anyway: --no-vram-check" if ways else "try anyway: --no-vram-check",
        kind=recipe.kind.label,
        name=recipe.name,
        needed=f"{needed}{doubts}",
        low=needed.low_gib,
        high=needed.high_gib,
        device=device.name,
        free=device.free_gib,
        total=device.total_gib,
    )
    return replace(told, ways=ways)
