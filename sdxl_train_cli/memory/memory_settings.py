"""The settings of a recipe that determine its memory, in sd-scripts' terms. Equal settings need equal memory."""

from __future__ import annotations

import contextlib
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from sdxl_train_cli.origin import Origin
from sdxl_train_cli.recipe import Kind, Recipe, Setting, Value
from sdxl_train_cli.sdscripts import optimizer
from sdxl_train_cli.sdscripts.attention import ATTENTIONS, chosen_attention
from sdxl_train_cli.sdscripts.buckets import sides

_CACHES = (
    "cache_latents",
    "cache_latents_to_disk",
    "cache_text_encoder_outputs",
    "cache_text_encoder_outputs_to_disk",
)
SAMPLES = ("sample_every_n_steps", "sample_every_n_epochs", "sample_at_first")
"""Options with which a run draws samples."""
_READ = {
    "network_module", "network_dim", "network_args", "network_train_unet_only", "network_train_text_encoder_only",
    "train_text_encoder", "optimizer_type", "use_8bit_adam", "use_lion_optimizer", "optimizer_args", "mixed_precision",
    "full_bf16", "full_fp16", "fp8_base", "fp8_base_unet", "gradient_checkpointing", "train_batch_size",
    "gradient_accumulation_steps", "max_token_length", "no_half_vae", "vae_batch_size", *ATTENTIONS, *_CACHES,
}  # fmt: skip
_NEUTRAL = {
    "network_alpha", "network_dropout", "seed", "resolution", "enable_bucket", "bucket_reso_steps",
    "bucket_no_upscale", "block_lr", "min_snr_gamma", "max_grad_norm", "max_data_loader_n_workers",
    "persistent_data_loader_workers", "shuffle_caption", "keep_tokens", "prior_loss_weight", "flip_aug", "clip_skip",
    "loss_type", "zero_terminal_snr", "debiased_estimation_loss", "scale_v_pred_loss_like_noise_pred",
    "v_parameterization", "no_metadata", "training_comment", "resume", "initial_epoch", "initial_step",
    "skip_until_initial_step", "ddp_timeout", "adaptive_noise_scale", "ip_noise_gamma", "scale_weight_norms",
}  # fmt: skip
_NEUTRAL_STARTS = (
    "lr_", "max_train_", "save_", "sample_", "log_", "logging_", "wandb_", "metadata_", "caption_", "keep_tokens_",
    "min_bucket", "max_bucket", "noise_offset", "multires_noise", "ip_noise_", "huggingface_", "min_timestep",
    "max_timestep", "huber_", "token_warmup_", "tokenizer_cache", "validat", "max_validation_steps",
)  # fmt: skip
"""Prefixes of options that affect learning, duration or output, but not memory. Any other makes a difference."""
_LONGEST_TEXT = 1000
_PLAIN = "plain"
_ONE_WINDOW = 75
_PIXELS_STEP = 256 * 256
_NEARLY_EQUAL = 10
"""Samples whose area differs from the training's by less than a tenth take as much memory, within what is measured."""
_RATES = ("learning_rate", "unet_lr", "text_encoder_lr")
_NEUTRAL_ARGUMENTS = ("alpha", "conv_alpha", "loraplus")


def _as_samples(fields: dict[str, Any]) -> bool:
    return bool(fields.get("samples"))


def without_samples(recipe: Recipe) -> Recipe | None:
    """The same run where it draws none. None where it draws none already."""
    if recipe.get("sample_prompts") is None or not any(recipe.get(name) for name in SAMPLES):
        return None
    return recipe.replaced(dict.fromkeys(("sample_prompts", *SAMPLES)))


