"""Decide which options of another person's run apply here: a table of options to drop, and to convert."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from sdxl_train_cli.importers import values
from sdxl_train_cli.importers.foreign_settings import ForeignKey, KeyFate
from sdxl_train_cli.recipe import Scalar, Value
from sdxl_train_cli.rules.value_rules import OWNED
from sdxl_train_cli.sdscripts import key_values, shipped

_THEIR_FILE = "a file on its author's machine"
_THEIR_PLACE = "its author's account"
_DATASET = "belongs to the pictures, which are read again"

STAYS: Mapping[str, str] = {
    **OWNED,
    "network_weights": f"{_THEIR_FILE}: --set network_weights=FILE",
    "base_weights": f"{_THEIR_FILE}: --set base_weights=FILE",
    "base_weights_multiplier": "goes with base_weights",
    "resume": f"{_THEIR_FILE}: --set resume=FOLDER",
    "sample_prompts": f"{_THEIR_FILE}: --set sample_prompts=FILE",
    "sample_sampler": "goes with sample_prompts",
    "sample_every_n_steps": "goes with sample_prompts",
    "sample_every_n_epochs": "goes with sample_prompts",
    "sample_at_first": "goes with sample_prompts",
    "dim_from_weights": "goes with network_weights",
    "log_tracker_config": _THEIR_FILE,
    "offload_optimizer_nvme_path": _THEIR_FILE,
    "offload_param_nvme_path": _THEIR_FILE,
    "config_file": _THEIR_FILE,
    "caption_extension": "captions are found beside the pictures",
    "class_tokens": _DATASET,
    "log_with": "TensorBoard logs are written; for wandb: `sdxl-train setup --extra wandb`, then --set log_with=wandb",
    "wandb_run_name": "goes with wandb",
    "log_tracker_name": "goes with wandb",
    "log_config": "would write paths into the log",
    "huggingface_repo_id": _THEIR_PLACE,
    "huggingface_repo_type": _THEIR_PLACE,
    "huggingface_repo_visibility": _THEIR_PLACE,
    "huggingface_path_in_repo": _THEIR_PLACE,
    "async_upload": _THEIR_PLACE,
    "save_state_to_huggingface": _THEIR_PLACE,
    "resume_from_huggingface": _THEIR_PLACE,
    "clip_skip": "does nothing in SDXL training",
    "v2": "is not for SDXL",
    "dynamo_backend": "belongs to torch_compile; sdxl-train launches without it",
    "deepspeed": "sdxl-train launches without it",
    "ddp_timeout": "belongs to several GPUs, which are given by --gpus",
    "ddp_gradient_as_bucket_view": "belongs to several GPUs, which are given by --gpus",
    "ddp_static_graph": "belongs to several GPUs, which are given by --gpus",
    "initial_step": "belongs to one run",
    "initial_epoch": "belongs to one run",
    "skip_until_initial_step": "belongs to one run",
    "diffusers_xformers": "leaves the U-Net with plain attention",
    "lowvram": "sd-scripts no longer has it",
}
"""Options that no imported preset contains, and why."""

_OFF: Mapping[str, Scalar] = {
    **dict.fromkeys(
        [
            "adaptive_noise_scale", "fused_optimizer_groups", "ip_noise_gamma", "max_train_epochs", "min_snr_gamma",
            "min_timestep", "multires_noise_iterations", "network_dropout", "noise_offset", "save_every_n_epochs",
            "save_every_n_steps", "save_last_n_epochs", "save_last_n_epochs_state", "save_last_n_steps",
            "save_last_n_steps_state", "scale_weight_norms", "v_pred_like_loss",
        ],
        0,
    ),
    "max_timestep": 1000,
    "max_token_length": 75,
}  # fmt: skip
"""Values that sd-scripts treats as off when the parser has no default."""

MUST_BE_ABSENT = frozenset(
    {option for option in _OFF if option.startswith("save_")}
    | {"max_token_length", "max_train_epochs", "fused_optimizer_groups"}
)
"""Options that have no value meaning off."""

_SECRETS = ("wandb_api_key", "huggingface_token", "hf_token", "secret", "password")
_XFORMERS = "torch's own attention does the same; sd-scripts does not install xformers"
_STEP = 32
"""Pixels. SDXL's bucket sides are multiples of it."""


