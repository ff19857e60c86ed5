"""Measured runs in `sdxl-train vram --mine`, `--export` and `--merge`."""

from __future__ import annotations

from pathlib import Path

from sdxl_train_cli.dataset import folders, sources
from sdxl_train_cli.environment import environment
from sdxl_train_cli.errors import DatasetError, Problem, RecipeError, UsageError
from sdxl_train_cli.gpu import Gpu
from sdxl_train_cli.layout import Home
from sdxl_train_cli.memory import cuda_context, estimation, measurements, shared_measurements
from sdxl_train_cli.memory.measurements import MeasuredRuns, Measurement
from sdxl_train_cli.ui import console


def show(records: list[Measurement]) -> None:
    """Print them as a table, each beside its estimate."""
    if not records:
        console.note(
            "no run has been measured here yet: every real run on a GPU is measured, and "
            "`sdxl-train fit` measures right away"
        )
        return
    console.out("")
    console.out("measured runs")
    console.table(
        ("settings", "batch", "measured, GB", "estimated, GB", "error", "s a step", "pictures", "GPU", "date"),
        [_record_row(record) for record in sorted(records, key=lambda record: (record.words, record.batch_size))],
    )


def _record_row(record: Measurement) -> tuple[str, ...]:
    estimate = _estimated(record)
    low, high, error = (estimate[key] for key in ("low_gib", "high_gib", "error_percent"))
    batch = (
        str(record.batch_size) if record.together == record.batch_size else f"{record.together} of {record.batch_size}"
    )
    return (
        f"{record.words}, --fast" if record.fast else record.words,
        batch,
        f"{record.peak_gib:.2f}",
        "" if low is None else f"{low:.1f}-{high:.1f}",
        "" if error is None else f"{error:+.1f} %",
        "" if record.seconds_per_step is None else f"{record.seconds_per_step:.2f}",
        f"{record.width}x{record.height}",
        record.gpu,
        f"{record.measured:%Y-%m-%d}{', elsewhere' if record.is_from_elsewhere else ''}",
    )


def _estimated(record: Measurement) -> dict[str, float | None]:
    """Estimate for a measured run. Empty if its values are out of range."""
    try:
        estimate = estimation.estimate(record.recipe)
    except RecipeError:
        return {"low_gib": None, "high_gib": None, "error_percent": None}
    error = 100 * (estimate.likely_gib / record.peak_gib - 1)
    return {
        "low_gib": round(estimate.low_gib, 2),
        "high_gib": round(estimate.high_gib, 2),
        "error_percent": round(error, 1),
    }


def facts(records: list[Measurement]) -> list[dict[str, object]]:
    """Measured runs with their estimates, for scripts."""
    return [{**record.model_dump(mode="json"), **_estimated(record)} for record in records]


def records(home: Home) -> list[Measurement]:
    """Read them. Unreadable lines are reported."""
    found, problems = measurements.load(home)
    for problem in problems:
        console.warn(problem)
    return found


def runs(home: Home, card: Gpu, data: str | None) -> MeasuredRuns:
    """Measured runs on this GPU, for the given pictures or else for the largest possible ones."""
    installed, pictures = environment.find(home), None
    try:
        if data is not None:
            pictures = folders.files(sources.scan(Path(data), regularisation=None, repeats=None, trigger=None))
    except DatasetError as error:
        console.warn(Problem(f"planned without checking the pictures: {error.problems[0]}", error.problems[0].hint))
    commit, context = installed.lock.commit if installed else "", cuda_context.of(card, installed)
    return MeasuredRuns(records(home), card, commit, pictures, context)


def exchange(home: Home, merge: Path | None, export: Path | None) -> None:
    """Import, then export. Only own records are exported, as others get theirs from their owners."""
    if merge is not None:
        new = shared_measurements.new_records(shared_measurements.read(merge), records(home))
        problem = measurements.add(home, *new)
        if problem is not None:
            raise UsageError(problem.message, "choose another place with --home")
        console.note(f"{len(new)} measured runs added; they count for GPUs with the same name")
    if export is not None:
        own = [record for record in records(home) if not record.is_from_elsewhere]
        text = shared_measurements.to_csv(own)
        if str(export) == "-":
            console.document(text.rstrip("\n"))
            return
        shared_measurements.write(export, text)
        console.note(f"{len(own)} measured runs written")
        console.out(str(export))
