"""What `sdxl-train inspect` prints of a model file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sdxl_train_cli import formatting
from sdxl_train_cli.inspection import verdict
from sdxl_train_cli.inspection.verdict import ExaminedFile, ResultFinding
from sdxl_train_cli.run.inspecting import Inspected
from sdxl_train_cli.ui import console


def show(path: Path, inspected: Inspected) -> None:
    """Print it for a person."""
    examined, findings = inspected.examined, inspected.findings
    console.table(("file", path.name), _rows(path, examined, findings))
    blocks = list(_blocks(examined))
    if blocks:
        console.out("")
        console.table(("block", "modules", "unchanged", "norm", "largest"), blocks)
    for finding in findings:
        console.warn(finding.problem)
    if inspected.not_examined is not None:
        console.note(f"only the header was looked at: {inspected.not_examined}")
    elif examined.model.is_checkpoint and examined.weights and examined.weights.against is None:
        console.note("what it has learned shows beside its base: --base FILE")


def show_json(path: Path, inspected: Inspected) -> None:
    """Print it for a script."""
    console.data(_facts(path, inspected))


def _rows(path: Path, examined: ExaminedFile, findings: tuple[ResultFinding, ...]) -> list[tuple[str, str]]:
    model = examined.model
    ranks = ", ".join(map(str, model.ranks))
    steps = "" if model.steps is None else formatting.counted(model.steps, "step")
    rows = [
        ("size", formatting.size(path.stat().st_size)),
        ("kind", model.what),
        ("base", model.family or ""),
        ("prediction", _prediction(examined)),
        ("rank", ranks),
        ("vectors", "" if model.vectors is None else str(model.vectors)),
        ("alpha", "" if model.alpha is None else f"{model.alpha:g}"),
        ("trained", steps),
        ("types", ", ".join(model.dtypes)),
        ("names", ", ".join(model.dialects)),
        ("found", verdict.summary(examined, findings)),
        *((reading.program, verdict.obstacle_words(reading)) for reading in examined.readings),
    ]
    return [(name, text) for name, text in rows if text]


def _prediction(examined: ExaminedFile) -> str:
    model = examined.model
    if model.prediction is not None:
        return f"{model.prediction}, by its tensors"
    return f"{model.said_prediction}, by its metadata" if model.said_prediction else ""


def _blocks(examined: ExaminedFile) -> Iterator[tuple[str, ...]]:
    for block in examined.weights.blocks if examined.weights else ():
        name = f"{block.label} {block.block}".strip()
        yield name, str(block.modules), str(block.idle), _norm(block.norm), _norm(block.largest)


def _norm(norm: float | None) -> str:
    return "-" if norm is None else f"{norm:.3g}"


def _facts(path: Path, inspected: Inspected) -> dict[str, object]:
    examined = inspected.examined
    model, weights = examined.model, examined.weights
    return {
        "path": str(path),
        "bytes": path.stat().st_size,
        "kind": model.what,
        "base": model.family,
        "prediction": model.prediction or model.said_prediction,
        "ranks": list(model.ranks),
        "vectors": model.vectors,
        "alpha": model.alpha,
        "steps": model.steps,
        "dtypes": list(model.dtypes),
        "dialects": list(model.dialects),
        "summary": verdict.summary(examined, inspected.findings),
        "programs": [
            {"program": one.program, "reads": one.obstacle is None, "unread": one.unread, "total": one.total}
            for one in examined.readings
        ],
        "findings": [
            {
                "trouble": finding.trouble.value,
                "fatal": finding.is_fatal,
                "message": finding.problem.message,
                "hint": finding.problem.hint,
            }
            for finding in inspected.findings
        ],
        "weights": weights.model_dump(mode="json") if weights else None,
        "not_examined": inspected.not_examined,
    }
