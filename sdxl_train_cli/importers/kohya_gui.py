"""Import a JSON file of the kohya_ss GUI (tabs LoRA, Dreambooth, Finetuning) as the options it would launch.

Follows kohya_gui/lora_gui.py, dreambooth_gui.py, finetune_gui.py and common_gui.py of bmaltais/kohya_ss.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sdxl_train_cli.errors import Problem, RecipeError
from sdxl_train_cli.importers import command_line, networks, values
from sdxl_train_cli.importers.foreign_settings import (
    NOT_IMPORTED,
    ForeignKey,
    ForeignSettings,
    KeyFate,
    became,
    computed,
    ignored,
    shown,
    unknown,
)
from sdxl_train_cli.importers.kohya_fields import (
    ARGUMENT_DEFAULTS,
    ARGUMENT_NAMES,
    FIELDS,
    FORM_DEFAULTS,
    LORA_DEFAULTS,
    NETWORK_KEYS,
    NETWORKS,
    NO_OPTION,
    OTHER_MODELS,
    OTHER_MODELS_KEYS,
    FieldForm,
)
from sdxl_train_cli.recipe import Value

FORMAT = "kohya_ss GUI"
_SIGNS = frozenset(
    {"LoRA_type", "sdxl", "sdxl_checkbox", "optimizer", "max_resolution", "lr_warmup", "additional_parameters"}
)
_PERCENT = 100
_LONGEST_ARGUMENT = 1_000
_SPECIAL = frozenset(
    [
        "LoRA_type", "additional_parameters", "epoch", "lr_warmup", "lr_warmup_steps", "max_train_epochs",
        "max_train_steps", "text_encoder_lr", "unet_lr", "t5xxl_lr", "xformers", "noise_offset",
        "adaptive_noise_scale", "noise_offset_random_strength", "multires_noise_iterations",
        "multires_noise_discount", "train_text_encoder"
    ]
)  # fmt: skip
_NOISE: Mapping[str, tuple[str, ...]] = {
    "Original": ("noise_offset", "adaptive_noise_scale", "noise_offset_random_strength"),
    "Multires": ("multires_noise_iterations", "multires_noise_discount"),
}
_LOST_ZEROS = frozenset({"max_grad_norm", "prior_loss_weight"})
_NOT_IN_FINETUNE = frozenset({"max_grad_norm", "lr_scheduler_num_cycles", "lr_scheduler_power", "prior_loss_weight"})


@dataclass(frozen=True)
class _Form:
    """A filled-in form."""

    fields: Mapping[str, object]
    tab: str

    def number(self, key: str) -> float:
        """A field's number. 0 if it is empty or not a number."""
        return values.number(self.fields.get(key)) or 0


def is_one(found: Mapping[str, object]) -> bool:
    """Whether a JSON object is a form of the GUI."""
    return len(_SIGNS & found.keys()) >= 2 or bool({"LoRA_type", "sdxl_checkbox"} & found.keys())  # noqa: PLR2004


def read(found: Mapping[str, object], where: str) -> ForeignSettings:
    """The form's options. RecipeError if it is not for SDXL."""
    _require_sdxl(found, where)
    form = _Form(_migrated(found), _tab(found))
    entries = [
        *_defaults(form),
        *_plain(form),
        *_noise(form),
        *_length(form),
        *_warmup(form),
        *_attention(form),
        *(_network(form, where) if form.tab == "LoRA" else ()),
        *(_rates(form) if form.tab == "LoRA" else _text_encoders(form)),
    ]
    additional = list(_additional(form))
    told = {entry.key for entry in entries} | ({"additional_parameters"} if additional else set())
    unused = [(key, raw) for key, raw in form.fields.items() if key not in told]
    entries += [*additional, *(ignored(key, raw, "this tab has no such field") for key, raw in unused)]
    return ForeignSettings(f"{FORMAT}, {form.tab} tab", form.tab != "LoRA", tuple(entries))


