"""Build a kohya_ss GUI form that launches the same training. Options without a field go to additional_parameters."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sdxl_train_cli.importers import networks, option_translation
from sdxl_train_cli.importers.kohya_fields import (
    ARGUMENT_DEFAULTS,
    ARGUMENT_NAMES,
    FIELDS,
    NETWORKS,
    FieldForm,
    GuiField,
    GuiNetwork,
)
from sdxl_train_cli.recipe import Kind, Scalar, Value
from sdxl_train_cli.sdscripts import shipped

_OF_THE_TAB: Mapping[bool, frozenset[str]] = {
    # Fields that one of the tabs lacks or ignores. As flags they work.
    False: frozenset({"block_lr", "fused_backward_pass", "fused_optimizer_groups", "train_text_encoder",
                      "learning_rate_te1", "learning_rate_te2", "disable_mmap_load_safetensors"}),
    True: frozenset({"max_grad_norm", "prior_loss_weight", "lr_scheduler_num_cycles", "lr_scheduler_power", "highvram",
                     "training_comment", "network_alpha", "network_dim", "network_dropout", "scale_weight_norms",
                     "network_weights", "dim_from_weights", "enable_bucket", "vae"}),
}  # fmt: skip
_ZERO_IS_LOST = frozenset({"max_grad_norm", "prior_loss_weight", "learning_rate", "huber_c", "huber_scale",
                           "network_alpha"})  # fmt: skip
_SPECIAL = frozenset(
    [
        "network_module", "network_args", "text_encoder_lr", "unet_lr", "network_train_unet_only",
        "network_train_text_encoder_only", "sdpa", "xformers", "max_train_epochs", "max_train_steps",
        "lr_warmup_steps", "noise_offset", "adaptive_noise_scale", "noise_offset_random_strength",
        "multires_noise_iterations", "multires_noise_discount"
    ]
)  # fmt: skip
_MULTIRES = ("multires_noise_iterations", "multires_noise_discount")
_OFFSET = ("noise_offset", "adaptive_noise_scale", "noise_offset_random_strength")
_NOT_WRITABLE = re.compile(r"[\s\"']")
_PERCENT = 100


@dataclass(frozen=True)
class FilledForm:
    """A filled-in form, and the options that it can't express."""

    fields: Mapping[str, object]
    lost: tuple[str, ...]


def fill(kind: Kind, given: Mapping[str, Value]) -> FilledForm:
    """Fill in the form of the tab LoRA or Finetuning."""
    full = kind is Kind.DREAMBOOTH
    fields: dict[str, object] = {"sdxl_checkbox" if full else "sdxl": True}
    flags: dict[str, Value] = {}
    by_option = {field.option: (key, field) for key, field in FIELDS.items() if key != "lora_network_weights"}
    for option, (key, field) in by_option.items():
        if option in _SPECIAL or option in option_translation.STAYS or option in _OF_THE_TAB[full]:
            continue
        fields[key] = _filled(field, given.get(option))
    for option, value in given.items():
        has_field = option in by_option and option not in _OF_THE_TAB[full] and option not in option_translation.STAYS
        loses_zero = not full and option in _ZERO_IS_LOST and option_translation.means_same(value, 0)
        if option not in _SPECIAL and (not has_field or loses_zero or not _fits(by_option[option][1], value)):
            flags[option] = value
    fields |= _attention(given) | _length(given)
    for made, more in (_noise(given, full=full), _warmup(given), ({}, {}) if full else _network(given)):
        fields |= made
        flags |= more
    fields["additional_parameters"] = " ".join(_flags(flags))
    lost = {option for option in flags if not _writable(flags[option])}
    if full and not given.get("enable_bucket"):
        lost.add("enable_bucket=false")  # the tab always turns it on
    return FilledForm(dict(sorted(fields.items())), tuple(sorted(lost)))


def _filled(field: GuiField, value: Value | None) -> object:
    """A field's content. An empty field stands for an option that is left out."""
    if field.form is FieldForm.SWITCH:
        return value is True
    if value is None:
        off = option_translation.value_when_off(field.option)
        absent = {FieldForm.OFF_AT_ZERO: 0, FieldForm.NUMBER: "" if off is None else off}
        return absent.get(field.form, "")
    if field.form is FieldForm.WORDS:
        return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return ",".join(map(str, value)) if isinstance(value, tuple) else value


def _fits(field: GuiField, value: Value) -> bool:
    """Whether the field yields this value again."""
    if field.form is FieldForm.OFF_AT_ZERO:
        return not option_translation.means_same(value, 0) or option_translation.is_off(field.option, value)
    if field.form is FieldForm.WORDS:
        return _writable(value)
    return True


def _attention(given: Mapping[str, Value]) -> dict[str, object]:
    return {"xformers": "sdpa" if given.get("sdpa") else "xformers" if given.get("xformers") else "none"}


def _length(given: Mapping[str, Value]) -> dict[str, object]:
    epochs, steps = given.get("max_train_epochs"), given.get("max_train_steps")
    default = shipped.default_number("max_train_steps")
    return {"epoch": 0, "max_train_epochs": epochs or 0, "max_train_steps": steps or (0 if epochs else default)}


