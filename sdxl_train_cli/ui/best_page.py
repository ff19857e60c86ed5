"""The verdict on a training's checkpoints as a self-contained web page."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path

from sdxl_train_cli import __version__, formatting
from sdxl_train_cli.ranking import words
from sdxl_train_cli.ranking.verdict import Verdict
from sdxl_train_cli.ui import drawn_grid, run_page, web_page

_PARTS = Path(__file__).with_name("best_page_parts")
_DIGITS = 5


def write(found: Verdict, target: Path, pictures: Mapping[str, object] | None = None) -> None:
    """Write the page atomically. UsageError if that fails."""
    web_page.write(html(found, pictures), target, "--to")


def html(found: Verdict, pictures: Mapping[str, object] | None = None) -> str:
    """The complete page; `pictures` is the content of drawn_grid."""
    style, script = drawn_grid.style() + _part("page.css"), drawn_grid.script() + _part("page.js")
    return run_page.with_plots({**content(found), "pictures": pictures}, style, script)


def content(found: Verdict) -> dict[str, object]:
    """What the page shows beside pictures."""
    headings, rows = words.table(found)
    chosen = next(at for at, one in enumerate(found.checkpoints) if one.candidate == found.kept)
    tables = [{"title": "Checkpoints", "headings": headings, "rows": rows, "chosen": chosen}]
    return {
        "name": found.evidence.name,
        "folder": str(found.evidence.folder),
        "headline": words.headline(found),
        "reasons": words.reasons(found),
        "improvements": words.improvements(found),
        "losses": _losses(found),
        "weights": _weights(found),
        "tables": [*tables, *_blocks(found)],
        "made": f"{formatting.moment(datetime.now(timezone.utc))} by sdxl-train {__version__}",
    }


def _losses(found: Verdict) -> dict[str, object]:
    looks = found.evidence.validations
    return {
        "steps": [look.step for look in looks],
        "held_back": [_short(look.loss) for look in looks],
        "training": [_short(look.training_loss) for look in looks],
        "chosen": found.best.measured.step if found.best.measured else None,
    }


def _weights(found: Verdict) -> dict[str, object]:
    """By step, a step's first file alone; by place in the order of the training where not each file tells its step."""
    ranked, steps = list(found.checkpoints), [one.candidate.step for one in found.checkpoints]
    if None in steps:
        places: list[int | None] = list(range(1, len(steps) + 1))
    else:  # the final file is often the same as that of the last step
        ranked = [one for at, one in enumerate(ranked) if steps[at] not in steps[:at]]
        places = [one.candidate.step for one in ranked]
    seen = [one.weights for one in ranked]
    return {
        "places": places,
        "norm": [_short(one.norm) if one else None for one in seen],
        "rank": [_short(one.rank) if one else None for one in seen],
        "moved": [_short(one.moved) if one else None for one in seen],
    }


def _blocks(found: Verdict) -> list[dict[str, object]]:
    """Each block of the chosen file."""
    weights = found.best.weights
    if weights is None or not weights.blocks:
        return []
    rows = [
        (" ".join(filter(None, (one.part, one.block))), str(one.modules), *map(_text, (one.norm, one.rank, one.moved)))
        for one in weights.blocks
    ]
    title = f"Blocks of {found.best.candidate.path.name}"
    headings = ("block", "modules", "norm", "rank", "moved since the last")
    return [{"title": title, "headings": headings, "rows": rows, "chosen": None}]


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.{_DIGITS}g}")


def _part(name: str) -> str:
    return (_PARTS / name).read_text(encoding="utf-8")
