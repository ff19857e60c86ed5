"""What a result adds, beside what it should add: inside/compare_sums.py measures it from the files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from sdxl_train_cli.environment import environment
from sdxl_train_cli.environment.environment import Environment
from sdxl_train_cli.errors import ModelError, SetupError

SCRIPT = "compare_sums.py"


class ModuleNorms(BaseModel):
    """Frobenius norms of one module."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    module: str
    wanted: float
    made: float
    error: float

    @property
    def lost(self) -> float:
        """The share of the energy that is lost."""
        return (self.error / self.wanted) ** 2 if self.wanted else 0.0


class SumNorms(BaseModel):
    """The same of all modules together, and each of them."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    wanted: float
    made: float
    error: float
    modules: tuple[ModuleNorms, ...]

    @property
    def lost(self) -> float:
        """The share of the energy that is lost: of the squared norm."""
        return (self.error / self.wanted) ** 2 if self.wanted else 0.0

    @property
    def relative_error(self) -> float:
        """The norm of what differs, beside that of what was wanted."""
        return self.error / self.wanted if self.wanted else 0.0

    @property
    def worst(self) -> ModuleNorms | None:
        """The module that has lost most."""
        return max(self.modules, key=lambda module: module.lost, default=None)


def compare(installed: Environment, made: Path, wanted: Sequence[tuple[float, Path]]) -> SumNorms:
    """Compare a result with the weighted sum of files. ModelError for a file that can't be read."""
    words = [word for factor, path in wanted for word in (repr(factor), str(path))]
    found = environment.run_script(installed, SCRIPT, str(made), *words)
    if "unreadable" in found:
        raise ModelError(f"the weights of {made} can't be read: {found['unreadable']}")
    try:
        return SumNorms.model_validate(found)
    except ValueError as error:
        raise SetupError(f"the environment does not work: {SCRIPT} printed something else") from error
