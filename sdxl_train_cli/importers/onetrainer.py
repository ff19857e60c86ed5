"""Import a OneTrainer JSON as far as sd-scripts has its settings. Missing keys have OneTrainer's defaults.

Follows modules/util/config/TrainConfig.py of Nerogar/OneTrainer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from sdxl_train_cli.errors import Problem, RecipeError
from sdxl_train_cli.importers import onetrainer_network, onetrainer_parts, values
from sdxl_train_cli.importers.foreign_settings import (
    ForeignKey,
    ForeignSettings,
    KeyFate,
    became,
    computed,
    ignored,
    shown,
    unknown,
)
from sdxl_train_cli.importers.onetrainer_parts import OTHER_TRAINER, PARTS
from sdxl_train_cli.recipe import Value

FORMAT = "OneTrainer"
_DEFAULTS: Mapping[str, object] = {
    "learning_rate": 3e-6,
    "learning_rate_scheduler": "CONSTANT",
    "learning_rate_warmup_steps": 200.0,
    "epochs": 100,
    "batch_size": 1,
    "gradient_accumulation_steps": 1,
    "resolution": "512",
    "clip_grad_norm": 1.0,
    **onetrainer_network.DEFAULTS,
    "train_dtype": "FLOAT_16",
    "aspect_ratio_bucketing": True,
    "latent_caching": True,
    "gradient_checkpointing": "ON",
    "optimizer": "ADAMW",
    "attention_mechanism": "SDP",
}

_NUMBERS: Mapping[str, str] = {
    "batch_size": "train_batch_size",
    "clip_grad_norm": "max_grad_norm",
    "dataloader_threads": "max_data_loader_n_workers",
    "epochs": "max_train_epochs",
    "gradient_accumulation_steps": "gradient_accumulation_steps",
    "learning_rate_cycles": "lr_scheduler_num_cycles",
    "lora_alpha": "network_alpha",
    "lora_rank": "network_dim",
    "offset_noise_weight": "noise_offset",
    "perturbation_noise_weight": "ip_noise_gamma",
    "dropout_probability": "network_dropout",
}
_OFF_AT_ZERO = frozenset({"noise_offset", "ip_noise_gamma", "network_dropout"})
_WHOLE = frozenset({"max_train_epochs", "lr_scheduler_num_cycles", "network_dim", "train_batch_size"})
_SWITCHES: Mapping[str, str] = {
    "aspect_ratio_bucketing": "enable_bucket",
    "force_v_prediction": "v_parameterization",
    "latent_caching": "cache_latents",
    "masked_training": "masked_loss",
    "rescale_noise_scheduler_to_zero_terminal_snr": "zero_terminal_snr",
}
_CHOICES: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "train_dtype": ("mixed_precision", onetrainer_parts.PRECISIONS),
    "output_dtype": ("save_precision", {"FLOAT_16": "fp16", "BFLOAT_16": "bf16", "FLOAT_32": "float"}),
    "learning_rate_scheduler": (
        "lr_scheduler",
        {
            "CONSTANT": "constant_with_warmup",
            "LINEAR": "linear",
            "COSINE": "cosine",
            "COSINE_WITH_RESTARTS": "cosine_with_restarts",
            "COSINE_WITH_HARD_RESTARTS": "cosine_with_restarts",
            "ADAFACTOR": "adafactor",
        },
    ),
    "optimizer": (
        "optimizer_type",
        {
            "ADAMW": "AdamW",
            "ADAMW_8BIT": "AdamW8bit",
            "ADAM": "Adam",
            "ADAFACTOR": "Adafactor",
            "PRODIGY": "Prodigy",
            "LION": "Lion",
            "LION_8BIT": "Lion8bit",
            "DADAPT_ADAM": "DAdaptAdam",
            "DADAPT_ADA_GRAD": "DAdaptAdaGrad",
            "DADAPT_ADAN": "DAdaptAdan",
            "DADAPT_LION": "DAdaptLion",
            "DADAPT_SGD": "DAdaptSGD",
            "SCHEDULE_FREE_ADAMW": "AdamWScheduleFree",
            "SCHEDULE_FREE_SGD": "SGDScheduleFree",
        },
    ),
}
_OPTIMIZER_ARGUMENTS: Mapping[str, tuple[str, ...]] = {
    "AdamW": ("weight_decay", "eps"),
    "AdamW8bit": ("weight_decay", "eps"),
    "Adam": ("weight_decay", "eps"),
    "Adafactor": ("relative_step", "scale_parameter", "warmup_init", "weight_decay", "clip_threshold", "decay_rate"),
    "Prodigy": ("weight_decay", "d0", "d_coef", "decouple", "growth_rate", "safeguard_warmup", "use_bias_correction"),
    "Lion": ("weight_decay",),
    "Lion8bit": ("weight_decay",),
    "DAdaptAdam": ("weight_decay", "d0", "decouple", "growth_rate", "use_bias_correction"),
    "AdamWScheduleFree": ("weight_decay", "eps"),
}
_BETAS = frozenset({"AdamW", "AdamW8bit", "Adam", "Prodigy", "Lion", "Lion8bit", "DAdaptAdam", "AdamWScheduleFree"})
_ELSEWHERE = """base_model_name output_model_destination output_model_format concepts concept_file_name workspace_dir
    cache_dir huggingface_cache_dir debug_dir samples sample_definition_file_name lora_model_name secrets cloud"""
_STAYS: Mapping[str, str] = {
    **dict.fromkeys(_ELSEWHERE.split(), "belongs to the run and its pictures"),
    **dict.fromkeys(("training_method", "model_type"), "decides how other keys are read"),
    "attention_mechanism": "attention does not change the result: the base preset's is kept",
}
_INPAINTING: Mapping[str, tuple[str, Value | None, str]] = {
    "model_type": ("train_inpainting", True, "sd-scripts has it from v0.11 on"),
    "latent_caching": ("cache_latents", None, "sd-scripts draws a mask on each picture in each step"),
}
"""What keys mean for an inpainting model: option, value and why."""
_SPECIAL = PARTS | {
    *("loss_weight_fn", "loss_weight_strength", "min_noising_strength", "max_noising_strength", "min_snr_gamma"),
    *("weight_dtype", "learning_rate_scaler"),
}
_TIMESTEPS = 1000


def is_one(found: Mapping[str, object]) -> bool:
    """Whether a JSON object is a OneTrainer configuration."""
    return "model_type" in found and bool(
        {"training_method", "base_model_name", "concepts", "concept_file_name", "output_model_destination"}
        & found.keys()
    )


def read(found: Mapping[str, object], where: str) -> ForeignSettings:
    """The file's options. RecipeError if it is not for training SDXL."""
    model, method = str(found.get("model_type")), str(found.get("training_method", "FINE_TUNE"))
    if not model.startswith("STABLE_DIFFUSION_XL"):
        raise RecipeError(Problem(f"is for {shown(model)}, not for SDXL", "import SDXL settings", where))
    if method not in {"LORA", "FINE_TUNE"}:
        raise RecipeError(Problem(f"trains {shown(method)}", "sdxl-train trains networks and whole models", where))
    is_full = method == "FINE_TUNE"
    absent = {key: value for key, value in _DEFAULTS.items()
              if key not in found and not (is_full and key in onetrainer_network.DEFAULTS)}  # fmt: skip
    entries = [
        *(entry for key, raw in absent.items() for entry in _entries(key, raw, found, name=f"({key})", full=is_full)),
        *(entry for key, raw in found.items() for entry in _entries(key, raw, found, name=key, full=is_full)),
        *_noising(found),
        *_scaler(found),
        *onetrainer_parts.read(found, full=is_full),
        *(onetrainer_network.read_without_network(found) if is_full else onetrainer_network.read(found, where)),
    ]
    name = f"{FORMAT}, {'fine-tune' if is_full else 'LoRA'}"
    return ForeignSettings(name, is_full, tuple(entries), whole=False)