def translate(entry: ForeignKey) -> Iterator[ForeignKey]:
    """The entry as it applies here: unchanged, converted, or without its option and with the reason."""
    if entry.option is None:
        yield entry
    elif entry.value is not None and entry.option in STAYS:
        yield entry.dropped(STAYS[entry.option] if entry.value is not False else "off")
    elif entry.value is not None and values.names_a_path(entry.value) and entry.option not in key_values.OPTIONS:
        yield entry.dropped("is a path on its author's machine")
    elif entry.option == "xformers":
        yield _other(entry, "sdpa", entry.value is True or None, _XFORMERS) if entry.value else entry
    elif entry.option == "bucket_reso_steps":
        yield _whole_buckets(entry)
    elif entry.option == "text_encoder_lr":
        yield _one_rate(entry)
    elif entry.option in key_values.OPTIONS:
        yield _without_paths(_taken_apart(entry, entry.option))
    else:
        yield entry


def without_secrets(entry: ForeignKey) -> ForeignKey:
    """The entry in a form that may be published: reports get pasted into issues."""
    is_secret = any(name in entry.key.lower() for name in _SECRETS) and bool(entry.shown)
    return replace(entry, shown="(not shown)") if is_secret else entry


def is_off(option: str, value: Value | None) -> bool:
    """Whether the value has no effect: absent, a switch that is off, or sd-scripts' default."""
    if value is None or value is False:
        return True
    return not isinstance(value, bool) and means_same(value, value_when_off(option))


def value_when_off(option: str) -> Value | None:
    """The value equivalent to leaving the option out. None if only absence is."""
    return shipped.defaults().get(option, _OFF.get(option))


def means_same(one: Value | None, other: Value | None) -> bool:
    """Whether two values are equivalent however they are written: 1 and 1.0, 1024 and "1024,1024"."""
    return _plain(one) == _plain(other)


def _plain(value: Value | None) -> object:
    if isinstance(value, tuple):
        pairs = all(isinstance(part, str) and "=" in part for part in value)  # whose order does not matter
        return tuple(sorted(map(str, value))) if pairs else tuple(map(_plain, value))
    if isinstance(value, bool):
        return str(value).lower()  # to Python, 0 equals False
    if value is None:
        return None
    text = str(value)
    sides = text.replace(" ", "").split(",")
    if len(sides) == 2 and sides[0] == sides[1] and sides[0].isdecimal():  # noqa: PLR2004 - a square
        text = sides[0]
    found = values.number(text)
    return text if found is None else float(found)


def _other(entry: ForeignKey, option: str, value: Value | None, note: str) -> ForeignKey:
    return replace(entry, what=KeyFate.COMPUTED, option=option, value=value, note=note)


def _whole_buckets(entry: ForeignKey) -> ForeignKey:
    steps = values.number(entry.value)
    if steps is None or steps <= 0 or steps % _STEP == 0:
        return entry
    raised = int(-(-steps // _STEP) * _STEP)
    return _other(entry, "bucket_reso_steps", raised, f"SDXL needs a multiple of {_STEP}: sd-scripts refuses {steps}")


def _one_rate(entry: ForeignKey) -> ForeignKey:
    rates = entry.value if isinstance(entry.value, tuple) else (entry.value,)
    if len(rates) > 1 and len(set(map(_plain, rates))) == 1:
        return _other(entry, "text_encoder_lr", (rates[0],) if rates[0] is not None else None, "one rate for both")
    return entry


def _taken_apart(entry: ForeignKey, option: str) -> ForeignKey:
    """Arguments that stand in one word, or end with a comma, as they were meant."""
    if not isinstance(entry.value, tuple):
        return entry
    meant = key_values.parts(option, entry.value)
    return entry if meant == entry.value else _other(entry, option, meant or None, "taken apart as it was meant")


def _without_paths(entry: ForeignKey) -> ForeignKey:
    parts = entry.value if isinstance(entry.value, tuple) else ()
    kept = tuple(part for part in parts if not values.names_a_path(part))
    if len(kept) == len(parts):
        return entry
    gone = ", ".join(str(part).partition("=")[0] for part in parts if part not in kept)
    return _other(entry, str(entry.option), kept or None, f"without {gone}: {_THEIR_FILE}")
