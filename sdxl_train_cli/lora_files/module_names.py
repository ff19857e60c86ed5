"""What each layer of SDXL is called by kohya's trainer, by Stability-AI's code, and by diffusers.

Kohya flattens the dots of Stability-AI's names to underscores, which can't be undone by rule: `to_out_0` is `to_out.0`.
So every layer that a network can have is listed, and looked up.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

_RESNET = {
    "in_layers.2": "conv1",
    "out_layers.3": "conv2",
    "emb_layers.1": "time_emb_proj",
    "skip_connection": "conv_shortcut",
}
_PLAIN_RESNET = {one: other for one, other in _RESNET.items() if one != "skip_connection"}
_WIDENING = ("input_blocks.4.0", "input_blocks.7.0")
"""Where the way down gets wider; the way up does everywhere, and each of these has a layer more."""
_TRANSFORMER = (
    "attn1.to_q", "attn1.to_k", "attn1.to_v", "attn1.to_out.0", "attn2.to_q", "attn2.to_k", "attn2.to_v",
    "attn2.to_out.0", "ff.net.0.proj", "ff.net.2",
)  # fmt: skip
_ATTENTION_DEPTHS = (0, 2, 10)
"""Transformer blocks of SDXL's three levels."""
_OTHERS = {
    "input_blocks.0.0": "conv_in", "out.2": "conv_out", "time_embed.0": "time_embedding.linear_1",
    "time_embed.2": "time_embedding.linear_2", "label_emb.0.0": "add_embedding.linear_1",
    "label_emb.0.2": "add_embedding.linear_2",
}  # fmt: skip
_TEXT_LAYERS = {"text_encoder": 12, "text_encoder_2": 32}
_TEXT = ("self_attn.k_proj", "self_attn.v_proj", "self_attn.q_proj", "self_attn.out_proj", "mlp.fc1", "mlp.fc2")
_KOHYA_TEXT = {"text_encoder": "lora_te1", "text_encoder_2": "lora_te2"}
_COMFY_TEXT = {"text_encoder": "text_encoders.clip_l.transformer", "text_encoder_2": "text_encoders.clip_g.transformer"}


@dataclass(frozen=True)
class LayerNames:
    """One layer, by the names of three programs."""

    kohya: str
    comfyui: str
    diffusers: str


@cache
def layers() -> tuple[LayerNames, ...]:
    """Every layer of SDXL's U-Net and text encoders that a network can change."""
    unet = [
        LayerNames(f"lora_unet_{flat(original)}", f"diffusion_model.{original}", f"unet.{theirs}")
        for original, theirs in (*_unet_layers(), *_OTHERS.items())
    ]
    text = [
        LayerNames(f"{_KOHYA_TEXT[part]}_{flat(path)}", f"{_COMFY_TEXT[part]}.{path}", f"{part}.{path}")
        for part, count in _TEXT_LAYERS.items()
        for number in range(count)
        for path in (f"text_model.encoder.layers.{number}.{name}" for name in _TEXT)
    ]
    return (*unet, *text)


def flat(path: str) -> str:
    """A dotted name as kohya writes it."""
    return path.replace(".", "_")


def _blocks() -> Iterator[tuple[str, str]]:
    """U-Net blocks: Stability-AI's names and those of diffusers. sd-scripts' make_unet_conversion_map has the same."""
    for level in range(3):
        for layer in range(2):
            number = 3 * level + layer + 1
            yield f"input_blocks.{number}.0", f"down_blocks.{level}.resnets.{layer}"
            yield f"input_blocks.{number}.1", f"down_blocks.{level}.attentions.{layer}"
        for layer in range(3):
            yield f"output_blocks.{3 * level + layer}.0", f"up_blocks.{level}.resnets.{layer}"
            yield f"output_blocks.{3 * level + layer}.1", f"up_blocks.{level}.attentions.{layer}"
    yield "middle_block.0", "mid_block.resnets.0"
    yield "middle_block.1", "mid_block.attentions.0"
    yield "middle_block.2", "mid_block.resnets.1"


def _unet_layers() -> Iterator[tuple[str, str]]:
    for original, theirs in _blocks():
        if "resnets" in theirs:
            inner_names = _RESNET if original.startswith("output") or original in _WIDENING else _PLAIN_RESNET
            yield from ((f"{original}.{one}", f"{theirs}.{other}") for one, other in inner_names.items())
        else:
            level = 2 if "mid" in theirs else int(theirs.split(".")[1])
            depth = _ATTENTION_DEPTHS[2 - level if theirs.startswith("up") else level]
            inner = [f"transformer_blocks.{number}.{name}" for number in range(depth) for name in _TRANSFORMER]
            yield from (
                (f"{original}.{name}", f"{theirs}.{name}")
                for name in (["proj_in", *inner, "proj_out"] if depth else ())
            )
    for level in range(2):
        yield f"input_blocks.{3 * level + 3}.0.op", f"down_blocks.{level}.downsamplers.0.conv"
        yield f"output_blocks.{3 * level + 2}.2.conv", f"up_blocks.{level}.upsamplers.0.conv"