def _entries(key: str, raw: object, found: Mapping[str, object], *, name: str, full: bool) -> Iterator[ForeignKey]:
    note = "" if name == key else "not in the file: OneTrainer's default"
    if key in _INPAINTING and "INPAINTING" in str(found.get("model_type")):
        option, value, why = _INPAINTING[key]
        yield computed(name, raw, option, value, why)
    elif key in _STAYS or key.startswith("__"):
        yield ignored(name, "", _STAYS.get(key, "the file's own version"))
    elif key == "optimizer":
        yield from _optimizer(name, raw, note)
    elif key == "resolution":
        yield _resolution(name, raw, note)
    elif key == "learning_rate_warmup_steps":
        yield _warmup(name, raw, found)
    elif key == "gradient_checkpointing":
        yield from _checkpointing(name, raw, found, note)
    elif key == "learning_rate":
        yield onetrainer_parts.rate(name, raw, key, found, note) or unknown(name, raw, "is not a number")
    elif key in _NUMBERS:
        yield _number(name, _NUMBERS[key], raw, note, full=full)
    elif key in _SWITCHES:
        yield _made(name, raw, _SWITCHES[key], values.switch(raw) or None, note)
    else:
        yield from _rest(key, raw, name, note)


def _rest(key: str, raw: object, name: str, note: str) -> Iterator[ForeignKey]:
    if key in _CHOICES:
        option, choices = _CHOICES[key]
        chosen = choices.get(str(raw).upper())
        yield computed(name, raw, option, chosen, note) if chosen else ignored(name, raw, OTHER_TRAINER)
    elif key in PARTS and not isinstance(raw, dict):
        yield unknown(name, raw, "is not part of a model")
    elif key not in _SPECIAL and key not in onetrainer_network.KEYS:
        yield ignored(name, raw, OTHER_TRAINER)


