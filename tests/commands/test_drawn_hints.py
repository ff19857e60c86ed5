"""Every hint that a refusal prints leads to a run that can start: refusals are drawn, and their hints typed."""

from __future__ import annotations

import json
import logging
import random
import re
import shlex
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import Result, write_pictures

from sdxl_train_cli.recipe import Kind
from sdxl_train_cli.recipes import presets

_LOG = logging.getLogger(__name__)
FEW, MANY = 25, 300
SIZES = (4, 6, 8, 10, 12, 16, 24)
TRIGGERS = (None, None, "ohwx", "ohwx cat")
CAPTIONS = ("a photo of a cat", "ohwx cat, a photo", None)
FORMS = ("folder", "folder", "numbered", "config", "metadata", "imagefolder", "regularization")
SETTINGS = (
    "shuffle_caption=true", "caption_dropout_rate=0.1", "caption_tag_dropout_rate=0.1", "keep_tokens_separator=|||",
    "caption_prefix=ohwx", "enable_wildcard=true", "secondary_separator=;;;", "token_warmup_step=10",
    "cache_text_encoder_outputs=null", "cache_text_encoder_outputs_to_disk=true", "cache_latents=null",
    "cache_latents_to_disk=true", "color_aug=true", "random_crop=true", "network_train_unet_only=null",
    "train_text_encoder=true", "network_train_text_encoder_only=true", "weighted_captions=true",
    "mixed_precision=fp16", "mixed_precision=no", "full_bf16=true", "full_fp16=true", "fp8_base=true",
    "gradient_checkpointing=null", "cpu_offload_checkpointing=true", "torch_compile=true", "sdpa=null",
    "optimizer_type=AdamW", "optimizer_type=Adafactor", "optimizer_type=Nonsense", "optimizer_type=came.CAME",
    "optimizer_type=Prodigy", "learning_rate=1", "learning_rate=0", "use_8bit_adam=true", "use_lion_optimizer=true",
    "fused_backward_pass=true", "fused_optimizer_groups=4", "gradient_accumulation_steps=4", "train_batch_size=4",
    "train_batch_size=8", "lr_scheduler=adafactor", "lr_scheduler=cosine_with_min_lr", "lr_scheduler=nonsense",
    "lr_scheduler=piecewise_constant", "lr_scheduler=constant", "lr_warmup_steps=100", "resolution=1536",
    "resolution=256", "resolution=2048,2048", "resolution=null", "resolution=1000,1000", "enable_bucket=null",
    "min_bucket_reso=2000", "min_bucket_reso=32", "max_bucket_reso=512", "bucket_reso_steps=48",
    "bucket_reso_steps=128", "adaptive_noise_scale=0.01", "scale_v_pred_loss_like_noise_pred=true",
    "v_parameterization=true", "v_pred_like_loss=0.5", "min_timestep=900", "max_timestep=100",
    "network_args=conv_dim=8 conv_alpha=4", "network_args=algo=lokr", "network_args=null", "network_dim=256",
    "network_module=networks.loha", "network_module=networks.lokr", "network_module=networks.lorra",
    "network_module=null", "dim_from_weights=true", "sample_every_n_steps=100", "sample_at_first=true",
    "sample_every_n_epochs=1", "persistent_data_loader_workers=true", "max_data_loader_n_workers=0",
    "initial_step=5000", "save_state_to_huggingface=true", "validation_split=0.3", "max_token_length=225",
    "max_token_length=100", "seed=-1", "netwrk_dim=8", "vae_batch_size=8", "deepspeed=true", "log_with=wandb",
    "xformers=true", "vae=a.safetensors", "network_weights=nowhere.safetensors", "save_every_n_steps=0",
    "optimizer_args=betas=0.9,0.99", "optimizer_args=relative_step=False", "no_half_vae=null", "alpha_mask=true",
)  # fmt: skip
"""What people set, sound and unsound."""
_ERROR = re.compile(r"^error: (.*)$", re.MULTILINE)
_TYPED = re.compile(r"(?:or )?(?:try anyway: )?(--[a-z].*)")


@dataclass(frozen=True)
class Hint:
    """What is printed to be typed, and for which error."""

    error: str
    flags: str


