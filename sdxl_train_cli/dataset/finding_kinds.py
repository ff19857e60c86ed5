"""How a kind of problem is told: its name, its weight, the words for one file and for many, and the remedy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sdxl_train_cli import formatting
from sdxl_train_cli.dataset.file_facts import Finding, Severity
from sdxl_train_cli.errors import Problem

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

    def found(self, hits: Sequence[Hit], severity: Severity | None = None, **words: str | int) -> list[Finding]:
        """Tell of these files in one finding; in none where there are none."""
        if not hits:
            return []
        said = {"file": shown(hits[0][0]), "detail": hits[0][1], "count": len(hits), **words}
        message = (self.one if len(hits) == 1 else self.many).format(**said)
        typed = {**said, "file": formatting.shell_word(shown(hits[0][0]))}
        hint = None if self.hint is None else self.hint.format(**typed)
        details = tuple(detail for _, detail in hits)
        return [
            Finding(
                self.name,
                severity or self.severity,
                tuple(file for file, _ in hits),
                Problem(message, hint),
                details if any(details) else (),
            )
        ]

    def of_all(self, **words: str | int) -> list[Finding]:
        """Tell of the dataset as a whole, by the words for many."""
        hint = None if self.hint is None else self.hint.format(**words)
        return [Finding(self.name, self.severity, (), Problem(self.many.format(**words), hint))]


def shown(path: Path | str) -> str:
    """A path as one line: what no terminal should get (line ends, escapes, bytes that are no text) is spelled out."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape", "backslashreplace").decode()
        for letter in str(path)
    )


def in_a_line(finding: Finding) -> Problem:
    """A finding in one line, with the names of some of its files."""
    if not finding.files or names_its_file(finding):
        return finding.problem
    return Problem(f"{finding.problem.message}: {some(finding.files)}", finding.problem.hint)


def names_its_file(finding: Finding) -> bool:
    """Whether the message has the name of the only file."""
    return len(finding.files) == 1 and shown(finding.files[0]) in finding.problem.message


def some(files: Sequence[Path]) -> str:
    """The names of a few files, and how many more there are."""
    more = f" and {len(files) - SHOWN} more" if len(files) > SHOWN else ""
    return ", ".join(shown(file.name) for file in files[:SHOWN]) + more
