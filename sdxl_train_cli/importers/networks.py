"""Recognise networks by their arguments, and normalise the arguments."""

from __future__ import annotations

from collections.abc import Mapping

from sdxl_train_cli.recipe import Kind, Value
from sdxl_train_cli.sdscripts import lycoris

OTHER_MODELS: Mapping[str, str] = {
    "networks.lora_flux": "Flux",
    "networks.oft_flux": "Flux",
    "networks.lora_sd3": "SD3",
    "networks.lora_lumina": "Lumina",
    "networks.lora_anima": "Anima",
    "networks.lora_hunyuan_image": "HunyuanImage",
}
"""Network modules that are not for SDXL."""


def parse_pairs(value: Value | None) -> dict[str, str]:
    """`key=value` parts as a mapping."""
    parts = value if isinstance(value, tuple) else () if value is None else (value,)
    return dict(str(part).partition("=")[::2] for part in parts)


def format_pairs(arguments: Mapping[str, str]) -> tuple[str, ...] | None:
    """The mapping as `key=value` parts. None if it is empty."""
    return tuple(f"{key}={text}" for key, text in arguments.items()) or None


def mend(module: str, arguments: Mapping[str, str]) -> dict[str, str]:
    """The arguments by current name, without switches that are off: LyCORIS reads some of those as on."""
    if not module.startswith("lycoris."):
        return dict(arguments)
    found: dict[str, str] = {}
    for key, text in arguments.items():
        name = lycoris.RENAMED.get(key, key)
        off = name in lycoris.SWITCHES - lycoris.ON_BY_DEFAULT and lycoris.parse_switch(text) is False
        if not off and key not in lycoris.TURNED:
            found.setdefault(name, text)
    return found


def kind(full: bool, module: str, arguments: Mapping[str, str]) -> Kind:
    """What the network trains."""
    if full:
        return Kind.DREAMBOOTH
    is_lycoris = module.startswith("lycoris.")
    algorithm = lycoris.NATIVE.get(module) or (arguments.get("algo", "lora").lower() if is_lycoris else "")
    if algorithm in {"loha", "lokr"}:
        return Kind(algorithm)
    if is_lycoris:
        return Kind.LOCON if algorithm not in lycoris.PLAIN or lycoris.reaches_more_than_lora(arguments) else Kind.LORA
    return Kind.LOCON if {"conv_dim", "conv_block_dims"} & arguments.keys() else Kind.LORA
