"""Pictures that are held back, so that their loss shows from when on a run only learns its pictures by heart.

sd-scripts validates networks on a share of each folder, with four fixed timesteps and a seed of its own
(train_network.py), after whole epochs or a number of steps. Its mean over steps counts those of the first epoch more
than once (LossRecorder); the mean of what inside/validated.py writes does not.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from sdxl_train_cli import formatting, language
from sdxl_train_cli.dataset import bucketing
from sdxl_train_cli.dataset.file_facts import Survey
from sdxl_train_cli.errors import Problem, RecipeError
from sdxl_train_cli.origin import Origin
from sdxl_train_cli.recipe import Recipe, Setting
from sdxl_train_cli.recipes.project import USUAL_SHARE
from sdxl_train_cli.run import step_cost
from sdxl_train_cli.sdscripts.options import OptionTable

SPLIT, SEED = "validation_split", "validation_seed"
EVERY_EPOCHS, EVERY_STEPS = "validate_every_n_epochs", "validate_every_n_steps"
SAVE_EPOCHS, SAVE_STEPS = "save_every_n_epochs", "save_every_n_steps"
OPTIONS = (SPLIT, SEED, EVERY_EPOCHS, EVERY_STEPS, "max_validation_steps")
OF_FLAG, OF_DEFAULT = Origin("--validate"), Origin("chosen for validation")
OF_KEEPING = Origin("--keep-best")
ORIGINS = (OF_FLAG, OF_DEFAULT)
"""Of settings that nobody has typed: a repeated run finds them anew."""
LEAST_PICTURES = 40
"""From here on a tenth is four pictures. The mean loss of fewer says more about which ones were drawn than about the
training, and a small set misses every picture that is held back."""
LEAST_HELD_BACK, MOST_HELD_BACK = 4, 20
"""More than twenty make the mean hardly steadier, and each of them costs time and is not trained on."""
_MOST_SHARE = 0.25
"""Of few pictures the rest is needed for the training."""
_SEED = 42
_TIMES, _FEWEST_TIMES, _MOST_TIMES = 10, 5, 20
"""Points of a curve that shows a turn."""
MOST_TRAINED = 16
"""Pictures that are trained on and measured beside those that are held back (inside/validated.py)."""
_GRID, _NEAR = 10_000, 0.3
"""Shares of four digits, as far from the wanted one as this part of it."""


@dataclass(frozen=True)
class ValidationChoice:
    """A recipe that validates, or the same one as before."""

    recipe: Recipe
    notes: tuple[str, ...] = ()


def holds_back(recipe: Recipe) -> bool:
    """Whether the trainer of this recipe validates on pictures that it holds back."""
    return recipe.kind.is_network and (recipe.number(SPLIT) or 0) > 0


def asked(recipe: Recipe, share: float | None, table: OptionTable) -> Recipe:
    """The recipe with the typed share, before the pictures are known; zero takes away what a preset has of it."""
    if share is not None and share <= 0:
        return recipe.replaced(dict.fromkeys(OPTIONS))
    if not share or recipe.get(SPLIT) is not None or SPLIT not in table.of(recipe.kind):
        return recipe
    settings = {SPLIT: share, SEED: recipe.get(SEED) or _SEED}
    return recipe.replaced({name: Setting(value=value, origin=OF_FLAG) for name, value in settings.items()})


def require_possible(recipe: Recipe, share: float | None, table: OptionTable) -> None:
    """RecipeError where the script that trains this kind has no validation."""
    if share and SPLIT not in table.of(recipe.kind):
        words = f"{recipe.kind.script} of this sd-scripts has no validation"
        raise RecipeError(Problem(words, "leave out --validate", OF_FLAG, OPTIONS))


def require_judgeable(recipe: Recipe, *, keep_best: bool) -> None:
    """RecipeError where the best checkpoint is to be kept, and nothing will tell which one it is."""
    if not keep_best:
        return
    if not recipe.kind.is_network:
        words = f"only a loss on held-back pictures tells which is best, and {recipe.kind.script} has none"
        raise RecipeError(Problem(words, "leave out --keep-best", OF_KEEPING))
    if not holds_back(recipe):
        raise RecipeError(
            Problem("no pictures are held back, so nothing would tell which is best", "add --validate", OF_KEEPING)
        )
    if not any(recipe.number(name) for name in (SAVE_STEPS, SAVE_EPOCHS)):
        words = "only the last file is saved, so there is nothing to choose from"
        raise RecipeError(Problem(words, "add --save-every 100", OF_KEEPING))


def choose(recipe: Recipe, survey: Survey, share: float | None, table: OptionTable) -> ValidationChoice:
    """Decide it for a typed recipe; touches nothing."""
    wanted = share or USUAL_SHARE
    if recipe.get(SPLIT) is None:
        if share is not None or SPLIT not in table.of(recipe.kind) or not _suits(recipe, survey):
            return ValidationChoice(recipe)
        origin = OF_DEFAULT
    elif recipe.origin(SPLIT) == OF_FLAG:
        origin = OF_FLAG
    else:
        return ValidationChoice(recipe)  # a person's own
    counts = _counts(survey)
    if share is None or share == USUAL_SHARE:
        wanted = min(USUAL_SHARE, MOST_HELD_BACK / max(1, sum(counts)))
    clean = _suitable_share(counts, wanted)
    if origin is OF_DEFAULT and (clean is None or held_back(counts, clean) < LEAST_HELD_BACK):
        return ValidationChoice(recipe)
    taken = clean or max(wanted, _one_of(counts))
    if not held_back(counts, taken):
        words = "a picture that is held back is not trained on, and no folder has two"
        raise RecipeError(Problem(words, "leave out --validate, or give more pictures", OF_FLAG, OPTIONS))
    settings = {SPLIT: taken, SEED: recipe.get(SEED) or _SEED}
    validated = recipe.replaced({name: Setting(value=value, origin=origin) for name, value in settings.items()})
    return _with_rhythm(validated, survey, origin)


def _with_rhythm(recipe: Recipe, survey: Survey, origin: Origin) -> ValidationChoice:
    arranged = bucketing.arrange(recipe, survey.readable)
    held = len({picture.path for picture in arranged.held_back})
    epochs = math.ceil(arranged.epochs)
    has_own = recipe.get(EVERY_STEPS) is not None or recipe.get(EVERY_EPOCHS) is not None
    settings = {} if has_own else _rhythm(recipe, epochs, arranged.steps)
    recipe = recipe.replaced({name: Setting(value=value, origin=origin) for name, value in settings.items()})
    if not held or not arranged.batches:
        return ValidationChoice(recipe)
    steps = int(recipe.number(EVERY_STEPS) or 0)
    # With steps alone, sd-scripts validates after each epoch too.
    every = int(recipe.number(EVERY_EPOCHS) or 1)
    per_step = step_cost.forward_passes(recipe) * max(arranged.batch_sizes) * arranged.accumulation
    times = epochs // every + (arranged.steps // steps if steps else 0)
    looked_at = held + min(held, MOST_TRAINED)
    cost = max(1, round(step_cost.validation_passes(looked_at) * times / per_step))
    english = (
        "validation: {pictures} held back, looked at {when} beside as many that are trained on: about as long as "
        "{steps_words}; --no-validate trains on all"
    )
    note = language.said(
        "plan", "validation", english, pictures=formatting.counted(held, "picture"), held=held,
        when=_when(every, steps, epochs), steps_words=formatting.counted(cost, "training step"), steps=cost,
    )  # fmt: skip
    return ValidationChoice(recipe, (note,))


def _when(every: int, steps: int, epochs: int) -> str:
    if steps and every >= epochs:
        english = "every {counted} and at the end"
        return language.said("plan", "when-end", english, counted=formatting.counted(steps, "step"), steps=steps)
    if every > 1:
        english = "every {counted}"
        found = language.said("plan", "when-epochs", english, counted=formatting.counted(every, "epoch"), epochs=every)
    else:
        found = language.said("plan", "when-epoch", "after each epoch")
    english = " and every {counted}"
    more = language.said("plan", "when-steps", english, counted=formatting.counted(steps, "step"), steps=steps)
    return found + (more if steps else "")


def _rhythm(recipe: Recipe, epochs: int, steps: int) -> dict[str, int]:
    """When to validate: where checkpoints are saved, so that each can be judged by the loss at its own step."""
    saved_steps, saved_epochs = (int(recipe.number(name) or 0) for name in (SAVE_STEPS, SAVE_EPOCHS))
    if saved_epochs and not saved_steps:
        return {EVERY_EPOCHS: between(saved_epochs, epochs)}
    if saved_steps and saved_steps < steps:
        # The last epoch's is the final file's.
        return {EVERY_STEPS: between(saved_steps, steps), EVERY_EPOCHS: max(1, epochs)}
    return {EVERY_EPOCHS: suitable_epochs(epochs)}


def between(saved: int, whole: int) -> int:
    """From one validation to the next where a checkpoint is saved so often: at each, at some of many, or more often."""
    if saved * _MOST_TIMES < whole:
        return saved * math.ceil(whole / saved / _MOST_TIMES)
    usual = max(1, round(whole / _TIMES))
    dividing = [each for each in range(1, saved + 1) if saved % each == 0]
    return min(dividing, key=lambda each: abs(math.log(each / usual)))


def suitable_epochs(epochs: int) -> int:
    """Epochs from one validation to the next: about ten in a run, the last of them at its end."""
    usual = max(1, round(epochs / _TIMES))
    dividing = [each for each in range(1, epochs // _FEWEST_TIMES + 1) if epochs % each == 0]
    return min(dividing, key=lambda each: abs(math.log(each / usual)), default=usual)


def _suitable_share(counts: Sequence[int], wanted: float) -> float | None:
    """The share that is asked for, or more where that is too few pictures: up to a quarter, or one picture."""
    total = max(1, sum(counts))
    steady = max(wanted, min(LEAST_HELD_BACK / total, _MOST_SHARE))
    found = [clean_share(counts, share) for share in (steady, _one_of(counts))]
    return next((share for share in found if share and held_back(counts, share)), None)


def _one_of(counts: Sequence[int]) -> float:
    """The share that is one picture of the largest folder."""
    return 1 / max((2, *counts))


def _suits(recipe: Recipe, survey: Survey) -> bool:
    """Whether nobody would mind: enough pictures, each folder counting alike, and nothing that sd-scripts can't split.

    Folders whose pictures are repeated differently mean to weigh them, and a validation would not.
    """
    subsets = survey.pictures.subsets
    is_plain = not any(
        subset.is_reg or subset.metadata_file is not None or subset.masks is not None or subset.dataset_options
        for subset in subsets
    )
    is_even = len({subset.num_repeats for subset in subsets}) == 1
    is_listed = survey.pictures.captions is not None
    return is_plain and is_even and not is_listed and not recipe.sizes and sum(_counts(survey)) >= LEAST_PICTURES


def _counts(survey: Survey) -> list[int]:
    """Training pictures of each folder."""
    found = Counter(seen.facts.path.parent for seen in survey.distinct if not seen.subset.is_reg)
    return list(found.values())


def clean_share(counts: Sequence[int], wanted: float) -> float | None:
    """The share nearest to the wanted one that holds back each picture once, or trains on it, and never both.

    sd-scripts rounds what it trains on up and what it validates on to the nearest whole picture (split_train_val).
    """
    least, most = round(wanted * _GRID * (1 - _NEAR)), round(wanted * _GRID * (1 + _NEAR))
    grid = [part / _GRID for part in range(max(1, least), most + 1)]
    shares = [share for share in grid if share < 1 and all(_is_clean(count, share) for count in counts)]
    return min(shares, key=lambda share: abs(share - wanted), default=None)


def _is_clean(count: int, share: float) -> bool:
    return math.ceil(count * (1 - share)) == count - round(count * share)


def held_back(counts: Sequence[int], share: float) -> int:
    """Pictures that are validated on."""
    return sum(round(count * share) for count in counts)