def hints(stderr: str) -> list[Hint]:
    """The flags of each hint, by the error that they stand below."""
    found, error, is_hint = list[Hint](), "", False
    for line in stderr.splitlines():
        if line.startswith("error: "):
            error, is_hint = line.removeprefix("error: "), False
        is_hint = line.startswith("hint:  ") or (is_hint and line.startswith(" " * 7))
        told = line[7:].partition("   ")[0] if is_hint and error else ""
        parts = told.split(", or ") if told.startswith("--") else [told]
        found += [Hint(error, match[1]) for part in parts if (match := _TYPED.fullmatch(part))]
    return found


def errors(stderr: str) -> set[str]:
    return set(_ERROR.findall(stderr))


def is_about_memory(error: str) -> bool:
    return " GB free of " in error


@dataclass(frozen=True)
class Drawer:
    """Draws command lines."""

    draw: random.Random
    folder: Path
    model: Path

    def line(self, number: int) -> list[object]:
        kind = self.draw.choice(list(Kind))
        settings = self.draw.sample(SETTINGS, self.draw.choice((0, 1, 1, 1, 2, 3)))
        trigger = self.draw.choice(TRIGGERS)
        return [
            kind.value, "--preset", self.draw.choice(presets.names(kind)), "--model", self.model, "--dry-run",
            "--gpu-memory", self.draw.choice(SIZES), *self._data(self.folder / str(number)),
            *(() if trigger is None else ("--trigger", trigger)),
            *(word for setting in settings for word in ("--set", setting)),
        ]  # fmt: skip

    def _data(self, folder: Path) -> list[object]:
        form, caption = self.draw.choice(FORMS), self.draw.choice(CAPTIONS)
        data = write_pictures(folder / "2_cat" if form == "numbered" else folder, 2, caption, (1024, 1024))
        names = [file.name for file in data.glob("*.png")]
        if form == "numbered":
            return ["--data", folder]
        if form == "regularization":
            return ["--data", folder, "--reg", write_pictures(folder.with_name(f"{folder.name}-reg"), 2)]
        if form == "config":
            (folder / "all.toml").write_text("[[datasets]]\n[[datasets.subsets]]\nimage_dir = '.'\n", encoding="utf-8")
            return ["--data", folder / "all.toml"]
        if form == "metadata":
            listed = {name: {"caption": caption or "a cat"} for name in names}
            (folder / "meta.json").write_text(json.dumps(listed), encoding="utf-8")
            return ["--data", folder / "meta.json"]
        if form == "imagefolder":
            for file in folder.glob("*.txt"):
                file.unlink()
            rows = "".join(f'{name},"{caption or "a cat"}"\n' for name in names)
            (folder / "metadata.csv").write_text(f"file_name,text\n{rows}", encoding="utf-8")
        return ["--data", folder]


@pytest.mark.parametrize("count", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])
def test_every_hint_of_a_drawn_refusal_leads_to_a_run_or_ends_its_own_fault(
    main: Callable[..., Result], tmp_path: Path, model: Path, count: int
) -> None:
    drawer = Drawer(random.Random(13), tmp_path / "drawn", model)  # noqa: S311 - no secret
    refused, told, wrong, number = 0, Counter[str](), list[str](), 0
    while refused < count:
        number += 1
        line = drawer.line(number)
        first = main(*line)
        if first.code == 0:
            continue
        refused += 1
        found = hints(first.stderr)
        if not found:
            told["refusals without anything to type"] += 1
            _LOG.info("nothing to type: %s", first.stderr)
        for hint in found:
            after = main(*line, *shlex.split(hint.flags))
            left, before = errors(after.stderr), errors(first.stderr)
            if after.code == 0:
                told["prepared"] += 1
            elif hint.error not in left and left < before:
                told["own fault ended, another of the line left"] += 1
            elif hint.error not in left and all(map(is_about_memory, left)) and not is_about_memory(hint.error):
                told["own fault ended, too large for the GPU"] += 1
            else:
                typed = shlex.join(map(str, line))
                wrong.append(f"{typed}\n{first.stderr}  TYPED {hint.flags}\n{after.stderr}")
    _LOG.info("%d refusals of %d lines: %s; hints that led nowhere: %d", refused, number, dict(told), len(wrong))

    assert not wrong, "\n\n".join(wrong)
