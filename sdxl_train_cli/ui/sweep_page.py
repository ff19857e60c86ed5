"""A sweep as a self-contained web page: settings against loss, curves over each other, samples beside each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path

from sdxl_train_cli import __version__, formatting
from sdxl_train_cli.ranking.verdict import Standing
from sdxl_train_cli.records import history, recorded_prompts
from sdxl_train_cli.sdscripts import results, sample_prompts
from sdxl_train_cli.sweeps import words
from sdxl_train_cli.sweeps.comparing import Comparison, RankedPoint
from sdxl_train_cli.sweeps.sweep import KeptAxis, Sweep
from sdxl_train_cli.ui import run_page, thumbnails, web_page

_PARTS = Path(__file__).with_name("sweep_page_parts")
_SIDE = 320
"""Pixels of a sample."""
_MOST_BYTES = 24 << 20
"""Of all samples, so that the page can be sent."""
_DIGITS = 6
_FEW = 24
"""Points up to which all curves have a colour, and all samples are shown."""
_MOST_COLOURED, _MOST_FAINT = 12, 120
"""Curves of more points: the lowest, and as many others as tell how the rest went."""


def write(sweep: Sweep, found: Comparison, target: Path) -> None:
    """Write the page atomically. UsageError if that fails."""
    web_page.write(html(sweep, found), target, "--to")


def html(sweep: Sweep, found: Comparison) -> str:
    """The complete page."""
    return run_page.with_plots(content(sweep, found), _part("page.css"), _part("page.js"))


def content(sweep: Sweep, found: Comparison) -> dict[str, object]:
    """What the page shows."""
    points = list(words.ordered(found))
    drawn = _drawn(points)
    return {
        "name": sweep.name,
        "kind": f"{sweep.kind}, preset {sweep.preset}, {sweep.way.value}: {formatting.counted(sweep.count, 'point')}",
        "headline": words.headline(found),
        "is_ranked": found.best is not None,
        "reasons": words.reasons(sweep, found),
        "caches": sweep.caches,
        "headings": words.headings(sweep),
        "points": [{**_point(one, drawn.get(one.name)), "row": words.row(sweep, one)} for one in points],
        "curves_note": _curves_note(points, drawn),
        "axes": [_axis(axis, [one for one in points if one.followed.point.settings]) for axis in sweep.axes],
        "samples": _samples(points),
        "made": f"{formatting.moment(datetime.now(timezone.utc))} by sdxl-train {__version__}",
    }


def _drawn(points: Sequence[RankedPoint]) -> dict[str, str]:
    """The points whose curves are drawn: in colour, or faint."""
    named = [one.name for one in points if one.seen is not None and one.seen.curve]
    coloured = len(named) if len(named) <= _FEW else _MOST_COLOURED
    rest = named[coloured:]
    evenly = {rest[at * len(rest) // _MOST_FAINT] for at in range(_MOST_FAINT)} if rest else set()
    return dict.fromkeys(named[:coloured], "coloured") | dict.fromkeys(evenly, "faint")


def _curves_note(points: Sequence[RankedPoint], drawn: Mapping[str, str]) -> str:
    faint = sum(how == "faint" for how in drawn.values())
    if not faint:
        return ""
    others = sum(one.seen is not None and bool(one.seen.curve) for one in points) - len(drawn) + faint
    told = "all of the others" if faint == others else f"{faint} of the other {others}, evenly chosen by loss"
    return f"In colour: the {len(drawn) - faint} lowest. Faint: {told}."


def _point(one: RankedPoint, drawn: str | None) -> dict[str, object]:
    curve, behind = () if one.seen is None or drawn is None else one.seen.curve, one.behind
    margin = None if behind is None or behind.margin == float("inf") else behind.margin
    return {
        "name": one.name,
        "standing": one.standing.value,
        "is_best": one.standing is Standing.BEST,
        "loss": None if one.measured is None else _short(one.measured.loss),
        "margin": None if margin is None else _short(margin),
        "is_faint": drawn == "faint",
        "steps": [step for step, _ in curve],
        "losses": [_short(loss) for _, loss in curve],
    }


def _axis(axis: KeptAxis, points: Sequence[RankedPoint]) -> dict[str, object]:
    """Where each point stands on it: by number where all values are numbers, else by place."""
    texts = [one.followed.point.settings.get(axis.option, "") for one in points]
    try:
        numbers = [float(text) for text in texts]
    except ValueError:
        named = list(axis.values) or sorted(set(texts))
        return {"option": axis.option, "names": named, "places": [named.index(text) for text in texts], "log": False}
    is_log = bool(numbers) and min(numbers) > 0 and max(numbers) / min(numbers) >= 10  # noqa: PLR2004 - a decade
    return {"option": axis.option, "names": None, "places": numbers, "texts": texts, "log": is_log}


def _samples(points: Sequence[RankedPoint]) -> dict[str, object]:
    """The last pictures of each point, of many the best alone; a row for each prompt."""
    pictures, names, prompts, spent, left = list[dict[str, object]](), list[str](), list[str](), 0, 0
    most = len(points) if len(points) <= _FEW else _MOST_COLOURED
    for one in points:
        run = one.followed.run
        if run is not None and (spent > _MOST_BYTES or len(names) == most):
            left += 1
            continue
        drawn = [] if run is None else results.samples(run.folder, run.name)
        last = [sample for sample in drawn if sample.moment == drawn[-1].moment]
        if run is None or not last:
            continue
        names.append(one.name)
        lines = [sample_prompts.words(line) for line in recorded_prompts.lines(history.load(run.folder))]
        prompts = lines if len(lines) > len(prompts) else prompts
        for sample in last:
            source = _picture(sample.path)
            spent += len(source or "")
            pictures.append({"point": one.name, "prompt": sample.prompt, "moment": sample.moment, "source": source})
    note = f"{formatting.counted(left, 'point')} left out to keep this page small." if left else ""
    return {"points": names, "prompts": prompts, "pictures": pictures, "note": note}


def _picture(path: Path) -> str | None:
    try:
        return thumbnails.data_uri(path, _SIDE)
    except ValueError:
        return None


def _short(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")


def _part(name: str) -> str:
    return (_PARTS / name).read_text(encoding="utf-8")
