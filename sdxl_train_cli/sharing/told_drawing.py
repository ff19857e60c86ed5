"""What a picture says of how it was drawn, as A1111, Forge or ComfyUI wrote it. Doubtful parts are left unknown."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from PIL import ExifTags, Image

from sdxl_train_cli import files
from sdxl_train_cli.sharing import drawing
from sdxl_train_cli.sharing.drawing import Drawing, SamplerNames

_LONGEST = 1 << 20
_COMMENT = 0x9286
"""EXIF's UserComment, where A1111 writes into a JPEG or WebP."""
_PAIR = re.compile(r'\s*(\w[\w /-]*):\s*("(?:\\.|[^"\\])*"|[^,]*)(?:,|$)')
_WEIGHT = re.compile(r"<lora:[^:<>]+:(-?\d+(?:\.\d+)?)>", re.IGNORECASE)
_TEXTS = {"parameters", "prompt", "workflow"}
_LEAST_PAIRS = 3
"""As A1111 asks for, before it takes a last line for settings."""


def read(picture: Image.Image, strength: float) -> Drawing | None:
    """How it was drawn. None if it does not tell. `strength` is the network's where its prompt names none."""
    told = picture.info.get("parameters") or _comment(picture)
    if isinstance(told, str) and told.strip():
        return _of_a1111(told[:_LONGEST], strength)
    graph = picture.info.get("prompt")
    return _of_comfy(graph, strength) if isinstance(graph, str) and len(graph) < _LONGEST else None


def kinds(picture: Image.Image) -> Iterator[str]:
    """What metadata the picture has, in words."""
    if picture.getexif():
        yield "EXIF"
    texts = [str(key) for key, value in picture.info.items() if isinstance(value, str) and key not in _TEXTS]
    if any("xmp" in key.lower() for key in (*texts, *map(str, picture.info))):
        yield "XMP"
    if any("xmp" not in key.lower() for key in texts):
        yield "texts"
    if any(key in picture.info for key in _TEXTS):
        yield "former generation data"
    if picture.info.get("icc_profile"):
        yield "the colour profile"


def _comment(picture: Image.Image) -> str | None:
    raw = picture.getexif().get_ifd(ExifTags.IFD.Exif).get(_COMMENT)
    if not isinstance(raw, bytes):
        return raw if isinstance(raw, str) else None
    return raw[8:].decode("utf-16-be" if raw.startswith(b"UNICODE") else "utf-8", "replace")


def _of_a1111(text: str, strength: float) -> Drawing:
    *above, last = text.strip().split("\n")
    pairs = {key.strip(): value.strip() for key, value in _PAIR.findall(last)}
    if len(pairs) < _LEAST_PAIRS:
        above, pairs = [*above, last], {}
    prompt, _, negative = "\n".join(above).partition("Negative prompt:")
    weight = _WEIGHT.search(prompt)
    return Drawing(
        prompt=prompt.strip(),
        negative=negative.strip(),
        steps=_whole(pairs.get("Steps")),
        scale=_number(pairs.get("CFG scale")),
        seed=_whole(pairs.get("Seed")),
        sampler=_sampler("a1111", pairs.get("Sampler", "")),
        strength=float(weight[1]) if weight else strength,
    )


def _of_comfy(text: str, strength: float) -> Drawing | None:
    try:
        graph = files.parse_json(text)
    except ValueError:
        return None
    nodes = {str(key): node for key, node in graph.items() if isinstance(node, dict)} if isinstance(graph, dict) else {}
    drawn = next((node for node in nodes.values() if node.get("class_type") in {"KSampler", "KSamplerAdvanced"}), None)
    inputs = _inputs(drawn)
    if not inputs:
        return None
    loader = _inputs(next((node for node in nodes.values() if node.get("class_type") == "LoraLoader"), None))
    return Drawing(
        prompt=_text(nodes, inputs.get("positive")),
        negative=_text(nodes, inputs.get("negative")),
        steps=_whole(inputs.get("steps")),
        scale=_number(inputs.get("cfg")),
        seed=_whole(inputs.get("seed", inputs.get("noise_seed"))),
        sampler=_sampler("comfy", str(inputs.get("sampler_name", ""))),
        strength=_number(loader.get("strength_model")) or strength,
    )


def _inputs(node: Mapping[str, object] | None) -> Mapping[str, object]:
    inputs = None if node is None else node.get("inputs")
    return inputs if isinstance(inputs, dict) else {}


def _text(nodes: Mapping[str, Mapping[str, object]], link: object) -> str:
    """The text that a link leads to."""
    node = nodes.get(str(link[0])) if isinstance(link, list) and link else None
    found = _inputs(node).get("text")
    return found if isinstance(found, str) else ""


def _sampler(program: str, name: str) -> SamplerNames | None:
    return next((each for each in drawing.samplers().values() if getattr(each, program) == name), None)


def _number(value: object) -> float | None:
    match = re.fullmatch(r"\d{1,9}(?:\.\d{1,9})?", str(value))
    return float(match[0]) if match else None


def _whole(value: object) -> int | None:
    match = re.fullmatch(r"\d{1,19}", str(value))
    return int(match[0]) if match else None