def _number(name: str, option: str, raw: object, note: str, *, full: bool) -> ForeignKey:
    number = values.number(raw)
    if full and option.startswith("network_"):
        return ignored(name, raw, "is for networks only")
    if number is None:
        return unknown(name, raw, "is not a number") if raw is not None else computed(name, raw, option, 0, "off")
    if option in _WHOLE:
        number = int(number)
    return _made(name, raw, option, None if option in _OFF_AT_ZERO and not number else number, note)


def _made(name: str, raw: object, option: str, value: Value | None, note: str) -> ForeignKey:
    """Taken over or renamed if the file has the key, computed if it does not."""
    return computed(name, raw, option, value, note) if note else became(name, raw, option, value)


def _checkpointing(name: str, raw: object, found: Mapping[str, object], note: str) -> Iterator[ForeignKey]:
    if note and "gradient_checkpointing" in onetrainer_parts.part(found, "unet"):
        return  # newer files set it for each part
    is_on = str(raw).upper() not in {"OFF", "FALSE", "NONE"}
    if str(raw).upper() == "CPU_OFFLOADED":
        note = "without moving activations to the CPU, which sd-scripts does by cpu_offload_checkpointing"
    yield _made(name, raw, "gradient_checkpointing", is_on or None, note)


def _scaler(found: Mapping[str, object]) -> Iterator[ForeignKey]:
    if "learning_rate_scaler" in found:
        raw, factor = found["learning_rate_scaler"], onetrainer_parts.rate_factor(found)
        said = "every rate stays as it is" if factor == 1 else f"every rate is multiplied by {factor:.4g}"
        yield ForeignKey("learning_rate_scaler", shown(raw), KeyFate.COMPUTED, note=said)


def _resolution(name: str, raw: object, note: str) -> ForeignKey:
    sizes = [part for part in re.split(r"[,\s]+", str(raw)) if part]
    if len(sizes) == 1 and re.fullmatch(r"\d{2,5}(x\d{2,5})?", sizes[0]):
        width, _, height = sizes[0].partition("x")
        return computed(name, raw, "resolution", f"{width},{height or width}", note)
    if all(size.isdecimal() for size in sizes):
        return unknown(name, raw, f"several sizes are typed for each run: --resolution {','.join(sizes)}")
    return unknown(name, raw, "is not a single size, which a preset needs")