def _require_sdxl(found: Mapping[str, object], where: str) -> None:
    if "num_vectors_per_token" in found:
        raise RecipeError(Problem("trains a textual inversion", NOT_IMPORTED, where))
    other = next((name for key, name in OTHER_MODELS.items() if values.switch(found.get(key))), None)
    if other is not None:
        raise RecipeError(Problem(f"is for {other}, not for SDXL", "import SDXL settings", where))
    if not values.switch(found.get("sdxl")) and not values.switch(found.get("sdxl_checkbox")):
        hint = 'rates and sizes for it do not suit SDXL; if it is meant for SDXL, set "sdxl": true in the file'
        raise RecipeError(Problem("is for Stable Diffusion 1 or 2, not for SDXL", hint, where))


def _tab(found: Mapping[str, object]) -> str:
    if {"LoRA_type", "network_dim", "unet_lr"} & found.keys():
        return "LoRA"
    finetune = {"sdxl_checkbox", "image_folder", "dataset_repeats", "use_latent_files"}
    return "Finetuning" if finetune & found.keys() else "Dreambooth"


def _migrated(found: Mapping[str, object]) -> dict[str, object]:
    """The form with keys of older GUI versions renamed."""
    fields = dict(found)
    if "optimizer" not in fields and values.switch(fields.get("use_8bit_adam")):
        fields["optimizer"] = "AdamW8bit"
    if isinstance(fields.get("xformers"), bool):
        fields["xformers"] = "xformers" if fields["xformers"] else "none"
    if str(fields.get("save_model_as") or "safetensors") not in {"safetensors", "ckpt"} and "LoRA_type" in fields:
        fields["save_model_as"] = "safetensors"
    return fields


def _defaults(form: _Form) -> Iterator[ForeignKey]:
    """The form's defaults for keys that the file lacks."""
    given = {**FORM_DEFAULTS, **(LORA_DEFAULTS if form.tab == "LoRA" else {})}
    for key, value in given.items():
        if key in FIELDS and key not in form.fields:
            option = FIELDS[key].option
            yield ForeignKey(
                f"({key})",
                shown(value),
                KeyFate.COMPUTED,
                option,
                _of(value, option),
                "not in the file: the GUI's own value",
            )
    if form.tab == "Finetuning" and "enable_bucket" in form.fields:
        yield computed("enable_bucket", form.fields["enable_bucket"], "enable_bucket", True, "always on in this tab")


def _of(value: object, option: str) -> Value | None:
    return values.convert(value, option)


def _plain(form: _Form) -> Iterator[ForeignKey]:
    for key, raw in form.fields.items():
        if key in _SPECIAL or (form.tab == "LoRA" and key in NETWORK_KEYS):
            continue
        if key in NO_OPTION:
            yield ignored(key, raw, NO_OPTION[key])
        elif key in FIELDS:
            yield _field(form, key, raw)
        elif re.fullmatch(OTHER_MODELS_KEYS, key):
            yield ignored(key, raw, "is for a model other than SDXL")
        elif key not in OTHER_MODELS and key not in NETWORK_KEYS:
            yield unknown(key, raw, "the GUI has no such key")
        else:
            yield ignored(key, raw, "is for a model other than SDXL" if key in OTHER_MODELS else "is for LoRA only")


def _field(form: _Form, key: str, raw: object) -> ForeignKey:
    field = FIELDS[key]
    if form.tab == "Finetuning" and key in _NOT_IN_FINETUNE | {"enable_bucket"}:
        return ignored(key, raw, "this tab does not pass it on")
    try:
        value = _formed(field.form, raw, field.option)
    except ValueError as error:
        return unknown(key, raw, str(error))
    zero_lost = key in _LOST_ZEROS and form.tab == "LoRA" and value == 0 and value is not False
    note = "the GUI drops this zero and trains with 1; here the zero is kept" if zero_lost else ""
    return became(key, raw, field.option, value, note)


def _formed(form: FieldForm, raw: object, option: str) -> Value | None:
    """A field's value as the option's. None if it has no effect."""
    if raw in (None, ""):
        return None
    if form is FieldForm.SWITCH:
        return values.switch(raw) or None
    if form is FieldForm.TEXT:
        return _of(raw, option) if raw is not False else None
    if form is FieldForm.WORDS:
        return _of(values.split_words(raw), option)
    number = values.number(int(raw) if isinstance(raw, bool) else raw)
    if number is None:
        raise ValueError("is not a number")
    if isinstance(number, float) and number.is_integer() and option in _WHOLE:
        number = int(number)
    return None if form is FieldForm.OFF_AT_ZERO and number == 0 else number


