"""GPU memory of a run: from the measured table if it covers exactly these settings, otherwise estimated."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from sdxl_train_cli.errors import Problem, VramError, WayOut
from sdxl_train_cli.gpu import Gpu
from sdxl_train_cli.memory import estimation
from sdxl_train_cli.recipe import Kind, Recipe
from sdxl_train_cli.sdscripts import optimizer
from sdxl_train_cli.sdscripts.attention import chosen_attention

TABLE = Path(__file__).with_name("vram_table.csv")
RESOLUTION = 1024
"""Side of the square that the table was measured at, in pixels."""
BATCH_SIZES = (1, 2, 3, 4, 8)
"""The table's columns."""
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
        recipe.kind is not Kind.DREAMBOOTH and not recipe.is_on("network_train_unet_only")
    )
    cached = recipe.is_on("cache_text_encoder_outputs") or recipe.is_on("cache_text_encoder_outputs_to_disk")
    return trains_text and not cached and not _takes_more(recipe)


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
        figure = f"{self.high_gib:.4g}" if self.measured else f"{self.low_gib:.1f} to {self.high_gib:.1f}"
        return f"{figure} GB ({self.source})"


Known = Callable[[Recipe], MemoryNeed | None]
"""Returns the measured need of exactly these settings on this GPU model, if any. It takes precedence."""


def unmeasured(_recipe: Recipe) -> None:
    """No run was measured."""


def need(recipe: Recipe, known: Known = unmeasured) -> MemoryNeed:
    """Memory of a typed recipe. RecipeError if its values are out of range."""
    record = known(recipe)
    if record is not None:
        return record
    gib = measured_gib(recipe)
    return _estimated(recipe) if gib is None else MemoryNeed(gib, gib, measured=True)


def heaviest(recipes: Sequence[Recipe], known: Known = unmeasured) -> Recipe:
    """The one that takes the most memory, of a recipe as each of its datasets trains with it."""
    return recipes[0] if len(recipes) == 1 else max(recipes, key=lambda recipe: need(recipe, known).high_gib)


def _estimated(recipe: Recipe) -> MemoryNeed:
    estimate = estimation.estimate(recipe)
    return MemoryNeed(estimate.low_gib, estimate.high_gib, measured=False, doubts=estimate.doubts, source="an estimate")


def cell(row: TableRow, batch_size: int) -> MemoryNeed:
    """A cell of the table: measured, or estimated for the row's settings."""
    gib = row.measured_gib.get(batch_size)
    return _estimated(estimation.table_recipe(row, batch_size)) if gib is None else MemoryNeed(gib, gib, measured=True)


def require(
    recipe: Recipe, device: Gpu | None, ways_out: Callable[[], Sequence[WayOut]], known: Known = unmeasured
) -> str:
    """Compare the need with the GPU's free memory. VramError if it is too little, with ways out as flags.

    `ways_out` is only called in that case. Returns the comparison in words.
    """
    if device is None:
        raise VramError(
            "no NVIDIA GPU was found, and on a processor SDXL trains for weeks",
            "check `nvidia-smi`; to see everything work without a GPU: `sdxl-train smoke`",
        )
    needed = need(recipe, known)
    doubts = "".join(f"; {doubt}" for doubt in needed.doubts)
    if needed.high_gib > device.free_gib:
        message = (
            f"{recipe.kind.label} {recipe.name} needs {needed}{doubts}; {device.name} has "
            f"{device.free_gib:.1f} GB free of {device.total_gib:.1f}"
        )
        ways = tuple(ways_out())
        anyway = f"{'or ' if ways else ''}try anyway: --no-vram-check"
        raise VramError(Problem(message, anyway, ways=ways))
    tight = ", a tight fit" if device.free_gib - needed.high_gib < TIGHT_GIB else ""
    return f"needs {needed}{doubts}; {device.name} has {device.free_gib:.1f} GB free{tight}"
