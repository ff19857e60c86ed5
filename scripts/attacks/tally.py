"""Attempts and survivors of one kind of attack, and the distinct faults."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

KEPT_OF_A_FAULT = 2
"""Examples kept per fault: a fuzzer finds the same one a hundred times."""


class Problem(NamedTuple):
    """Something wrong that an attempt has shown."""

    key: str
    """Identifies a fault: its place in the code, if known."""
    words: str


@dataclass
class Fault:
    """One fault, however often it occurred."""

    key: str
    words: str
    seed: int
    call: str
    kept: str | None
    count: int = 1


@dataclass
class Tally:
    """Results of one kind of attack."""

    kind: str
    keep: Path
    attempts: int = 0
    survivors: int = 0
    faults: dict[str, Fault] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def judge(self, seed: int, call: str, problems: Iterable[Problem], inputs: Path | None = None) -> None:
        """Count one attempt. If it failed, keep its folder."""
        self.attempts += 1
        found = list({problem.key: problem for problem in problems}.values())
        self.survivors += not found
        for problem in found:
            known = self.faults.get(problem.key)
            if known is None:
                kept = self._kept(seed, inputs)
                self.faults[problem.key] = Fault(problem.key, problem.words, seed, call, kept)
                print(f"  {self.kind}: seed {seed}: {problem.key}", flush=True)
            else:
                known.count += 1
                if known.count <= KEPT_OF_A_FAULT:
                    self._kept(seed, inputs)

    def skip(self, reason: str) -> None:
        """Record what this system can't test."""
        self.skipped.append(reason)
        print(f"  {self.kind}: skipped: {reason}", flush=True)

    def note(self, words: str) -> None:
        """Record a measured value."""
        self.notes.append(words)
        print(f"  {self.kind}: {words}", flush=True)

    def add(self, other: Tally) -> None:
        """Add another process's results."""
        self.attempts += other.attempts
        self.survivors += other.survivors
        self.notes += other.notes
        for key, fault in other.faults.items():
            known = self.faults.setdefault(key, fault)
            if known is not fault:
                known.count += fault.count

    def _kept(self, seed: int, inputs: Path | None) -> str | None:
        if inputs is None or not inputs.exists():
            return None
        place = self.keep / f"{self.kind}-{seed}"
        if not place.exists():
            shutil.copytree(inputs, place, symlinks=True, ignore=_pipes, ignore_dangling_symlinks=True)
        return str(place)

    def dumped(self) -> str:
        """The results as JSON, for another process."""
        plain = {**vars(self), "keep": str(self.keep), "faults": {key: vars(one) for key, one in self.faults.items()}}
        return json.dumps(plain)

    @classmethod
    def loaded(cls, text: str) -> Tally:
        """Restore results from `dumped`."""
        plain = json.loads(text)
        faults = {key: Fault(**one) for key, one in plain["faults"].items()}
        return cls(**{**plain, "keep": Path(plain["keep"]), "faults": faults})


def _pipes(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if (Path(folder) / name).is_fifo()]
