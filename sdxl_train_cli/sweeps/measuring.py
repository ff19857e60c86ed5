"""Whether the validation losses of several trainings can be compared: what they depend on beside the weights.

The trainer weighs the loss, draws noise and chooses timesteps by options of the training (train_network.py:
process_batch, post_process_loss; train_util.py: get_noise_noisy_latents_and_timesteps). Points that differ in one of
these were measured with different yardsticks.

Noise is drawn for a batch at once, so a picture gets other noise in another batch or on another device. That favours
nobody: differences are still true, and as each picture's noise is its own, their margins tell how much less sharp they
are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sdxl_train_cli.recipe import Kind, Value
from sdxl_train_cli.records.record import Record

YARDSTICK = (
    "min_snr_gamma", "debiased_estimation_loss", "scale_v_pred_loss_like_noise_pred", "v_pred_like_loss",
    "v_parameterization", "zero_terminal_snr", "loss_type", "huber_schedule", "huber_c", "huber_scale",
    "masked_loss", "alpha_mask", "noise_offset", "noise_offset_random_strength", "adaptive_noise_scale",
    "multires_noise_iterations", "multires_noise_discount", "ip_noise_gamma", "ip_noise_gamma_random_strength",
    "min_timestep", "max_timestep", "resolution", "enable_bucket", "min_bucket_reso",
    "max_bucket_reso", "bucket_reso_steps", "bucket_no_upscale", "flip_aug", "color_aug", "random_crop",
    "shuffle_caption", "keep_tokens", "caption_dropout_rate", "caption_dropout_every_n_epochs",
    "caption_tag_dropout_rate", "validation_split", "validation_seed", "max_validation_steps", "mixed_precision",
    "no_half_vae", "train_inpainting",
)  # fmt: skip
"""Options that change a validation loss without any change of what was learned."""
NOISE = "train_batch_size"
Yardstick = Mapping[str, Value | None]


def of(record: Record) -> Yardstick:
    """What a run's validation depends on."""
    kept: dict[str, Value | None] = {}
    for option in YARDSTICK:
        setting = record.settings.get(option)
        value = None if setting is None else setting.shown
        kept[option] = None if value is False else value
    inputs, dataset, environment = record.inputs, record.dataset, record.environment
    kept["base model"] = None if inputs is None else inputs.model
    kept["VAE"] = None if inputs is None else inputs.vae
    kept["pictures and captions"] = None if dataset is None else dataset.fingerprint
    kept["sd-scripts"] = None if environment is None else environment.commit
    return kept


def noise_of(record: Record) -> Yardstick:
    """What decides which noise a held-back picture gets."""
    setting = record.settings.get(NOISE)
    device = "processor" if record.gpu is None else record.gpu.name
    return {NOISE: None if setting is None else setting.value, "device": device}


def different(yardsticks: Iterable[Yardstick]) -> list[str]:
    """What is not the same for all."""
    found: dict[str, set[object]] = {}
    for each in yardsticks:
        for name, value in each.items():
            found.setdefault(name, set()).add(value)
    return [name for name, values in found.items() if len(values) > 1]


def unrankable(kind: Kind, options: Iterable[str]) -> list[str]:
    """Options among these that make points of a sweep impossible to rank by their validation loss."""
    return [option for option in options if option in YARDSTICK] if kind.is_network else []
