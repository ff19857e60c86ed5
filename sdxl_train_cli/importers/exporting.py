"""Export a preset for other programs: sd-scripts' TOML, a command line, or a form of the kohya_ss GUI."""

from __future__ import annotations

from collections.abc import Iterator

from sdxl_train_cli import untrusted_files
from sdxl_train_cli.errors import Problem, RecipeError
from sdxl_train_cli.importers import kohya_form
from sdxl_train_cli.importers.kohya_form import FilledForm
from sdxl_train_cli.recipe import Kind, Recipe, Scalar, Value


def toml(recipe: Recipe) -> str:
    """A file for sd-scripts' --config_file."""
    return untrusted_files.toml_text({option: _plain(value) for option, value in _given(recipe)})


def command(recipe: Recipe) -> list[str]:
    """The words of a command line. The user must add model, pictures and output."""
    words = ["accelerate", "launch", f"--mixed_precision={recipe.get('mixed_precision') or 'no'}", recipe.kind.script]
    for option, value in _given(recipe):
        words += _words(option, value)
    return words


def kohya_gui(recipe: Recipe) -> FilledForm:
    """A form of the GUI, and the options that it can't hold. RecipeError for an embedding, whose form is another."""
    if recipe.kind is Kind.EMBEDDING:
        raise RecipeError(Problem("the GUI's form of an embedding is not written", "--format command, or toml"))
    return kohya_form.fill(recipe.kind, dict(_given(recipe)))


def _given(recipe: Recipe) -> Iterator[tuple[str, Value]]:
    """Options with an effect. A switch that is off has none."""
    for option, setting in sorted(recipe.settings.items()):
        if setting.value is not False:
            yield option, setting.value


def _plain(value: Value) -> object:
    return list(value) if isinstance(value, tuple) else value


def _words(option: str, value: Value) -> list[str]:
    flag = f"--{option}"
    if value is True:
        return [flag]
    if isinstance(value, tuple):
        return [flag, *map(_text, value)]
    return [f"{flag}={_text(value)}"]


def _text(value: Scalar) -> str:
    return repr(value) if isinstance(value, float) else str(value)
