"""`sdxl-train vram` and `sdxl-train plan`: what runs need, and what to run on a card."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from sdxl_train_cli.commands import place

if TYPE_CHECKING:
    from sdxl_train_cli.planning import Offer
    from sdxl_train_cli.vram import Need, Row

GpuSize = Annotated[float | None, typer.Option("--gpu", help="Size of the GPU in GB [default: the real one]")]
Headroom = Annotated[
    float | None, typer.Option("--headroom", min=0, help="GB that others take [default: by the system]")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON")]
Csv = Annotated[bool, typer.Option("--csv", help="Print CSV")]
KindFilter = Annotated[str | None, typer.Option("--kind", "-k", help="lora, locon or dreambooth")]
Data = Annotated[str | None, typer.Option("--data", "-d", help="Your pictures, for the commands that are shown")]
Resolution = Annotated[int | None, typer.Option("--resolution", min=64, help="Pixels: side of the square")]


def vram(gpu: GpuSize = None, headroom: Headroom = None, as_json: Json = False, as_csv: Csv = False) -> None:
    """GPU memory by settings: measured and estimated."""
    import csv
    import json

    from sdxl_train_cli import console
    from sdxl_train_cli.vram import BATCH_SIZES, cell, rows

    free_gib = _free_gib(gpu, headroom)
    cells = {(row, size): cell(row, size) for row in rows() for size in BATCH_SIZES}
    if as_json:
        found = [
            {**_settings(row), "cells": {size: _facts(cells[row, size]) for size in BATCH_SIZES}} for row in rows()
        ]
        console.out(json.dumps(found, indent=1))
        return
    if as_csv:
        writer = csv.writer(sys.stdout)
        writer.writerow(["settings", "batch_size", "low_gib", "high_gib", "source"])
        writer.writerows(
            [row.title, size, need.low_gib, need.high_gib, "measured" if need.measured else "estimated"]
            for (row, size), need in cells.items()
        )
        return
    console.table(
        ("settings", *(f"batch {size}, GB" for size in BATCH_SIZES)),
        [[row.title, *(_shown(cells[row, size], free_gib) for size in BATCH_SIZES)] for row in rows()],
    )
    console.note(
        "a figure alone was measured, a range is estimated (docs/vram.md); 1024x1024, the Python process alone,"
    )
    console.note(
        "text encoders trained, AdamW8bit. The presets leave the text encoders out and need less: `sdxl-train plan`"
    )
    if free_gib is not None:
        console.note(f"- : more than the {free_gib:.1f} GB that are free")


def plan(
    gpu: GpuSize = None, headroom: Headroom = None, kind: KindFilter = None, data: Data = None,
    resolution: Resolution = None, as_json: Json = False,
) -> None:  # fmt: skip
    """What to train on this GPU, and the command for it."""
    import json

    from sdxl_train_cli import console, planning
    from sdxl_train_cli.errors import UsageError, VramError
    from sdxl_train_cli.recipe import Kind

    free_gib = _free_gib(gpu, headroom)
    if free_gib is None:
        raise VramError("no NVIDIA GPU was found to plan for", "name its size in GB: sdxl-train plan --gpu 8")
    kinds = {one.value: one for one in Kind}
    if kind is not None and kind not in kinds:
        raise UsageError(f"no kind '{kind}'", f"one of: {', '.join(kinds)}")
    chosen = list(Kind) if kind is None else [kinds[kind]]
    questions = [planning.Question(one, free_gib, resolution, data) for one in chosen]
    offers = [offer for question in questions for offer in planning.offers(question, place.user_presets())]
    if as_json:
        console.out(json.dumps([_offer(offer) for offer in offers], indent=1, ensure_ascii=False))
        return
    if not offers:
        raise VramError(f"nothing fits into {free_gib:.1f} GB", "the smallest runs need about 5 GB")
    console.note(f"for {free_gib:.1f} GB of free GPU memory, what gives up least first:")
    for offer in offers:
        console.out(offer.command)
        console.note(f"    needs {offer.need}; gives up {', '.join(offer.gives_up) or 'nothing'}")


def _free_gib(size: float | None, headroom: float | None) -> float | None:
    """What a run could take: of an imagined GPU, or of the freest real one."""
    from sdxl_train_cli import gpu

    usual = gpu.usual_headroom_gib() if headroom is None else headroom
    if size is not None:
        return gpu.imagined(size, usual).free_gib
    free_gib = max((device.free_gib for device in gpu.devices()), default=None)
    return None if free_gib is None else free_gib - (headroom or 0)


def _settings(row: Row) -> dict[str, object]:
    return {
        "kind": row.kind.value,
        "network_dim": row.network_dim,
        "conv_dim": row.conv_dim,
        "full_bf16": row.full_bf16,
        "fp8_base": row.fp8_base,
        "gradient_checkpointing": row.gradient_checkpointing,
    }


def _facts(need: Need) -> dict[str, object]:
    if need.measured:
        return {"source": "measured", "gib": need.high_gib}
    return {"source": "estimated", "low_gib": round(need.low_gib, 2), "high_gib": round(need.high_gib, 2)}


def _offer(offer: Offer) -> dict[str, object]:
    return {
        "kind": offer.recipe.kind.value,
        "preset": offer.preset,
        "batch_size": offer.batch_size,
        "effective_batch_size": offer.effective_batch_size,
        "need": _facts(offer.need),
        "gives_up": list(offer.gives_up),
        "command": offer.command,
    }


def _shown(need: Need, free_gib: float | None) -> str:
    figure = f"{need.high_gib:g}" if need.measured else f"{need.low_gib:.1f}-{need.high_gib:.1f}"
    return f"- {figure}" if free_gib is not None and need.high_gib > free_gib else figure
