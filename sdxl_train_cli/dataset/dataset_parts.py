"""What sets the datasets of one run apart: options of the run that one of them sets for itself.

sd-scripts trains several datasets in turn, each with sizes, buckets and batches of its own (library/config_util.py:
generate_dataset_group_by_blueprint). A dataset config has them, and `--resolution` with several sizes makes them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from sdxl_train_cli.layout import PROJECT_FILE
from sdxl_train_cli.origin import Origin
from sdxl_train_cli.recipe import Recipe, Setting, Value
from sdxl_train_cli.recipes import presets

VALIDATION = ("validation_split", "validation_seed")
"""Options that decide which pictures are trained on, and not how."""


@dataclass(frozen=True)
class OwnOption:
    """An option of the run that one dataset sets for itself."""

    name: str
    value: Value
    source: str
    """The file that sets it, or the flag."""

    def counts_in(self, recipe: Recipe) -> bool:
        """Whether nothing was typed instead. What is typed counts for all datasets, and a preset's value for none."""
        origin = recipe.origin(self.name)
        return origin is None or origin.name in {"", self.source} or _is_of_preset(origin)


def _is_of_preset(origin: Origin) -> bool:
    return origin.line is not None and origin.name != PROJECT_FILE


@dataclass(frozen=True)
class DatasetPart:
    """What sets the dataset apart in which sd-scripts trains a picture. A batch never mixes datasets."""

    options: tuple[OwnOption, ...] = ()
    has_masks: bool = False
    """Whether the pictures have masks in another folder: then sd-scripts wants one for each picture."""

    def own(self, name: str) -> Value | None:
        """The dataset's own value; None leaves it to the run."""
        return next((option.value for option in self.options if option.name == name), None)

    def applied(self, recipe: Recipe) -> Recipe:
        """The recipe as this dataset is trained with."""
        own = [option for option in self.options if option.counts_in(recipe)]
        return recipe.replaced({each.name: Setting(value=each.value, origin=Origin(each.source)) for each in own})

    @property
    def holds_all_back(self) -> bool:
        """Whether it is there for validation alone."""
        share = self.own("validation_split")
        return isinstance(share, int | float) and share >= 1


WHOLE = DatasetPart()
"""The only dataset of most runs."""


def own_sizes(side: int) -> tuple[OwnOption, ...]:
    """The options of a dataset for one of several sizes of `--resolution`."""
    found = presets.with_sizes(side)
    return tuple(OwnOption(each.option, each.value, each.origin.name) for each in found if each.value is not None)


def recipes(recipe: Recipe, parts: Iterable[DatasetPart]) -> list[Recipe]:
    """The recipe as each dataset trains with it, each once. What is only validated on counts where nothing is trained.

    Shares of validation stay the run's: they say nothing of how a dataset is trained.
    """
    every = list(parts)
    trained = [part for part in every if not part.holds_all_back] or every
    kept = [replace(part, options=tuple(one for one in part.options if one.name not in VALIDATION)) for part in trained]
    return [part.applied(recipe) for part in dict.fromkeys(kept)] or [recipe]
