"""Import a TOML of derrian-distro's LoRA_Easy_Training_Scripts: sections args and dataset_args, and subsets.

Follows MainUI.save_toml and process_toml, and the backend's validation, of that project.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sdxl_train_cli.errors import Problem, RecipeError
from sdxl_train_cli.importers import option_translation, values
from sdxl_train_cli.importers.foreign_settings import (
    NOT_IMPORTED,
    ForeignKey,
    ForeignSettings,
    became,
    computed,
    ignored,
    shown,
    unknown,
)
from sdxl_train_cli.recipe import Value
from sdxl_train_cli.sdscripts import key_values, lycoris

FORMAT = "LoRA_Easy_Training_Scripts TOML"
_OF_THE_UI: Mapping[str, str] = {
    **dict.fromkeys(
        ("easy_name", "save_toml", "save_toml_location", "tag_occurrence", "tag_file_location"),
        "is used only by that program",
    ),
    "sdxl": "decides how other keys are read",
    "fa": "decides how other keys are read",
}
_RENAMED: Mapping[str, str] = {"batch_size": "train_batch_size", "warmup_ratio": "lr_warmup_steps"}
_OF_A_SUBSET = frozenset(
    [
        "shuffle_caption", "keep_tokens", "flip_aug", "color_aug", "random_crop", "caption_dropout_rate",
        "caption_dropout_every_n_epochs", "caption_tag_dropout_rate", "token_warmup_min", "token_warmup_step",
        "face_crop_aug_range", "keep_tokens_separator", "caption_prefix", "caption_suffix",
        "secondary_separator", "enable_wildcard"
    ]
)  # fmt: skip
_EXTRA_PACKAGE = "LoraEasyCustomOptimizer"
_OWN_OPTIMIZERS: Mapping[str, str] = {
    "came": f"{_EXTRA_PACKAGE}.came.CAME",
    "compass": f"{_EXTRA_PACKAGE}.compass.Compass",
    "lpfadamw": f"{_EXTRA_PACKAGE}.lpfadamw.LPFAdamW",
    "rmsprop": f"{_EXTRA_PACKAGE}.rmsprop.RMSProp",
}
_MISSING = "missing: the package {package} is not installed by setup; put it into the environment yourself"
_LOST_ZERO = "that program drops this zero and trains with sd-scripts' default; here the zero is kept"
_ONCE_PER_RUN = "the subsets differ in it, and a preset has one value"


def is_one(found: Mapping[str, object]) -> bool:
    """Whether a TOML file has this program's sections."""
    sections = [part for part in found.values() if isinstance(part, dict)]
    return "train_mode" in found or any({"args", "dataset_args"} & part.keys() for part in sections)


def read(found: Mapping[str, object], where: str) -> ForeignSettings:
    """The file's options. RecipeError if they are not for an SDXL network."""
    args = {name: _table(part, "args") for name, part in found.items()}
    _require_sdxl(found, args, where)
    network = args.get("network_args", {})
    scheduler = bool(args.get("optimizer_args", {}).get("lr_scheduler_type"))
    entries: list[ForeignKey] = []
    for section, part in found.items():
        if section in {"subsets", "train_mode"}:
            continue
        if not isinstance(part, dict):
            entries.append(unknown(section, part, "is not a section that this program knows"))
            continue
        for key, raw in _table(part, "args").items():
            entries += _entries(f"{section}.{key}", key, raw, custom_schedule=scheduler)
        for key, raw in _table(part, "dataset_args").items():
            entries += _entries(f"{section}.{key}", key, raw, custom_schedule=False)
        entries += [unknown(f"{section}.{key}", raw, "is not part of a section")
                    for key, raw in part.items() if key not in {"args", "dataset_args"}]  # fmt: skip
    entries += _module(network)
    entries += _subsets(found.get("subsets"))
    entries.append(
        ignored("train_mode", _table(found, "train_mode").get("train_mode", "lora"), "decides how other keys are read")
    )
    return ForeignSettings(FORMAT, full=False, entries=tuple(entries))


def _table(part: object, key: str) -> Mapping[str, object]:
    inner = part.get(key) if isinstance(part, dict) else None
    return inner if isinstance(inner, dict) else {}


