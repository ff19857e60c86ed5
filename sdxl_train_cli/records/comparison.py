"""Compare two runs: differing settings, data and results."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sdxl_train_cli.recipe import Value
from sdxl_train_cli.records.history import Loaded

Fact = Value | None


@dataclass(frozen=True)
class RunDifference:
    """One difference between two runs. None if one of them lacks the value."""

    section: str
    """`setting`, `input`, `data`, `environment`, `gpu` or `result`."""
    name: str
    left: Fact
    right: Fact


def differences(left: Loaded, right: Loaded) -> list[RunDifference]:
    """Every difference, except those of name, folder and time."""
    sections = (
        ("setting", _settings),
        ("input", _inputs),
        ("data", _data),
        ("environment", _environment),
        ("gpu", _gpu),
        ("result", _result),
    )
    return [
        difference
        for section, facts in sections
        for difference in _differing(section, dict(facts(left)), dict(facts(right)))
    ]


def text(fact: Fact) -> str:
    """A value as people read it. `-` if there is none."""
    if fact is None:
        return "-"
    if isinstance(fact, bool):
        return str(fact).lower()
    if isinstance(fact, float):
        return f"{fact:.6g}"
    return " ".join(map(text, fact)) if isinstance(fact, tuple) else str(fact)


def _differing(section: str, left: Mapping[str, Fact], right: Mapping[str, Fact]) -> Iterator[RunDifference]:
    for name in dict.fromkeys((*left, *right)):
        one, other = left.get(name), right.get(name)
        if one != other and not _both_nan(one, other):
            yield RunDifference(section, name, one, other)


def _both_nan(one: Fact, other: Fact) -> bool:
    return all(isinstance(fact, float) and math.isnan(fact) for fact in (one, other))


def _settings(entry: Loaded) -> Iterator[tuple[str, Fact]]:
    for name, setting in sorted(entry.record.settings.items()):
        yield name, setting.shown


def _inputs(entry: Loaded) -> Iterator[tuple[str, Fact]]:
    yield "kind", entry.record.kind
    yield "preset", entry.record.preset
    inputs = entry.record.inputs
    if inputs is not None:
        paths = ("data", inputs.data), ("regularisation", inputs.regularisation)
        yield from (("model", inputs.model), ("vae", inputs.vae))
        yield from ((name, None if path is None else str(path)) for name, path in paths)
        yield "prediction", inputs.prediction and inputs.prediction.value
        yield from (("trigger", inputs.trigger), ("repeats", inputs.repeats))


def _data(entry: Loaded) -> Iterator[tuple[str, Fact]]:
    yield "pictures", entry.record.pictures
    dataset = entry.record.dataset
    if dataset is None:
        return
    yield "fingerprint", dataset.fingerprint
    for folder in dataset.folders:
        yield f"{folder.path}: pictures", folder.pictures
        yield f"{folder.path}: repeats", folder.repeats
        yield f"{folder.path}: class tokens", folder.class_tokens


def _environment(entry: Loaded) -> Iterator[tuple[str, Fact]]:
    yield "sdxl-train", entry.record.sdxl_train
    installed = entry.record.environment
    if installed is None:
        return
    yield from (("sd-scripts", installed.ref), ("commit", installed.commit), ("python", installed.python))
    yield from sorted(installed.packages.items())


def _gpu(entry: Loaded) -> Iterator[tuple[str, Fact]]:
    gpu = entry.record.gpu
    if gpu is not None:
        yield from (("name", gpu.name), ("index", gpu.index), ("driver", gpu.driver))


def _result(entry: Loaded) -> Iterator[tuple[str, Fact]]:
    yield "state", entry.state.value
    outcome = entry.outcome
    if outcome is None:
        return
    yield from (("steps", outcome.steps), ("loss", outcome.loss), ("seconds", outcome.seconds))
    yield from (("peak GB", outcome.peak_gib), ("cause", outcome.cause))