_WHOLE = frozenset(
    [
        "gradient_accumulation_steps", "caption_dropout_every_n_epochs", "train_batch_size", "keep_tokens",
        "max_bucket_reso", "min_bucket_reso", "bucket_reso_steps", "network_dim", "max_train_epochs",
        "max_train_steps", "seed", "max_token_length", "max_data_loader_n_workers"
    ]
)  # fmt: skip


def _noise(form: _Form) -> Iterator[ForeignKey]:
    chosen = str(form.fields.get("noise_offset_type") or "Original")
    for kind, keys in _NOISE.items():
        for key in keys:
            if key not in form.fields:
                continue
            raw = form.fields[key]
            if form.tab == "LoRA" and kind != chosen:
                yield ignored(key, raw, f"noise_offset_type is {shown(chosen)}")
            elif key == "adaptive_noise_scale" and not form.number("noise_offset"):
                yield ignored(key, raw, "does nothing without noise_offset")
            elif key == "multires_noise_discount" and not form.number("multires_noise_iterations"):
                yield ignored(key, raw, "does nothing without multires_noise_iterations")
            else:
                yield _field(form, key, raw)


def _length(form: _Form) -> Iterator[ForeignKey]:
    epochs, steps = int(form.number("max_train_epochs")), int(form.number("max_train_steps"))
    fields = form.fields
    for key, counts in (("max_train_epochs", epochs > 0), ("max_train_steps", steps > 0 and epochs <= 0)):
        if counts:
            yield became(key, fields[key], key, epochs if key == "max_train_epochs" else steps)
        elif key in fields:
            yield ignored(key, fields[key], "max_train_epochs counts" if form.number(key) else "empty")
    passes = int(form.number("epoch"))
    if epochs > 0 or steps > 0 or passes <= 0:
        if "epoch" in fields:
            yield ignored("epoch", fields["epoch"], "max_train_epochs or max_train_steps counts")
        return
    note = "the GUI makes as many steps of your pictures"
    if "max_train_steps" not in fields:
        note += "; its form of today would put 1600 steps in their place"
    yield computed("epoch", fields["epoch"], "max_train_epochs", passes, note)


def _warmup(form: _Form) -> Iterator[ForeignKey]:
    steps, percent = form.number("lr_warmup_steps"), form.number("lr_warmup")
    if "lr_warmup" in form.fields:
        raw = form.fields["lr_warmup"]
        if steps > 0 and percent:
            yield ignored("lr_warmup", raw, "lr_warmup_steps counts")
        else:
            share = percent / _PERCENT if percent else 0
            yield computed("lr_warmup", raw, "lr_warmup_steps", share, "percent of all steps, as a share")
    if "lr_warmup_steps" in form.fields:
        raw = form.fields["lr_warmup_steps"]
        if steps > 0:
            yield became("lr_warmup_steps", raw, "lr_warmup_steps", int(steps))
        else:
            yield ignored("lr_warmup_steps", raw, "lr_warmup counts")


def _attention(form: _Form) -> Iterator[ForeignKey]:
    raw = form.fields.get("xformers", FORM_DEFAULTS["xformers"])
    key = "xformers" if "xformers" in form.fields else "(xformers)"
    if raw in {"xformers", "sdpa"} if isinstance(raw, str) else False:
        yield became(key, raw, str(raw), True)
    else:
        yield ignored(key, raw, "no attention is chosen: the base preset's is kept, which gives the same result")


def _network(form: _Form, where: str) -> Iterator[ForeignKey]:
    chosen = form.fields.get("LoRA_type") or "Standard"
    network = NETWORKS.get(chosen) if isinstance(chosen, str) else None
    if network is None:
        raise RecipeError(Problem(f"LoRA_type {shown(chosen)} is not for SDXL", "import SDXL settings", where))
    arguments: dict[str, str] = {"algo": network.algo} if network.algo else {}
    for key in sorted(NETWORK_KEYS & (form.fields.keys() | set(network.always))):
        raw = form.fields.get(key, ARGUMENT_DEFAULTS.get(key))
        if key not in network.arguments:
            yield ignored(key, raw, f"is not for LoRA_type {shown(chosen)}")
            continue
        try:
            text = _argument(key, raw, always=key in network.always)
        except ValueError as error:
            yield unknown(key, raw, str(error))
            continue
        if text is None:
            yield ignored(key, raw, "off")
            continue
        name = "block_size" if key == "unit" and network.algo else ARGUMENT_NAMES.get(key, key)
        arguments[name] = text
        what = KeyFate.TAKEN if name == key else KeyFate.RENAMED
        yield ForeignKey(key, shown(raw), what, note=f"network_args {shown(name)}={shown(text)}")
    yield computed("LoRA_type", chosen, "network_module", network.module, "")
    if arguments:
        yield computed(
            "LoRA_type", chosen, "network_args", _of(list(networks.format_pairs(arguments) or ()), "network_args"), ""
        )
    else:
        yield computed("LoRA_type", chosen, "network_args", None, "")