class MemorySettings(BaseModel):
    """Settings that determine memory. Empty text means that a run does not have the setting."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    kind: Kind
    network_module: str
    network_dim: int | None = Field(default=None, ge=1)
    network_args: str
    trains: str
    """`unet`, `text encoders` or both; `words` of an embedding."""
    optimizer: str
    optimizer_args: str
    mixed_precision: str
    full_precision: str
    """`full_bf16`, `full_fp16` or empty."""
    fp8: str
    """`fp8_base`, `fp8_base_unet`, both or empty."""
    gradient_checkpointing: bool
    attention: str
    caches: str
    max_token_length: int = Field(ge=1)
    vae: str
    """`float32` or `16 bit`, and the number of pictures encoded at once."""
    accumulates: bool
    """Whether gradients are kept from one step to the next."""
    samples: bool
    sample_pixels: int | None = Field(default=None, ge=1)
    """Pixels of the largest sample picture. None if they are as many as in training, or unknown."""
    decodes_whole: bool = Field(default_factory=_as_samples)
    """Whether samples are decoded at once. So they were in every run whose record does not say it."""
    others: str
    """Other options that are set and might affect memory."""
    batch_size: int = Field(ge=1, le=4096)

    @field_validator("*")
    @classmethod
    def _is_plain(cls, value: object) -> object:
        """Reject control characters from somebody else's file, which could affect a terminal."""
        if isinstance(value, str) and not (value.isprintable() and len(value) <= _LONGEST_TEXT):
            raise ValueError("is too long, or has characters that can't be printed")
        return value

    @property
    def words(self) -> str:
        """Everything but the batch size, in words."""
        arguments = dict(part.partition("=")[::2] for part in self.network_args.split())
        dim = "" if self.network_dim is None else f" {self.network_dim}"
        conv = f"+{arguments['conv_dim']}" if "conv_dim" in arguments else ""
        module = "" if self.network_module in {"", "networks.lora"} else self.network_module
        told = [
            f"{self.kind.label}{dim}{conv}", module, self.full_precision.replace("_", " "),
            self.fp8.replace("_", " "), "gc" if self.gradient_checkpointing else "", self.optimizer, self.attention,
            f"trains {self.trains}", "text cached" if "text_encoder" in self.caches else "",
            "accumulates" if self.accumulates else "", self.others,
        ]  # fmt: skip
        return ", ".join(word for word in told if word)

    def is_like(self, other: MemorySettings) -> bool:
        """Whether everything that determines memory is equal."""
        return all(getattr(self, name) == getattr(other, name) for name in MemorySettings.model_fields)


def read(recipe: Recipe) -> MemorySettings:
    """The settings of a typed recipe with valid values (see demand.read)."""
    network = recipe.kind.is_network
    return MemorySettings(
        kind=recipe.kind,
        network_module=str(recipe.get("network_module") or "") if network else "",
        network_dim=_whole(recipe, "network_dim") if network else None,
        network_args=_arguments(recipe, "network_args") if network else "",
        trains=_trained(recipe),
        optimizer=optimizer.optimizer(recipe),
        optimizer_args=_arguments(recipe, "optimizer_args"),
        mixed_precision=str(recipe.get("mixed_precision") or "no"),
        full_precision=_on(recipe, "full_bf16", "full_fp16"),
        fp8=_on(recipe, "fp8_base", "fp8_base_unet") if network else "",
        gradient_checkpointing=recipe.is_on("gradient_checkpointing"),
        attention=chosen_attention(recipe) or _PLAIN,
        caches=_on(recipe, *_CACHES),
        max_token_length=_whole(recipe, "max_token_length") or _ONE_WINDOW,
        vae=f"{'float32' if recipe.is_on('no_half_vae') else '16 bit'} x{_whole(recipe, 'vae_batch_size') or 1}",
        accumulates=(_whole(recipe, "gradient_accumulation_steps") or 1) > 1,
        samples=any(recipe.get(name) for name in SAMPLES),
        sample_pixels=_sample_pixels(recipe),
        decodes_whole=recipe.decodes_whole and any(recipe.get(name) for name in SAMPLES),
        others=" ".join(
            f"{name}={_text(recipe.get(name))}" for name in sorted(recipe.settings) if _matters(name, recipe)
        ),
        batch_size=_whole(recipe, "train_batch_size") or 1,
    )


def _sample_pixels(recipe: Recipe) -> int | None:
    """In coarse steps, as buckets of one area differ a little."""
    size = sides(recipe)
    if recipe.sample_pixels is None or size is None or not any(recipe.get(name) for name in SAMPLES):
        return None
    is_as_trained = abs(recipe.sample_pixels - size[0] * size[1]) * _NEARLY_EQUAL <= size[0] * size[1]
    return None if is_as_trained else max(1, round(recipe.sample_pixels / _PIXELS_STEP)) * _PIXELS_STEP


