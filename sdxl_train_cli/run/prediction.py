"""The recipe is set to what its base model predicts; one that says the opposite is refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sdxl_train_cli import language
from sdxl_train_cli.environment.environment import INSIDE, Environment
from sdxl_train_cli.errors import ModelError, Problem, RecipeError
from sdxl_train_cli.origin import Origin
from sdxl_train_cli.recipe import Kind, Recipe, Setting
from sdxl_train_cli.sdscripts.base_model import BaseModel, Prediction

V, ZERO_SNR = "v_parameterization", "zero_terminal_snr"
OF_BASE, OF_FLAG = Origin("the base model"), Origin("--prediction")
ORIGINS = (OF_BASE, OF_FLAG)
"""Of settings that nobody has typed: a repeated run finds them anew."""


@dataclass(frozen=True)
class PredictionChoice:
    """A recipe that trains what the base predicts."""

    recipe: Recipe
    prediction: Prediction
    note: str
    """What was found, and what was set for it."""
    warnings: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()
    """What several GPUs change."""


def settle(recipe: Recipe, base: BaseModel, asked: Prediction | None, model: str) -> PredictionChoice:
    """Set the recipe to what the base predicts, or to what `--prediction` says.

    Values of the recipe may still be text. Raises RecipeError where its settings say the opposite, and ModelError where
    only a person can tell.
    """
    if base.refused:
        return PredictionChoice(recipe, Prediction.EPSILON, "")  # told where the model is checked
    prediction, why = _known(recipe, base, asked)
    if prediction is None:
        raise ModelError(
            language.problem(
                "prediction-unknown",
                "unclear what {model} predicts: {doubt}",
                "say so once: --prediction v-ztsnr (NoobAI and most models of its kind), --prediction v,"
                " or --prediction epsilon (SDXL, Pony, Illustrious)",
                model=model,
                doubt=base.doubt,
            )
        )
    problems = list(_opposites(recipe, base, prediction, why, asked))
    if problems:
        raise RecipeError(problems)
    on = [option for option, is_on in prediction.options.items() if is_on]
    origin = OF_BASE if asked is None else OF_FLAG
    new = {option: Setting(value=True, origin=origin) for option in on if not _is_on(recipe, option)}
    settled = recipe.replaced(new)
    return PredictionChoice(settled, prediction, _note(settled, prediction, why), tuple(_against(base, asked)))


def difference(recipe: Recipe, base: BaseModel, asked: Prediction | None) -> str | None:
    """What to say of a run that goes on as it began, where its base predicts something else; None if all is well."""
    known = base.prediction if base.has_sign and asked is None else None
    if known is None or _is_on(recipe, V) == known.options[V]:
        return None
    began = trained(recipe).label
    return f"this run trains {began}, but the base predicts {known.label} ({base.reason}): better start anew"


def trained(recipe: Recipe) -> Prediction:
    """What a run with these settings trains."""
    return _meant(recipe) if _is_on(recipe, V) else Prediction.EPSILON


def marking(installed: Environment, recipe: Recipe, predicted: Prediction) -> tuple[str, ...]:
    """What puts the tensors into a checkpoint by which image programs know what it predicts."""
    is_needed = installed.trains and recipe.kind is Kind.DREAMBOOTH and predicted.tensors
    return (str(INSIDE / "marked.py"), ",".join(predicted.tensors)) if is_needed else ()


def _known(recipe: Recipe, base: BaseModel, asked: Prediction | None) -> tuple[Prediction | None, str]:
    """What the base predicts, and how that is known: a flag, a sign, else settings that a person has made."""
    if asked is not None:
        return asked, "as --prediction says"
    if base.has_sign and base.prediction is not None:
        return base.prediction, base.reason
    if _is_on(recipe, V):
        return (Prediction.V_ZERO_SNR if _is_on(recipe, ZERO_SNR) else Prediction.V), f"as {recipe.origin(V)} says"
    if base.predicts_v and V in recipe.settings:
        return Prediction.V, base.reason  # it is switched off: the opposite
    if base.predicts_v and ZERO_SNR in recipe.settings:
        told = Prediction.V_ZERO_SNR if _is_on(recipe, ZERO_SNR) else Prediction.V
        return told, f"{base.reason}, and {recipe.origin(ZERO_SNR)}"
    return base.prediction, base.reason


def _opposites(
    recipe: Recipe, base: BaseModel, prediction: Prediction, why: str, asked: Prediction | None
) -> Iterator[Problem]:
    """Yield a problem for each setting that would train something else, with both ways out."""
    for option, wanted in prediction.options.items():
        if option not in recipe.settings or _is_on(recipe, option) == wanted:
            continue
        if option == ZERO_SNR and prediction is Prediction.EPSILON:
            continue  # sd-scripts goes on with a warning, and so does a rule of ours
        state, other = ("on", _meant(recipe)) if _is_on(recipe, option) else ("off", _without(option))
        where = "the base predicts" if asked is None else "the base is said to predict"
        message = f"{option} is {state}, and {where} {prediction.label} ({why})"
        other_base = f"or, if the base is of another kind: --prediction {other.value}"
        if base.predicts_v and asked is None:  # without the option, the schedule is still to be told
            drop = f"--set {option}=null --prediction v-ztsnr, or --set {option}=null --prediction v"
            yield recipe.problem(option, message, f"{drop}\n{other_base}")
        else:
            yield recipe.problem_of_setting(option, message, other_base)


def _meant(recipe: Recipe) -> Prediction:
    return Prediction.V_ZERO_SNR if _is_on(recipe, ZERO_SNR) else Prediction.V


def _without(option: str) -> Prediction:
    """What a base predicts that is trained with the option off."""
    return Prediction.V if option == ZERO_SNR else Prediction.EPSILON


def _against(base: BaseModel, asked: Prediction | None) -> Iterator[Problem]:
    is_against = base.has_sign and base.prediction not in {None, asked}
    if asked is not None and (is_against or (base.predicts_v and asked is Prediction.EPSILON)):
        told = Prediction.V.label if base.prediction is None else base.prediction.label
        yield Problem(
            f"--prediction {asked.value} is trained, but the base predicts {told} ({base.reason})",
            "right where a base is to be turned into another kind, which takes a long training; else omit --prediction",
        )


def _note(recipe: Recipe, prediction: Prediction, why: str) -> str:
    on = [option for option, is_on in prediction.options.items() if is_on]
    then = f", so {' and '.join(on)} {'are' if len(on) > 1 else 'is'} on" if on else ""
    then += " and min_snr_gamma weighs for v" if on and recipe.get("min_snr_gamma") else ""
    return f"the base predicts {prediction.label} ({why}){then}"


def _is_on(recipe: Recipe, option: str) -> bool:
    """`--set` gives text."""
    return str(recipe.get(option)).lower() == "true"