def _argument(key: str, raw: object, *, always: bool) -> str | None:
    """An argument as text. None if it is off or equals the network's default."""
    if isinstance(raw, bool) or (isinstance(raw, str) and raw.lower() in {"true", "false"}):
        return "True" if values.switch(raw) else None
    number = values.number(raw)
    if number is not None:
        whole = isinstance(number, float) and number.is_integer() and key != "conv_alpha"
        text = str(int(number)) if whole else str(number)
        is_default = key == "factor" and number == ARGUMENT_DEFAULTS[key]
        return text if always or (number != 0 and not is_default) else None
    if not isinstance(raw, str) or not raw.strip() or raw == ARGUMENT_DEFAULTS.get(key):
        return None
    text = raw.strip()
    if len(text) > _LONGEST_ARGUMENT or not text.isprintable() or re.search(r"\s", text):
        raise ValueError("is not one word, and a network argument must be")
    return text


def _rates(form: _Form) -> Iterator[ForeignKey]:
    """Which parts are trained depends on their rates."""
    rates = {}
    for key in ("text_encoder_lr", "unet_lr"):
        raw = form.fields.get(key, LORA_DEFAULTS[key])
        rate = rates[key] = values.number(0 if raw in (None, "") else raw) or 0
        name = key if key in form.fields else f"({key})"
        note = "" if key in form.fields else "not in the file: the GUI's own value"
        yield ForeignKey(name, shown(raw), KeyFate.TAKEN if not note else KeyFate.COMPUTED, key,
                    None if not rate else (rate,) if key == "text_encoder_lr" else rate, note)  # fmt: skip
    if rates["text_encoder_lr"] == 0 and rates["unet_lr"] != 0:
        note = "its rate of 0 means that the text encoders are not trained"
        yield computed("text_encoder_lr", form.fields.get("text_encoder_lr"), "network_train_unet_only", True, note)
    elif rates["unet_lr"] == 0 and rates["text_encoder_lr"] != 0:
        note = "its rate of 0 means that the U-Net is not trained"
        yield computed("unet_lr", form.fields.get("unet_lr"), "network_train_text_encoder_only", True, note)
    if "t5xxl_lr" in form.fields:
        yield ignored("t5xxl_lr", form.fields["t5xxl_lr"], "is for a model other than SDXL")


def _text_encoders(form: _Form) -> Iterator[ForeignKey]:
    trained = form.fields.get("train_text_encoder")
    if form.tab == "Dreambooth":
        by_rate = form.number("learning_rate_te1") > 0 or form.number("learning_rate_te2") > 0
        if trained is not None:
            yield ignored("train_text_encoder", trained, "in this tab the rates of the text encoders decide")
        note = (
            "a rate above 0 trains the text encoder" if by_rate else "without a rate the text encoders are not trained"
        )
        yield computed(
            "learning_rate_te1", form.fields.get("learning_rate_te1"), "train_text_encoder", by_rate or None, note
        )
    elif "train_text_encoder" in form.fields:
        yield became("train_text_encoder", trained, "train_text_encoder", values.switch(trained) or None)


def _additional(form: _Form) -> Iterator[ForeignKey]:
    """Parameters that follow the config file on the command line and override the form."""
    text = form.fields.get("additional_parameters")
    if not isinstance(text, str) or not text.strip():
        if text not in (None, ""):
            yield unknown("additional_parameters", text, "is not text")
        elif text == "":
            yield ignored("additional_parameters", text, "empty")
        return
    words: Sequence[str] = values.split_words(text)
    yield from command_line.flags(words, prefix="additional_parameters ")