def read_possible(recipe: Recipe) -> MemorySettings | None:
    """The same of any recipe. None if its values are out of range, which an estimate names."""
    with contextlib.suppress(ValidationError):
        return read(recipe)
    return None


def _matters(option: str, recipe: Recipe) -> bool:
    if option in _RATES or option.startswith("learning_rate_te"):
        return recipe.number(option) == 0  # a part without a rate is not trained
    return option not in _READ and option not in _NEUTRAL and not option.startswith(_NEUTRAL_STARTS)


def _trained(recipe: Recipe) -> str:
    if recipe.kind is Kind.EMBEDDING:
        return "words"
    if recipe.kind is Kind.DREAMBOOTH:
        return "unet and text encoders" if recipe.is_on("train_text_encoder") else "unet"
    if recipe.is_on("network_train_text_encoder_only"):
        return "text encoders"
    return "unet" if recipe.is_on("network_train_unet_only") else "unet and text encoders"


def _arguments(recipe: Recipe, option: str) -> str:
    kept = {key: text for key, text in recipe.arguments(option).items() if not key.startswith(_NEUTRAL_ARGUMENTS)}
    return " ".join(f"{key}={_text(text)}" for key, text in sorted(kept.items()))


def _on(recipe: Recipe, *options: str) -> str:
    return " ".join(option for option in options if recipe.is_on(option))


def _whole(recipe: Recipe, option: str) -> int | None:
    number = recipe.number(option)
    return None if number is None else int(number)


def _text(value: Value | None) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return "set" if any(mark in text for mark in "/\\") else text  # paths are private


def recipe(settings: MemorySettings, size: tuple[int, int], batch_size: int) -> Recipe:
    """A recipe with these settings for pictures of one size. `read` is the inverse."""
    full = settings.kind is Kind.DREAMBOOTH
    vae, _, vae_batch = settings.vae.rpartition(" x")
    values: dict[str, Value | None] = {
        "network_module": settings.network_module or None,
        "network_dim": settings.network_dim,
        "network_args": tuple(settings.network_args.split()) or None,
        "network_train_unet_only": settings.kind.is_network and settings.trains == "unet",
        "network_train_text_encoder_only": settings.trains == "text encoders",
        "train_text_encoder": full and "text" in settings.trains,
        "optimizer_type": settings.optimizer,
        "optimizer_args": tuple(settings.optimizer_args.split()) or None,
        "mixed_precision": settings.mixed_precision,
        "gradient_checkpointing": settings.gradient_checkpointing,
        "max_token_length": None if settings.max_token_length == _ONE_WINDOW else settings.max_token_length,
        "no_half_vae": vae == "float32",
        "vae_batch_size": int(vae_batch) if vae_batch.isdecimal() else None,
        "gradient_accumulation_steps": 2 if settings.accumulates else None,
        "sample_prompts": "prompts.txt" if settings.samples else None,
        "sample_every_n_steps": 1 if settings.samples else None,
        "train_batch_size": batch_size,
        "resolution": f"{size[0]},{size[1]}",
    }
    on = f"{settings.full_precision} {settings.fp8} {settings.attention} {settings.caches}".split()
    values |= dict.fromkeys((name for name in on if name != _PLAIN), True)
    values |= {name: _value(text) for name, _, text in (part.partition("=") for part in settings.others.split())}
    origin = Origin("a record")
    kept = {name: Setting(value=value, origin=origin) for name, value in values.items() if value not in {None, False}}
    pixels = settings.sample_pixels
    return Recipe(
        kind=settings.kind, name="measured", description="", settings=kept, sample_pixels=pixels,
        decodes_whole=settings.decodes_whole,
    )  # fmt: skip


def _value(text: str) -> Value:
    if text in {"true", "false"}:
        return text == "true"
    try:
        return float(text) if "." in text or "e" in text else int(text)
    except ValueError:
        return text