def _require_sdxl(found: Mapping[str, object], args: Mapping[str, Mapping[str, object]], where: str) -> None:
    mode = _table(found, "train_mode").get("train_mode", "lora")
    if mode != "lora":
        raise RecipeError(Problem("trains a textual inversion", NOT_IMPORTED, where))
    if args.get("flux_args"):
        raise RecipeError(Problem("is for Flux, not for SDXL", "import SDXL settings", where))
    if not values.switch(args.get("general_args", {}).get("sdxl")):
        hint = "if it is meant for SDXL, set sdxl = true in [general_args.args]"
        raise RecipeError(Problem("is for Stable Diffusion 1 or 2, not for SDXL", hint, where))


def _entries(key: str, option: str, raw: object, *, custom_schedule: bool) -> Iterator[ForeignKey]:
    if option in _OF_THE_UI:
        yield ignored(key, raw, _OF_THE_UI[option])
        return
    if isinstance(raw, dict):
        yield from _mapping(key, option, raw)
        return
    if option == "optimizer_type" and isinstance(raw, str):
        yield _optimizer(key, raw)
        return
    if custom_schedule and option in {"lr_scheduler_num_cycles", "warmup_ratio"}:
        yield ignored(key, raw, "counts in steps of its own schedule, which setup does not install")
        return
    try:
        value = values.convert(raw, option)
    except ValueError as error:
        yield unknown(key, raw, str(error))
        return
    if value is None or value is False:
        yield ignored(key, raw, "off")
    elif value == 0 and value is not True and not option_translation.is_off(option, value):
        yield became(key, raw, option, value, _LOST_ZERO)
    elif option == "lr_scheduler_type" and "." in str(value):
        yield became(key, raw, option, value, _MISSING.format(package=str(value).partition(".")[0]))
    else:
        yield became(key, raw, _RENAMED.get(option, option), value)


def _optimizer(key: str, raw: str) -> ForeignKey:
    name = raw.strip()
    full = _OWN_OPTIMIZERS.get(name.lower(), name)
    if "." not in full:
        return became(key, raw, "optimizer_type", name or None)
    note = _MISSING.format(package=full.partition(".")[0])
    return computed(key, raw, "optimizer_type", full, note)


def _mapping(key: str, option: str, raw: Mapping[str, object]) -> Iterator[ForeignKey]:
    """Convert a table of arguments to a list of key=value."""
    if option not in key_values.OPTIONS:
        yield unknown(key, raw, "is not a plain value")
        return
    words = []
    for name, value in raw.items():
        text = _text(value)
        if text is None:
            yield ignored(f"{key}.{name}", value, "off")
        elif not f"{name}{text}".isprintable():
            yield unknown(f"{key}.{name}", value, "has line breaks or control characters, which no option accepts")
        else:
            words.append(f"{name}={text}")
    yield became(key, ", ".join(words), option, tuple(words) or None)


def _text(value: object) -> str | None:
    """An argument as text. None if it is off."""
    if isinstance(value, list):
        return ",".join(map(str, value)) or None
    if isinstance(value, str) and value.lower() in {"true", "false"}:
        return value.capitalize()
    if isinstance(value, bool):
        return "True" if value else None
    return None if value in (None, "") or isinstance(value, dict) else str(value)


def _module(network: Mapping[str, object]) -> Iterator[ForeignKey]:
    arguments = _table(network, "network_args")
    module = lycoris.MODULE if "algo" in arguments else "networks.dylora" if "unit" in arguments else None
    module = module or ("networks.lora_fa" if values.switch(network.get("fa")) else "networks.lora")
    yield computed("network_args", arguments.get("algo", ""), "network_module", module, "by the network's arguments")


def _subsets(raw: object) -> Iterator[ForeignKey]:
    """Values common to all subsets become options. Their folders and repeats belong to the dataset."""
    subsets = [part for part in raw if isinstance(part, dict)] if isinstance(raw, list) else []
    for key in sorted({key for subset in subsets for key in subset}):
        given = [subset.get(key) for subset in subsets]
        text = ", ".join(shown(value) for value in given)
        if key not in _OF_A_SUBSET:
            yield ignored(f"subsets.{key}", text, "belongs to the pictures, which are read again")
            continue
        found: set[Value | None] = set()
        try:
            found = {values.convert(value, key) or None for value in given}
        except ValueError as error:
            yield unknown(f"subsets.{key}", text, str(error))
            continue
        if len(found) > 1:
            yield ignored(f"subsets.{key}", text, _ONCE_PER_RUN)
        elif (value := found.pop()) is None:
            yield ignored(f"subsets.{key}", text, "off")
        else:
            yield became(f"subsets.{key}", text, key, value)
