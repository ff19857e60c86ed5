"""What image programs read in a picture of how it was drawn: A1111's text, and ComfyUI's two graphs."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from sdxl_train_cli import files
from sdxl_train_cli.sharing.drawing import Drawing, SamplerNames
from sdxl_train_cli.sharing.model_copy import ModelHashes

_NODES = Path(__file__).with_name("comfy_nodes.json")
_APP = "sdxl-train"
_USUAL = SamplerNames("Euler", "euler", "normal")
_USUAL_STEPS, _USUAL_SCALE = 20, 8.0
"""ComfyUI's own, for the graph of a picture that doesn't tell: a sampler without numbers would not run.
Source: ComfyUI, nodes.py: KSampler.INPUT_TYPES; Comfy-Org/ComfyUI_frontend, src/scripts/defaultGraph.ts."""


@dataclass(frozen=True)
class SharedModel:
    """The file as image programs name it."""

    stem: str
    kind: str
    """`network`, `checkpoint` or `embedding`."""
    hashes: ModelHashes
    base: str | None
    """The base's file name. None if it isn't known."""
    word: str | None = None
    """Of an embedding: the word that it was trained as. Programs know it by its file's name."""

    @property
    def file(self) -> str:
        """The file's name."""
        return f"{self.stem}.safetensors"


def a1111(drawing: Drawing, model: SharedModel, size: tuple[int, int]) -> str:
    """The text that A1111 and Forge write into a PNG as `parameters`, and read back from it."""
    prompt = _one_line(drawing.prompt)
    if model.kind == "network":
        prompt = f"{prompt} <lora:{model.stem}:{drawing.strength:g}>".strip()
    elif model.kind == "embedding":
        prompt = _with_word(prompt, model.word, model.stem)
    told = {
        "Steps": drawing.steps,
        "Sampler": drawing.sampler.a1111 if drawing.sampler else None,
        "CFG scale": None if drawing.scale is None else f"{drawing.scale:g}",
        "Seed": drawing.seed,
        "Size": f"{size[0]}x{size[1]}",
        **_hashes(model),
        "Version": _APP,  # with it, even a drawing that tells little has the three pairs that A1111 asks for
    }
    last = ", ".join(f"{key}: {_quoted(str(value))}" for key, value in told.items() if value is not None)
    negative = [f"Negative prompt: {_one_line(drawing.negative)}"] if drawing.negative else []
    return "\n".join([prompt, *negative, last])


def _hashes(model: SharedModel) -> dict[str, str | None]:
    if model.kind == "checkpoint":
        return {"Model hash": model.hashes.auto_v2, "Model": model.stem}
    key = "Lora hashes" if model.kind == "network" else "TI hashes"
    return {
        "Model": None if model.base is None else Path(model.base).stem,
        key: f"{model.stem}: {model.hashes.auto_v3}",
    }


def _quoted(value: str) -> str:
    """A value as A1111 writes it where it holds what separates values."""
    return json.dumps(value, ensure_ascii=False) if re.search(r"[,:\n]", value) else value


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _with_word(prompt: str, word: str | None, name: str) -> str:
    """The prompt with the name by which a program knows an embedding in place of the word of its training."""
    if word:
        pattern = re.compile(rf"(?<!\w){re.escape(word)}(?!\w)")
        if pattern.search(prompt):
            return pattern.sub(lambda _: name, prompt)
    return ", ".join(filter(None, (name, prompt)))


@dataclass(frozen=True)
class _Node:
    """One node: its number, what it is, the values of its widgets, and which node's output each input takes."""

    number: int
    type: str
    values: Mapping[str, object]
    links: Mapping[str, tuple[int, int]]
    down: int = 0
    """Pixels below its type's usual place."""


def comfy_prompt(drawing: Drawing, model: SharedModel, size: tuple[int, int]) -> str:
    """What ComfyUI writes into a PNG as `prompt`: the graph as its server runs it."""
    graph = {}
    for node in _graph(drawing, model, size):
        hidden = _types()[node.type].get("shown_only", [])
        inputs = {name: value for name, value in node.values.items() if name not in hidden}
        links = {name: [str(number), slot] for name, (number, slot) in node.links.items()}
        graph[str(node.number)] = {"class_type": node.type, "inputs": {**inputs, **links}}
    return json.dumps(graph, separators=(",", ":"))


