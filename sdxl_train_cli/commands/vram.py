"""`sdxl-train vram` and `sdxl-train plan`: memory of runs, and what to run on a GPU."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from sdxl_train_cli.commands import gpu_choice, measured, values, workspace
from sdxl_train_cli.commands.gpu_choice import GpuIndex, GpuMemory, Headroom
from sdxl_train_cli.commands.workspace import HomeOption, KindFilter
from sdxl_train_cli.environment import environment, required_packages
from sdxl_train_cli.errors import Problem, VramError
from sdxl_train_cli.gpu import Gpu
from sdxl_train_cli.layout import Home
from sdxl_train_cli.memory import planning
from sdxl_train_cli.memory.measurements import MeasuredRuns, Measurement
from sdxl_train_cli.memory.planning import FittingRun, PlanRequest
from sdxl_train_cli.memory.requirement import BATCH_SIZES, MemoryNeed, TableRow, cell, rows
from sdxl_train_cli.recipe import Kind, Recipe
from sdxl_train_cli.recipes import preset_folders
from sdxl_train_cli.run import recipe_checks
from sdxl_train_cli.sdscripts import lycoris
from sdxl_train_cli.ui import console

Json = Annotated[bool, typer.Option("--json", help="Print JSON")]
Csv = Annotated[bool, typer.Option("--csv", help="Print CSV")]
Data = Annotated[
    str | None, typer.Option("--data", "-d", metavar="FOLDER", help="Your pictures, for the commands that are shown")
]
Resolution = Annotated[int | None, values.side("Side of the square in pixels, such as 1024")]

Mine = Annotated[bool, typer.Option("--mine", help="Show the runs that were measured here too")]
Export = Annotated[
    Path | None,
    typer.Option(
        "--export", metavar="FILE", allow_dash=True, help="Write the measured runs as CSV, to share; - prints it"
    ),
]
Merge = Annotated[
    Path | None, typer.Option("--merge", metavar="FILE", help="Add another person's CSV of measured runs")
]


def vram(
    gpu: GpuIndex = None, gpu_memory: GpuMemory = None, headroom: Headroom = None, as_json: Json = False,
    as_csv: Csv = False, mine: Mine = False, export: Export = None, merge: Merge = None, home: HomeOption = None,
) -> None:  # fmt: skip
    """Show the GPU memory that settings need: measured, estimated."""
    if merge is not None or export is not None:
        measured.exchange(workspace.home(home), merge, export)
        return
    card = gpu_choice.find("vram", gpu, gpu_memory, headroom)
    records = measured.records(workspace.home(home)) if mine else None
    if as_json:
        _print_json(records)
    elif as_csv:
        _print_csv()
    else:
        _show_table(card)
        if records is not None:
            measured.show(records)


def _print_json(records: list[Measurement] | None) -> None:
    table = [{**_settings(row), "cells": {size: _facts(cell(row, size)) for size in BATCH_SIZES}} for row in rows()]
    found: object = table
    if records is not None:
        found = {"table": table, "mine": measured.facts(records)}
    console.data(found)


def _print_csv() -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["settings", "batch_size", "low_gib", "high_gib", "source"])
    for row, size in ((row, size) for row in rows() for size in BATCH_SIZES):
        need = cell(row, size)
        writer.writerow([row.title, size, need.low_gib, need.high_gib, "measured" if need.measured else "estimated"])
    console.document(text.getvalue().rstrip("\n"))


def _show_table(card: Gpu | None) -> None:
    needs = [[cell(row, size) for size in BATCH_SIZES] for row in rows()]
    free_gib = math.inf if card is None else card.free_gib
    over = {(at, 1 + column) for at, row in enumerate(needs) for column, need in enumerate(row)
            if need.high_gib > free_gib}  # fmt: skip
    console.table(
        ("settings", *(f"batch {size}, GB" for size in BATCH_SIZES)),
        [[row.title, *(_shown(need, free_gib) for need in cells)] for row, cells in zip(rows(), needs, strict=True)],
        faint=over,
    )
    console.note(
        "a single figure was measured, a range is estimated (docs/vram.md); 1024x1024, the Python process alone,"
    )
    console.note(
        "text encoders trained, AdamW8bit. The presets leave the text encoders out and need less: `sdxl-train plan`"
    )
    console.note("a GB here is 2^30 bytes: the MiB of nvidia-smi divided by 1024")
    if card is not None:
        told = "in parentheses: more than" if over else "everything fits into"
        console.note(f"{told} the {card.free_gib:.1f} GB free on {card.name}")


def plan(
    gpu: GpuIndex = None, gpu_memory: GpuMemory = None, headroom: Headroom = None, kind: KindFilter = None,
    data: Data = None, resolution: Resolution = None, as_json: Json = False, home: HomeOption = None,
) -> None:  # fmt: skip
    """Suggest what to train on this GPU, with the command to type."""
    chosen = list(Kind) if kind is None else [workspace.kind(kind)]
    card = gpu_choice.find("plan", gpu, gpu_memory, headroom)
    if card is None:
        raise VramError("no NVIDIA GPU was found to plan for", "name its size in GB: sdxl-train plan --gpu-memory 8")
    free_gib = card.free_gib
    runs = None if gpu_memory is not None else measured.runs(workspace.home(home), card, data)
    questions = [_question(one, free_gib, resolution, data, runs) for one in chosen]
    offers = [offer for question in questions for offer in planning.fitting_runs(question, workspace.user_presets())]
    table = environment.option_table(workspace.home(home))
    odd = [recipe_checks.warnings(offer.recipe, table, card) for offer in offers]
    if not offers:
        raise _too_small(chosen, planning.PlanRequest(chosen[0], free_gib, resolution, data))
    if as_json:
        console.data([_offer(offer, warnings) for offer, warnings in zip(offers, odd, strict=True)])
        return
    console.note(f"recommended for the {free_gib:.1f} GB free on {card.name}:")
    for place, (offer, warnings) in enumerate(zip(offers, odd, strict=True)):
        if place == 1:
            console.note("or, with more compromises:")
        console.out(offer.command)
        own = "" if preset_folders.find_by_name(offer.recipe.kind, offer.preset, None) else "your own preset; "
        console.note(f"    {own}needs {offer.need}; gives up {', '.join(offer.gives_up) or 'nothing'}{_pace(offer)}")
        for problem in warnings:
            console.warn(problem)
    _note_missing_extras(offers, workspace.home(home))


def _question(
    kind: Kind, free_gib: float, resolution: int | None, data: str | None, runs: MeasuredRuns | None
) -> PlanRequest:
    if runs is None:
        return PlanRequest(kind, free_gib, resolution, data)

    def pace(recipe: Recipe, fast: bool) -> float | None:
        return runs.pictures_per_second(recipe, fast=fast)

    return PlanRequest(kind, free_gib, resolution, data, runs.need, pace)


def _pace(offer: FittingRun) -> str:
    pace = offer.pictures_per_second
    return "" if pace is None else f"; trained {pace:.2f} pictures a second on this GPU"


def _note_missing_extras(offers: list[FittingRun], home: Home) -> None:
    """Say what must be installed first for some of the runs. Silent before setup."""
    installed = environment.find(home)
    if installed is None:
        return
    recipes = [lycoris.resolve(offer.recipe, installed.networks) for offer in offers]
    kinds = sorted(
        {recipe.kind.label for recipe in recipes if not all(map(installed.has, required_packages.extras(recipe)))}
    )
    needed = {extra for recipe in recipes for extra in required_packages.extras(recipe)}
    problem = required_packages.missing_problem(installed, sorted(needed), f"plan's {' or '.join(kinds)}")
    if problem is not None:
        console.warn(problem)


def _too_small(chosen: list[Kind], question: PlanRequest) -> VramError:
    """The error if nothing fits. It names the first run of another kind that does."""
    others = [replace(question, kind=one) for one in Kind if one not in chosen]
    fits = next((one.kind for one in others if planning.fitting_runs(one, workspace.user_presets())), None)
    what = "nothing" if others == [] else f"no {question.kind.label}"
    hint = f"a {fits.label} does: --kind {fits.value}" if fits else "the smallest runs need about 5 GB"
    return VramError(f"{what} fits into {question.free_gib:.1f} GB", hint)


def _settings(row: TableRow) -> dict[str, object]:
    return {
        "kind": row.kind.value,
        "network_dim": row.network_dim,
        "conv_dim": row.conv_dim,
        "full_bf16": row.full_bf16,
        "fp8_base": row.fp8_base,
        "gradient_checkpointing": row.gradient_checkpointing,
    }


def _facts(need: MemoryNeed) -> dict[str, object]:
    source = "measured" if need.measured else "estimated"
    if need.low_gib == need.high_gib:
        return {"source": source, "gib": need.high_gib}
    return {"source": source, "low_gib": round(need.low_gib, 2), "high_gib": round(need.high_gib, 2)}


def _offer(offer: FittingRun, warnings: list[Problem]) -> dict[str, object]:
    return {
        "kind": offer.recipe.kind.value,
        "preset": offer.preset,
        "batch_size": offer.batch_size,
        "effective_batch_size": offer.effective_batch_size,
        "need": {**_facts(offer.need), "by": offer.need.source},
        "gives_up": list(offer.gives_up),
        "pictures_per_second": None if offer.pictures_per_second is None else round(offer.pictures_per_second, 3),
        "command": offer.command,
        "warnings": [str(problem) for problem in warnings],
    }


def _shown(need: MemoryNeed, free_gib: float) -> str:
    figure = f"{need.high_gib:g}" if need.measured else f"{need.low_gib:.1f}-{need.high_gib:.1f}"
    return f"({figure})" if need.high_gib > free_gib else f"{figure} "