def _noise(given: Mapping[str, Value], *, full: bool) -> tuple[dict[str, object], dict[str, Value]]:
    multires = bool(given.get("multires_noise_iterations"))
    shown, hidden = (_MULTIRES, _OFFSET) if multires else (_OFFSET, _MULTIRES)
    fields: dict[str, object] = {"noise_offset_type": "Multires" if multires else "Original"}
    for option in (*_OFFSET, *_MULTIRES):
        default = False if option == "noise_offset_random_strength" else option_translation.value_when_off(option)
        fields[option] = given.get(option, default) if full or option in shown else default
    flags = {} if full else {option: given[option] for option in hidden if option in given}
    return fields, flags


def _warmup(given: Mapping[str, Value]) -> tuple[dict[str, object], dict[str, Value]]:
    value = given.get("lr_warmup_steps", 0)
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return {"lr_warmup": 0, "lr_warmup_steps": value}, {}
    share = float(value) if isinstance(value, int | float) else 0.0
    percent = round(share * _PERCENT, 6)
    fits = percent.is_integer() and option_translation.means_same(percent / _PERCENT, value)
    fields = {"lr_warmup": int(percent) if fits else 0, "lr_warmup_steps": 0}
    return dict(fields), {} if fits else {"lr_warmup_steps": value}


def _network(given: Mapping[str, Value]) -> tuple[dict[str, object], dict[str, Value]]:
    module, arguments = str(given.get("network_module", "")), networks.parse_pairs(given.get("network_args"))
    found = next((name for name, network in NETWORKS.items() if _holds(network, module, arguments)), None)
    fields: dict[str, object] = {"LoRA_type": found or "Standard"}
    flags: dict[str, Value] = {}
    if found is None:
        flags |= {option: given[option] for option in ("network_module", "network_args") if option in given}
    else:
        fields |= _arguments(NETWORKS[found], arguments)
    rates, more = _rates(given)
    return fields | rates, flags | more


def _holds(network: GuiNetwork, module: str, arguments: Mapping[str, str]) -> bool:
    """Whether this LoRA_type launches exactly this network."""
    names = {_name(network, key): key for key in network.arguments}
    rest = {name: text for name, text in arguments.items() if name != "algo"}
    fits = all(name in names and _comes_back(names[name], text) for name, text in rest.items())
    needs = all(_name(network, key) in rest for key in network.always)
    return network.module == module and (network.algo or "") == arguments.get("algo", "") and fits and needs


def _name(network: GuiNetwork, key: str) -> str:
    return "block_size" if key == "unit" and network.algo else ARGUMENT_NAMES.get(key, key)


def _comes_back(key: str, text: str) -> bool:
    """Whether the form's field yields the same text again."""
    switch = text in {"True", "False"}
    if switch:
        return text == "True"
    is_default = text == str(ARGUMENT_DEFAULTS.get(key)) and key in {"factor", "LyCORIS_preset"}
    plain = re.fullmatch(r"[1-9]\d{0,8}|0\.\d*[1-9]", text) is not None
    words = re.fullmatch(r"[\w.,+-]+", text) is not None and not re.fullmatch(r"[-+.\d]+([eE].*)?", text)
    return not is_default and (plain or words or "," in text)


def _arguments(network: GuiNetwork, arguments: Mapping[str, str]) -> dict[str, object]:
    found: dict[str, object] = {}
    for key in network.arguments:
        text = arguments.get(_name(network, key))
        if text is not None:
            found[key] = text == "True" if text in {"True", "False"} else text
    return found


def _rates(given: Mapping[str, Value]) -> tuple[dict[str, object], dict[str, Value]]:
    """The GUI derives the trained parts from the rates, and always passes separate rates."""
    rate = given.get("learning_rate", shipped.default_number("learning_rate"))
    unet_only, text_only = given.get("network_train_unet_only"), given.get("network_train_text_encoder_only")
    text = given.get("text_encoder_lr")
    text = text[0] if isinstance(text, tuple) and len(text) == 1 else text
    fields: dict[str, object] = {
        "text_encoder_lr": 0 if unet_only else rate if text is None or isinstance(text, tuple) else text,
        "unet_lr": 0 if text_only else given.get("unet_lr", rate),
    }
    flags: dict[str, Value] = {}
    if isinstance(text, tuple):
        flags["text_encoder_lr"] = text
    return fields, flags


def _flags(flags: Mapping[str, Value]) -> Iterator[str]:
    for option, value in sorted(flags.items()):
        if not _writable(value):
            continue
        parts = value if isinstance(value, tuple) else (value,)
        if value is True:
            yield f"--{option}"
        elif isinstance(value, tuple):
            yield " ".join([f"--{option}", *map(_text, parts)])
        else:
            yield f"--{option}={_text(value)}"


def _writable(value: Value) -> bool:
    """Whether the GUI, which splits flags at spaces and strips quotes, preserves the value."""
    return not any(_NOT_WRITABLE.search(_text(part)) for part in (value if isinstance(value, tuple) else (value,)))


def _text(value: Scalar) -> str:
    return repr(value) if isinstance(value, float) else str(value)