def comfy_workflow(drawing: Drawing, model: SharedModel, size: tuple[int, int]) -> str:
    """What ComfyUI writes into a PNG as `workflow`: the graph as its page shows it."""
    nodes = _graph(drawing, model, size)
    links = [
        [number, source, slot, node.number, at, _types()[node.type]["inputs"][name]]
        for number, (node, at, name, source, slot) in enumerate(_connections(nodes), start=1)
    ]
    shown = [_shown(node, order, links) for order, node in enumerate(nodes)]
    last = max(node.number for node in nodes)
    graph = {"last_node_id": last, "last_link_id": len(links), "nodes": shown, "links": links, "groups": [],
             "config": {}, "extra": {}, "version": _table()["version"]}  # fmt: skip
    return json.dumps(graph, separators=(",", ":"))


def _connections(nodes: list[_Node]) -> list[tuple[_Node, int, str, int, int]]:
    return [
        (node, at, name, *node.links[name]) for node in nodes for at, name in enumerate(_types()[node.type]["inputs"])
    ]


def _shown(node: _Node, order: int, links: list[list[Any]]) -> dict[str, object]:
    form = _types()[node.type]
    inputs = [
        {"name": name, "type": kind, "link": next(each[0] for each in links if each[3:5] == [node.number, at])}
        for at, (name, kind) in enumerate(form["inputs"].items())
    ]
    outputs = [
        {"name": kind, "type": kind, "slot_index": slot,
         "links": [each[0] for each in links if each[1:3] == [node.number, slot]]}
        for slot, kind in enumerate(form["outputs"])
    ]  # fmt: skip
    across, down = form["place"]
    return {"id": node.number, "type": node.type, "pos": [across, down + node.down], "size": form["size"], "flags": {},
            "order": order, "mode": 0, "inputs": inputs, "outputs": outputs,
            "properties": {"Node name for S&R": node.type},
            "widgets_values": [node.values[name] for name in form["widgets"]]}  # fmt: skip


def _graph(drawing: Drawing, model: SharedModel, size: tuple[int, int]) -> list[_Node]:
    """The smallest graph that draws with the file, in the order in which it runs."""
    sampler, prompt = drawing.sampler or _USUAL, _one_line(drawing.prompt)
    loaded = model.file if model.kind == "checkpoint" else model.base or "base.safetensors"
    if model.kind == "embedding":
        prompt = _with_word(prompt, model.word, f"embedding:{model.stem}")
    source = 2 if model.kind == "network" else 1
    strengths = {"strength_model": drawing.strength, "strength_clip": drawing.strength}
    network = _Node(2, "LoraLoader", {"lora_name": model.file, **strengths}, {"model": (1, 0), "clip": (1, 1)})
    values = {"seed": drawing.seed or 0, "control_after_generate": "randomize" if drawing.seed is None else "fixed",
              "steps": drawing.steps or _USUAL_STEPS, "cfg": _USUAL_SCALE if drawing.scale is None else drawing.scale,
              "sampler_name": sampler.comfy, "scheduler": sampler.schedule, "denoise": 1.0}  # fmt: skip
    taken = {"model": (source, 0), "positive": (3, 0), "negative": (4, 0), "latent_image": (5, 0)}
    return [
        _Node(1, "CheckpointLoaderSimple", {"ckpt_name": loaded}, {}),
        *([network] if model.kind == "network" else []),
        _Node(3, "CLIPTextEncode", {"text": prompt}, {"clip": (source, 1)}),
        _Node(4, "CLIPTextEncode", {"text": _one_line(drawing.negative)}, {"clip": (source, 1)}, 200),
        _Node(5, "EmptyLatentImage", {"width": size[0], "height": size[1], "batch_size": 1}, {}),
        _Node(6, "KSampler", values, taken),
        _Node(7, "VAEDecode", {}, {"samples": (6, 0), "vae": (1, 2)}),
        _Node(8, "SaveImage", {"filename_prefix": model.stem}, {"images": (7, 0)}),
    ]


def _types() -> Mapping[str, Any]:
    nodes: Mapping[str, Any] = _table()["nodes"]
    return nodes


@cache
def _table() -> Mapping[str, Any]:
    table: Mapping[str, Any] = json.loads(files.read_text(_NODES))
    return table