def _warmup(name: str, raw: object, found: Mapping[str, object]) -> ForeignKey:
    number = values.number(raw) or 0
    value: Value = number if 0 < number < 1 else int(number)
    if str(found.get("learning_rate_scheduler", "CONSTANT")).upper() == "ADAFACTOR":
        return ignored(name, raw, "this schedule has no warm-up")
    return computed(
        name,
        raw,
        "lr_warmup_steps",
        value,
        "" if name == "learning_rate_warmup_steps" else "not in the file: OneTrainer's default",
    )


def _optimizer(name: str, raw: object, note: str) -> Iterator[ForeignKey]:
    settings: Mapping[str, object] = raw if isinstance(raw, dict) else {"optimizer": raw}
    typed = str(settings.get("optimizer") or "ADAMW").upper()
    chosen = _CHOICES["optimizer"][1].get(typed)
    if chosen is None:
        chosen = "Prodigy" if "PRODIGY" in typed else "AdamW"
        note = f"missing: sd-scripts has no {shown(typed)}; this is the closest that it has"
    yield computed(name, typed, "optimizer_type", chosen, note)
    words = [f"{key}={settings[key]}" for key in _OPTIMIZER_ARGUMENTS.get(chosen, ())
             if _is_plain(settings.get(key))]  # fmt: skip
    betas = [settings.get("beta1"), settings.get("beta2")]
    if chosen in _BETAS and all(_is_plain(beta) for beta in betas):
        words.append(f"betas={betas[0]},{betas[1]}")
    used = {"optimizer", "beta1", "beta2", *_OPTIMIZER_ARGUMENTS.get(chosen, ())}
    yield computed(name, ", ".join(words), "optimizer_args", tuple(words) or None, note)
    for key, value in settings.items():
        if key not in used and value not in (None, False):
            yield ignored(
                f"{name}.{key}", value, f"sd-scripts' {chosen} does not accept this argument, or this is its default"
            )


def _is_plain(value: object) -> bool:
    return isinstance(value, bool) or values.number(value) is not None


def _noising(found: Mapping[str, object]) -> Iterator[ForeignKey]:
    for key, option, off in (
        ("min_noising_strength", "min_timestep", 0.0),
        ("max_noising_strength", "max_timestep", 1.0),
    ):
        strength = values.number(found.get(key))
        if strength is not None:
            value = None if strength == off else round(strength * _TIMESTEPS)
            yield computed(key, found[key], option, value, "strength as a timestep of 1000")
    weight = str(found.get("loss_weight_fn") or "CONSTANT").upper()
    strength = values.number(found.get("loss_weight_strength", 5.0))
    old = values.number(found.get("min_snr_gamma"))
    if "min_snr_gamma" in found:  # a former name
        yield became("min_snr_gamma", found["min_snr_gamma"], "min_snr_gamma", old or None)
        return
    name = "loss_weight_fn" if "loss_weight_fn" in found else "(loss_weight_fn)"
    if weight != "MIN_SNR_GAMMA":
        yield computed(name, weight, "min_snr_gamma", None, "")
    if weight == "MIN_SNR_GAMMA":
        yield computed(name, weight, "min_snr_gamma", strength, "with loss_weight_strength")
    elif weight == "DEBIASED_ESTIMATION":
        yield computed(name, weight, "debiased_estimation_loss", True, "")
    elif weight != "CONSTANT":
        yield ignored(name, weight, OTHER_TRAINER)
    elif "loss_weight_fn" in found:
        yield ignored(name, weight, "every timestep counts the same, as in sd-scripts")
    if "loss_weight_strength" in found:
        yield ignored("loss_weight_strength", found["loss_weight_strength"], "goes with loss_weight_fn")
