"""All that a share says of its file, once: the card and the form of a model site are made of it."""

from __future__ import annotations

from dataclasses import dataclass

from sdxl_train_cli.inspection.model_file import ModelFile
from sdxl_train_cli.inspection.programs import ProgramReading
from sdxl_train_cli.inspection.strengths import Strength
from sdxl_train_cli.sharing.bases import Base, Licence
from sdxl_train_cli.sharing.image_programs import SharedModel
from sdxl_train_cli.sharing.model_copy import ModelCopy
from sdxl_train_cli.sharing.previews import Preview
from sdxl_train_cli.sharing.training_facts import TrainingFacts


@dataclass(frozen=True)
class ShareFacts:
    """What isn't known is None or empty; nothing is guessed."""

    title: str
    model: SharedModel
    look: ModelFile
    readings: tuple[ProgramReading, ...]
    copy: ModelCopy
    trigger: str | None
    strength: Strength
    description: str
    author: str | None
    base: Base
    licence: Licence | None
    """Under which the file is shared. None if nobody knows."""
    is_licence_typed: bool
    """Else it is the base's own."""
    is_v_prediction: bool
    moment: str | None
    """Of a checkpoint: `step 300`. None for a final file, or a file alone."""
    training: TrainingFacts
    previews: tuple[Preview, ...]

    @property
    def what(self) -> str:
        """`SDXL LoRA`, `SDXL checkpoint`."""
        return " ".join(filter(None, (self.look.family, self.look.what)))
