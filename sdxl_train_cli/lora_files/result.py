"""Look at a file that was just made, as the result of a run is looked at."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sdxl_train_cli.environment.environment import Environment
from sdxl_train_cli.errors import SetupError
from sdxl_train_cli.inspection import verdict, weight_facts
from sdxl_train_cli.inspection.verdict import ResultFinding
from sdxl_train_cli.lora_files import handed


@dataclass(frozen=True)
class MadeFile:
    """A result and the verdict on it."""

    path: Path
    size_bytes: int
    summary: str
    findings: tuple[ResultFinding, ...]

    @property
    def is_of_use(self) -> bool:
        """Whether nothing makes it worthless."""
        return not any(finding.is_fatal for finding in self.findings)


def examine(path: Path, installed: Environment | None, base: Path | None = None) -> MadeFile:
    """Look at a result. Its weights are looked at where sd-scripts' environment is installed."""
    found = handed.open_model(path)
    weights = None
    if installed is not None and installed.trains:
        try:
            weights = weight_facts.examine(installed, path, base=base)
        except SetupError:
            weights = None  # the header is judged all the same
    examined = verdict.assemble(found.model, weights, None)
    findings = verdict.judge(examined)
    return MadeFile(path, found.size_bytes, verdict.summary(examined, findings), findings)
