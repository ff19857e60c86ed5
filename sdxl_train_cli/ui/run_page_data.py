"""Collect the contents of a run's web page from its folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timezone

from sdxl_train_cli import __version__, formatting
from sdxl_train_cli.records import comparison, curves, record, recorded_prompts, validation
from sdxl_train_cli.records.curves import Column, Curves
from sdxl_train_cli.records.history import Loaded, RunState
from sdxl_train_cli.sdscripts import results, sample_prompts
from sdxl_train_cli.ui import thumbnails
from sdxl_train_cli.ui.run_page import GridPicture, PageTable, RunPage, SampleGrid

FILE = record.REPORT
MOST_STEPS = 120_000
"""Points of a curve. More would make the page heavy; peaks are kept."""
PICTURES_BYTES = 6_000_000
"""Limit for all sample pictures as stored in the page."""
PICTURE_SIDE = 320
_DIGITS = 5
_NOT_SHOWN = ("on_processor", "check_vram")


def gather(entry: Loaded, command: str, *, with_hashes: bool = True) -> RunPage:
    """Collect the page's contents. `command` is the command line quoted for this system's shell.

    With hashes, every checkpoint is read in full: about a second per GB.
    """
    found = curves.load(entry.folder / record.METRICS)
    outcome = entry.outcome
    return RunPage(
        name=entry.name,
        state=entry.state.value,
        kind=" · ".join(filter(None, (entry.record.kind, entry.record.preset))),
        folder=str(entry.folder),
        made=f"{formatting.moment(datetime.now(timezone.utc))} by sdxl-train {__version__}",
        tiles=_tiles(entry, found),
        cause=(outcome.cause or "") if outcome else "",
        remedy=(outcome.remedy or "") if outcome else "",
        curves=_rounded(curves.thin(found, MOST_STEPS)),
        curves_note=_curves_note(entry, found),
        samples=_samples(entry),
        tables=(
            _checkpoints(entry, with_hashes=with_hashes), _examined(entry), _settings(entry), _inputs(entry),
            _data(entry), _environment(entry), _packages(entry),
        ),
        command=command,
    )  # fmt: skip


def _tiles(entry: Loaded, found: Curves) -> tuple[tuple[str, str], ...]:
    outcome, settings = entry.outcome, entry.record.settings
    planned = settings.get("max_train_steps")
    made = outcome.steps if outcome and outcome.steps is not None else found.steps[-1] if found.steps else None
    of = f" of {planned.value}" if planned is not None and made is not None and made != planned.value else ""
    last = _last(found.average_losses) or _last(found.losses)
    loss = outcome.loss if outcome and outcome.loss is not None else last
    validated = validation.of(found)
    pace = _median(found.seconds)
    peak = outcome.peak_gib if outcome and outcome.peak_gib is not None else _most(found.used_gib)
    tiles = (
        ("steps", "" if made is None else f"{made}{of}"),
        ("loss", "" if loss is None else f"{loss:.4f}"),
        ("validation loss", "" if validated is None else f"{validated.last[1]:.4f}"),
        ("time", formatting.clock(outcome.seconds) if outcome and outcome.seconds is not None else ""),
        ("seconds per step", "" if pace is None else f"{pace:.2f}"),
        ("peak GPU memory", "" if peak is None else f"{peak:.1f} GB"),
        ("pictures", "" if entry.record.pictures is None else str(entry.record.pictures)),
        ("started", formatting.moment(entry.record.started)),
    )
    return tuple((name, text) for name, text in tiles if text)


def _curves_note(entry: Loaded, found: Curves) -> str:
    validated = validation.load(entry.folder)
    notes = [] if validated is None else [f"Held-back pictures: {validated.words}."]
    notes += [] if validated is None or not validated.gap_words else [f"{validated.gap_words.capitalize()}."]
    if not found.steps:
        notes.append("This run's folder has no metrics, so there is nothing to plot.")
    if found.odd:
        notes.append(f"{_steps(len(found.odd))} a loss that is not a number: marked at the top.")
    if len(found.steps) > MOST_STEPS:
        notes.append(f"Of {len(found.steps):,} steps, only the lowest and highest loss of each stretch are plotted.")
    if found.unread:
        notes.append(f"Unreadable lines in the metrics: {found.unread}.")
    return " ".join(notes)


def _steps(count: int) -> str:
    return "1 step has" if count == 1 else f"{count:,} steps have"


def _samples(entry: Loaded) -> SampleGrid:
    found = results.samples(entry.folder, entry.name)
    pictures: list[GridPicture] = []
    spent = unread = left = 0
    for sample in _spread(found):
        if spent > PICTURES_BYTES:
            left += 1
            continue
        try:
            source = thumbnails.data_uri(sample.path, PICTURE_SIDE)
        except ValueError:
            unread += 1
            continue
        spent += len(source)
        pictures.append(GridPicture(sample.moment, sample.prompt, sample.path.name, source))
    shown = {picture.moment for picture in pictures}
    notes = [f"{left} of {len(found)} pictures are left out to keep this page small." if left else ""]
    notes += [f"Unreadable pictures: {unread}." if unread else ""]
    notes += [
        "The prompts are those in the prompts file now."
        if pictures and recorded_prompts.file(entry) and not recorded_prompts.are_ours(entry)
        else ""
    ]
    return SampleGrid(
        moments=tuple(dict.fromkeys(sample.moment for sample in found if sample.moment in shown)),
        prompts=_prompts(entry, 1 + max((picture.prompt for picture in pictures), default=-1)),
        pictures=tuple(pictures),
        note=" ".join(filter(None, notes)),
    )


def _spread(found: Sequence[results.SampleFile]) -> list[results.SampleFile]:
    """The first and last moment, then those halfway between, so that the omitted ones are evenly spaced."""
    moments = list(dict.fromkeys(sample.moment for sample in found))
    order = sorted(range(len(moments)), key=lambda index: _coarseness(index, len(moments)))
    rank = {moments[index]: place for place, index in enumerate(order)}
    return sorted(found, key=lambda sample: (rank[sample.moment], sample.prompt))


def _coarseness(index: int, count: int) -> tuple[int, int]:
    if index in {0, count - 1}:
        return -count, index
    return -(index & -index), index  # how often it can be halved: 8, then 4 and 12, then 2, 6, 10 ...


def _prompts(entry: Loaded, count: int) -> tuple[str, ...]:
    lines = [sample_prompts.words(line) for line in recorded_prompts.lines(entry)]
    return tuple(lines[number] if number < len(lines) else f"prompt {number + 1}" for number in range(count))


def _checkpoints(entry: Loaded, *, with_hashes: bool) -> PageTable:
    running = entry.state is RunState.RUNNING
    rows = []
    for made in results.checkpoints(entry.folder, entry.name):
        checksum = results.sha256(made.path) if with_hashes and made.is_whole else ""
        unfinished = "being written" if running else "incomplete"
        rows.append(
            (made.path.name, made.moment, formatting.size(made.size_bytes), checksum if made.is_whole else unfinished)
        )
    note = "" if rows else "No checkpoint was saved."
    return PageTable("Checkpoints", ("file", "saved at", "size", "SHA-256"), tuple(rows), note)


def _examined(entry: Loaded) -> PageTable:
    """What the first checkpoint and the result were found to be."""
    rows = []
    for one in entry.outcome.examined if entry.outcome else ():
        rows.append((one.file, one.summary))
        rows += [("", finding.message) for finding in one.findings]
    return PageTable("Examined", ("file", "found"), tuple(rows), "" if rows else "No file was examined.")


def _settings(entry: Loaded) -> PageTable:
    rows = tuple(
        (name, comparison.text(setting.shown), str(setting.origin))
        for name, setting in sorted(entry.record.settings.items())
    )
    return PageTable("Settings", ("option", "value", "from"), rows, is_open=False)


def _inputs(entry: Loaded) -> PageTable:
    chosen = entry.record.inputs
    shown = {} if chosen is None else asdict(chosen)
    rows = tuple((name, str(value)) for name, value in shown.items() if value is not None and name not in _NOT_SHOWN)
    return PageTable("Chosen", ("what", "as given"), rows, "" if rows else "Not recorded.", is_open=False)


def _data(entry: Loaded) -> PageTable:
    data = entry.record.dataset
    rows = tuple(
        (folder.path, str(folder.pictures), str(folder.repeats), folder.class_tokens or "",
         "regularisation" if folder.is_reg else "training")
        for folder in (data.folders if data else ())
    )  # fmt: skip
    note = f"Fingerprint (names, sizes, captions): {data.fingerprint}" if data else "Not recorded."
    return PageTable("Data", ("folder", "pictures", "repeats", "class tokens", "for"), rows, note)


def _environment(entry: Loaded) -> PageTable:
    installed, gpu = entry.record.environment, entry.record.gpu
    inputs = entry.record.inputs
    together = inputs is not None and inputs.processes > 1
    memory = f", {gpu.total_gib:.1f} GB" if gpu and gpu.total_gib is not None else ""
    facts = (
        ("GPU", f"{gpu.index}: {gpu.name}{memory}, driver {gpu.driver or 'unknown'}" if gpu else ""),
        ("processes", f"{inputs.processes}, one on each GPU" if inputs and together else ""),
        ("sdxl-train", entry.record.sdxl_train),
        ("sd-scripts", f"{installed.ref or ''} {installed.commit or ''}".strip() if installed else ""),
        ("Python", (installed.python or "") if installed else ""),
        ("torch", installed.packages.get("torch", "") if installed else ""),
    )
    return PageTable("Environment", ("what", "version"), tuple(fact for fact in facts if fact[1]))


def _packages(entry: Loaded) -> PageTable:
    packages = entry.record.environment.packages if entry.record.environment else {}
    return PageTable("Packages", ("package", "version"), tuple(sorted(packages.items())), is_open=False)


def _rounded(found: Curves) -> Curves:
    """Curves with five digits: enough for a plot, at half the size."""
    return Curves(
        steps=found.steps,
        losses=_short(found.losses),
        average_losses=_short(found.average_losses),
        validation_losses=_short(found.validation_losses),
        training_part_losses=_short(found.training_part_losses),
        rates={name: _short(column) for name, column in found.rates.items()},
        seconds=_short(found.seconds),
        used_gib=_short(found.used_gib),
        total_gib=_short(found.total_gib),
        watts=_short(found.watts),
        odd=found.odd,
        unread=found.unread,
    )


def _short(column: Column) -> Column:
    """An empty column if there is nothing to draw."""
    if all(value is None for value in column):
        return ()
    return tuple(None if value is None else float(f"{value:.{_DIGITS}g}") for value in column)


def _last(column: Column) -> float | None:
    return next((value for value in reversed(column) if value is not None), None)


def _most(column: Column) -> float | None:
    return max((value for value in column if value is not None), default=None)


def _median(column: Column) -> float | None:
    known = sorted(value for value in column if value is not None)
    return known[len(known) // 2] if known else None
