"""Import a TOML for sd-scripts' --config_file, such as the config_*.toml that the kohya_ss GUI writes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sdxl_train_cli import untrusted_files
from sdxl_train_cli.errors import Problem, RecipeError
from sdxl_train_cli.importers import values
from sdxl_train_cli.importers.foreign_settings import (
    NOT_IMPORTED,
    ForeignKey,
    ForeignSettings,
    became,
    ignored,
    unknown,
)

FORMAT = "sd-scripts TOML"
_SIGNS = frozenset(
    [
        "pretrained_model_name_or_path", "network_module", "network_dim", "optimizer_type", "learning_rate",
        "unet_lr", "lr_scheduler", "max_train_steps", "max_train_epochs", "train_batch_size", "mixed_precision",
        "resolution", "output_name", "gradient_checkpointing", "cache_latents"
    ]
)  # fmt: skip
_HOW_TO_TRAIN = frozenset(
    {"network_module", "learning_rate", "unet_lr", "optimizer_type", "max_train_steps", "max_train_epochs"}
)
_OTHER_MODELS: Mapping[str, str] = {
    "clip_l": "Flux or SD3",
    "clip_g": "SD3",
    "t5xxl": "Flux or SD3",
    "ae": "Flux",
    "gemma2": "Lumina",
    "qwen3": "Anima",
    "byt5": "HunyuanImage",
}
ONLY_FULL = frozenset(
    {"train_text_encoder", "learning_rate_te1", "learning_rate_te2", "block_lr", "fused_optimizer_groups"}
)
ONLY_EMBEDDING = frozenset(
    {"token_string", "init_word", "num_vectors_per_token", "use_object_template", "use_style_template"}
)
"""Options of the script for textual inversion alone."""
_GUI_ONLY: Mapping[str, str] = {
    "epoch": "only the GUI uses it, to compute max_train_steps",
    "noise_offset_type": "the GUI's own; sd-scripts ignores it",
    "stop_text_encoder_training": "sd-scripts ignores it",
    "no_token_padding": "sd-scripts ignores it",
    "sdxl": "sdxl-train trains nothing else",
}


def is_one(found: Mapping[str, object]) -> bool:
    """Whether a TOML file is a configuration of sd-scripts."""
    flat = {key for key, _, _ in _flat(found)}
    return bool(_SIGNS & flat) or "v2" in flat


def is_training(found: Mapping[str, object]) -> bool:
    """Whether a table says how to train, and not only what or with which pictures."""
    return not _HOW_TO_TRAIN.isdisjoint(key for key, _, _ in _flat(found))


def size(found: Mapping[str, object]) -> int:
    """How many options a table sets."""
    return len(list(_flat(found)))


def read(found: Mapping[str, object], where: str) -> ForeignSettings:
    """The file's options, in sections or not. RecipeError if they are not for SDXL."""
    flat = list(_flat(found))
    given = {key: raw for key, _, raw in flat}
    other = next((name for key, name in _OTHER_MODELS.items() if given.get(key)), None)
    if other is not None:
        raise RecipeError(Problem(f"is for {other}, not for SDXL", "import SDXL settings", where))
    if values.switch(given.get("v2")):
        raise RecipeError(Problem("is for Stable Diffusion 2, not for SDXL", "import SDXL settings", where))
    if ONLY_EMBEDDING & given.keys():
        raise RecipeError(Problem("trains a textual inversion", NOT_IMPORTED, where))
    has_network = any(key.startswith("network_") for key in given)
    is_full = not has_network and bool(ONLY_FULL & given.keys() or "unet_lr" not in given)
    return ForeignSettings(FORMAT, is_full, tuple(_entry(key, option, raw) for option, key, raw in flat))


def entries_of_text(text: str, where: str) -> tuple[ForeignKey, ...]:
    """What became of each key of a text in TOML. RecipeError if it is not for SDXL."""
    return read(untrusted_files.toml_table(text, where), where).entries


def text_of(table: Mapping[str, object]) -> str:
    """A table as such a file, without values that are none."""
    given = {option: raw for option, _, raw in _flat(table) if raw is not None}
    plain = {key: raw if isinstance(raw, bool | int | float | str | list) else str(raw) for key, raw in given.items()}
    return untrusted_files.toml_text(plain)


def _flat(found: Mapping[str, object]) -> Iterator[tuple[str, str, object]]:
    """Option, shown key and value. sd-scripts flattens the file's tables, whatever their names."""
    for key, raw in found.items():
        if isinstance(raw, dict):
            for inner, value in raw.items():
                yield inner, f"{key}.{inner}", value
        else:
            yield key, key, raw


def _entry(key: str, option: str, raw: object) -> ForeignKey:
    if option in _GUI_ONLY:
        return ignored(key, raw, _GUI_ONLY[option])
    try:
        value = values.convert(raw, option)
    except ValueError as error:
        return unknown(key, raw, str(error))
    if value is None:
        return ignored(key, raw, "empty")
    return became(key, raw, option, value if value is not False else None)
