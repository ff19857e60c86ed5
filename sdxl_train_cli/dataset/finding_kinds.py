"""How a kind of problem is told: its name, its weight, the words for one file and for many, and the remedy."""

from __future__ import annotations

import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sdxl_train_cli import formatting
from sdxl_train_cli.dataset.file_facts import Finding, Severity, shown
from sdxl_train_cli.errors import Problem, WayOut

ERROR, WARNING = Severity.ERROR, Severity.WARNING
SHOWN = 5
"""Files of one kind of problem that are named in a line before `and N more`."""

Hit = tuple[Path, str]
"""A file that has the problem, and what there is to say of it."""


@dataclass(frozen=True)
class FindingKind:
    """One kind of problem. The words may take {file}, {detail}, {count} and what the finder of the problem adds.

    In the hint, the file stands as it is typed.
    """

    name: str
    severity: Severity
    one: str
    many: str
    hint: str | None = None
    ways: tuple[str, ...] = ()
    """Remedies that are options to set, `OPTION=VALUE` each; they are told before the hint."""

    def found(self, hits: Sequence[Hit], severity: Severity | None = None, **words: Path | str | int) -> list[Finding]:
        """Tell of these files in one finding; in none where there are none."""
        if not hits:
            return []
        file, detail = hits[0]
        said = {"file": file, "detail": detail, "count": len(hits), **words}
        wording = self.one if len(hits) == 1 else self.many
        hint = None if self.hint is None else self.hint.format(**{**said, "file": formatting.shell_word(shown(file))})
        details = tuple(detail for _, detail in hits)
        files = tuple(file for file, _ in hits)
        named = {name: said[name] for name in _names(wording)}
        return [
            Finding(
                self.name,
                severity or self.severity,
                files,
                wording,
                named,
                hint,
                details if any(details) else (),
                self._ways,
            )
        ]

    def of_all(self, **words: str | int) -> list[Finding]:
        """Tell of the dataset as a whole, by the words for many."""
        hint = None if self.hint is None else self.hint.format(**words)
        return [Finding(self.name, self.severity, (), self.many, words, hint, ways=self._ways)]

    @property
    def _ways(self) -> tuple[WayOut, ...]:
        return tuple(WayOut((setting,)) for setting in self.ways)


def _names(wording: str) -> Iterator[str]:
    return (name for _, name, _, _ in string.Formatter().parse(wording) if name)


def in_a_line(finding: Finding) -> Problem:
    """A finding in one line, with the names of some of its files."""
    if not finding.files or finding.names_its_file:
        return finding.problem
    return Problem(f"{finding.message()}: {some(finding.files)}", finding.hint, ways=finding.ways)


def some(files: Sequence[Path]) -> str:
    """The names of a few files, and how many more there are."""
    more = f" and {len(files) - SHOWN} more" if len(files) > SHOWN else ""
    return ", ".join(shown(file.name) for file in files[:SHOWN]) + more
