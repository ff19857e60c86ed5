"""The measured table of GPU memory, and the check of a run against it."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from sdxl_train_cli import optimizer
from sdxl_train_cli.errors import VramError
from sdxl_train_cli.gpu import Gpu
from sdxl_train_cli.recipe import Kind, Recipe, Value

TABLE = Path(__file__).with_name("vram_table.csv")
RESOLUTION = 1024
"""The side of the square that the table was measured at, in pixels."""


@dataclass(frozen=True)
class Row:
    """One line of the table: the settings that it was measured with, and GiB by batch size."""

    kind: Kind
    network_dim: int | None
    conv_dim: int | None
    full_bf16: bool
    fp8_base: bool
    gradient_checkpointing: bool
    measured_gib: Mapping[int, float]

    def fits(self, recipe: Recipe) -> bool:
        """Whether the recipe's settings are this row's."""
        conv_dim = recipe.arguments("network_args").get("conv_dim")
        width, _, height = str(recipe.get("resolution") or "").partition(",")
        return (
            self.kind is recipe.kind
            and self.network_dim == recipe.get("network_dim")
            and str(self.conv_dim or "") == (conv_dim or "")
            and self.full_bf16 == recipe.is_on("full_bf16")
            and self.fp8_base == recipe.is_on("fp8_base")
            and self.gradient_checkpointing == recipe.is_on("gradient_checkpointing")
            and not _takes_more(recipe)
            and {width.strip(), (height or width).strip()} == {str(RESOLUTION)}
        )


def _takes_more(recipe: Recipe) -> bool:
    """Whether it takes clearly more than any row: states of 32 bits, no attention that spares memory, fp32, LyCORIS."""
    module = recipe.get("network_module")
    name = optimizer.optimizer(recipe)
    return (
        not (name.endswith("8bit") or name in {"adafactor", "lion", "pagedlion"})
        or not any(recipe.is_on(attention) for attention in ("sdpa", "xformers", "mem_eff_attn"))
        or recipe.get("mixed_precision") not in {"bf16", "fp16"}
        or module not in {None, "networks.lora"}
    )


@cache
def rows() -> tuple[Row, ...]:
    """The table as it was measured with sd-scripts 0.8.3 on 2024-02-09: the Python process alone."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        lines = csv.DictReader(line for line in file if not line.startswith("#"))
        return tuple(_row(line) for line in lines)


def _row(line: Mapping[str, str]) -> Row:
    return Row(
        kind=Kind(line["kind"]),
        network_dim=int(line["network_dim"]) if line["network_dim"] else None,
        conv_dim=int(line["conv_dim"]) if line["conv_dim"] else None,
        full_bf16=line["full_bf16"] == "true",
        fp8_base=line["fp8_base"] == "true",
        gradient_checkpointing=line["gradient_checkpointing"] == "true",
        measured_gib={int(key[2:]): float(gib) for key, gib in line.items() if key.startswith("bs") and gib},
    )


def row_of(recipe: Recipe) -> Row | None:
    """The row with the recipe's settings, or None where none was measured."""
    return next((row for row in rows() if row.fits(recipe)), None)


def measured_gib(recipe: Recipe) -> float | None:
    """What the table says for this recipe at its batch size, or None where that cell was not measured."""
    row = row_of(recipe)
    batch_size = recipe.get("train_batch_size")
    return row.measured_gib.get(batch_size) if row and isinstance(batch_size, int) else None


def require(recipe: Recipe, device: Gpu | None, presets: Callable[[], Mapping[str, Recipe]]) -> str:
    """Compare the table with what the GPU has free; VramError where it is too little.

    `presets` gives those of the same kind, asked only to name one that would fit. Gives the comparison in words.
    """
    if device is None:
        raise VramError(
            "no NVIDIA GPU was found, and on a processor SDXL trains for weeks",
            "check `nvidia-smi`; to see everything work without one: `sdxl-train smoke`",
        )
    need_gib = measured_gib(recipe)
    if need_gib is None:
        return f"VRAM: not measured for these settings; {device.name} has {device.free_gib:.1f} GiB free"
    if need_gib <= device.free_gib:
        return f"VRAM: needs {need_gib:g} GiB (measured), {device.name} has {device.free_gib:.1f} free"
    raise VramError(
        f"{recipe.kind.label} {recipe.name} needs {need_gib:g} GiB (measured at batch size "
        f"{recipe.get('train_batch_size')}); {device.name} has {device.free_gib:.1f} free of {device.total_gib:.1f}",
        _what_fits(device, presets(), recipe.get("train_batch_size")),
    )


def _what_fits(device: Gpu, presets: Mapping[str, Recipe], batch_size: Value | None) -> str:
    """Name the preset that gives up least: the one that needs most of what is free."""
    needs = {name: measured_gib(recipe) for name, recipe in presets.items()}
    fitting = {name: gib for name, gib in needs.items() if gib is not None and gib <= device.free_gib}
    if fitting:
        best = max(fitting, key=lambda name: fitting[name])
        own_size = presets[best].get("train_batch_size")
        smaller = "" if own_size == batch_size else f" --batch-size {own_size}"
        return f"--preset {best}{smaller} needs {fitting[best]:g}; --no-vram-check tries anyway"
    least = min((gib for gib in needs.values() if gib is not None), default=0.0)
    return f"the smallest of these presets needs {least:g} GiB: close programs that use the GPU, or take a larger one"
