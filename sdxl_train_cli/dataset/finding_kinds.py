"""How a kind of problem is presented: name, severity, texts for one file and for many, and the remedy."""

from __future__ import annotations

import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sdxl_train_cli import formatting, language
from sdxl_train_cli.dataset.file_facts import Finding, Severity, shown
from sdxl_train_cli.errors import Problem, WayOut

ERROR, WARNING = Severity.ERROR, Severity.WARNING
SHOWN = 5
"""Files named in a line before `and N more`."""

Hit = tuple[Path, str]
"""A file with the problem, and a detail about it."""


@dataclass(frozen=True)
class FindingKind:
    """One kind of problem. Texts may use {file}, {detail}, {count} and any extra words of the caller.

    In the hint, {file} is quoted for the shell.
    """

    name: str
    severity: Severity
    one: str
    many: str
    hint: str | None = None
    ways: tuple[str, ...] = ()
    """Remedies that are options to set, `OPTION=VALUE` each; they are told before the hint."""
    told_as: str = ""
    """The name under which its texts stand in other languages."""

    def _text(self, part: str, english: str) -> str:
        return language.text(self.told_as, part, english)

    def of_files(
        self, hits: Sequence[Hit], severity: Severity | None = None, **words: Path | str | int
    ) -> list[Finding]:
        """One finding about these files, or an empty list without files. Of several hits of a file the first counts."""
        first: dict[Path, str] = {}
        for file, detail in hits:
            first.setdefault(file, detail)
        hits = list(first.items())
        if not hits:
            return []
        file, detail = hits[0]
        said = {"file": file, "detail": detail, "count": len(hits), **words}
        wording = self._text("one", self.one) if len(hits) == 1 else self._text("many", self.many)
        quoted = {**said, "file": formatting.shell_word(shown(file))}
        hint = None if self.hint is None else self._text("hint", self.hint).format(**quoted)
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

    def of_dataset(self, **words: str | int) -> list[Finding]:
        """One finding about the dataset as a whole, with the text for many."""
        hint = None if self.hint is None else self._text("hint", self.hint).format(**words)
        return [Finding(self.name, self.severity, (), self._text("many", self.many), words, hint, ways=self._ways)]

    @property
    def _ways(self) -> tuple[WayOut, ...]:
        return tuple(WayOut((setting,)) for setting in self.ways)


def _names(wording: str) -> Iterator[str]:
    return (name for _, name, _, _ in string.Formatter().parse(wording) if name)


def summarize(finding: Finding) -> Problem:
    """The finding in one line, with some of its files' names."""
    if not finding.files or finding.names_its_file:
        return finding.problem
    return Problem(f"{finding.message()}: {name_some(finding.files)}", finding.hint, ways=finding.ways)


def name_some(files: Sequence[Path]) -> str:
    """A few file names, and how many more there are."""
    more = f" and {len(files) - SHOWN} more" if len(files) > SHOWN else ""
    return ", ".join(shown(file.name) for file in files[:SHOWN]) + more
