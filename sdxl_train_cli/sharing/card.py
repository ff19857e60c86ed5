"""The model card, README.md: for a person, and with a head that the hub reads. It holds no time and no path."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from sdxl_train_cli import formatting, untrusted_files
from sdxl_train_cli.inspection import verdict
from sdxl_train_cli.sharing import markdown
from sdxl_train_cli.sharing.share_facts import ShareFacts

FILE = "README.md"
_USAGE = Path(__file__).with_name("usage.toml")
_TAGS = {"network": "lora", "embedding": "textual_inversion", "checkpoint": "diffusers"}
_RELATIONS = {"network": "adapter", "checkpoint": "finetune"}
_LOAD = """import torch
from diffusers import {imports}

pipeline = StableDiffusionXLPipeline.{loader}(
    {source}, torch_dtype=torch.float16
).to("cuda")"""
_V_SCHEDULER = """
pipeline.scheduler = EulerDiscreteScheduler.from_config(
    pipeline.scheduler.config, prediction_type="v_prediction", rescale_betas_zero_snr=True
)"""


def text(facts: ShareFacts) -> str:
    """The whole card."""
    parts = [
        _front_matter(facts), f"# {markdown.plain(facts.title)}", *_opening(facts),
        "## How to use it", *_use(facts),
        "## Base and licence", *_licence(facts),
        "## Training", *_training(facts),
        *_samples(facts),
        "## Examined", _examined(facts),
        "## The file", _file(facts),
        "Made with sdxl-train, which trains with [sd-scripts](https://github.com/kohya-ss/sd-scripts).",
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def _front_matter(facts: ShareFacts) -> str:
    kind, hub = facts.model.kind, facts.base.hub
    licence = dict(facts.licence.hub) if facts.licence is not None else {}
    widget = [
        {"text": preview.drawn.prompt, "output": {"url": preview.name}}
        for preview in facts.previews
        if preview.drawn is not None and preview.drawn.prompt
    ]
    tags = ["text-to-image", "stable-diffusion-xl", *dict.fromkeys((_TAGS[kind], "diffusers")), "sd-scripts"]
    return markdown.front_matter({
        **licence,
        "base_model": hub,
        "base_model_relation": _RELATIONS.get(kind) if hub else None,
        "pipeline_tag": "text-to-image",
        "library_name": "diffusers",
        "instance_prompt": facts.trigger,
        "tags": [*tags, *(["template:sd-lora"] if kind == "network" else [])],
        "widget": widget,
    })  # fmt: skip


def _opening(facts: ShareFacts) -> Iterator[str]:
    ranks = facts.look.ranks
    rank = f", rank {formatting.ranged(ranks)}" if ranks else ""
    moment = f", saved at {facts.moment} of its training" if facts.moment else ""
    author = f" By {markdown.plain(facts.author)}." if facts.author else ""
    article = "An" if facts.what.startswith(("SD", "embedding")) else "A"
    yield f"{article} {facts.what}{rank}, {formatting.size(facts.copy.size_bytes)}{moment}.{author}"
    if facts.description:
        yield markdown.plain(facts.description)
    if facts.previews:
        yield "<Gallery />"


def _use(facts: ShareFacts) -> Iterator[str]:
    trigger = markdown.code(facts.trigger) if facts.trigger else "unknown"
    lines = [f"- Trigger: {trigger}"]
    if facts.model.kind == "network":
        lines.append(f"- Strength to begin with: {facts.strength.words}")
    if facts.is_v_prediction:
        lines.append("- It was trained for v-prediction: use it with a base that predicts v.")
    yield "\n".join(lines)
    can = {reading.program for reading in facts.readings if reading.obstacle is None}
    for row in _rows():
        if row["kind"] == facts.model.kind and row["program"] in can:
            more = f" {row['previews']}" if "previews" in row and facts.previews else ""
            yield f"**{row['program']}**: {_filled(row['text'], facts)}{more}"
            if "code" in row:
                yield markdown.fenced(_filled(row["code"], facts), "python")
    for reading in facts.readings:
        if reading.obstacle is not None:
            yield f"{reading.program} {verdict.obstacle_words(reading)}."


def _filled(text: str, facts: ShareFacts) -> str:
    prompt = " ".join(filter(None, (facts.trigger, f"<lora:{facts.model.stem}:{facts.strength.figure:g}>")))
    values = {
        "file": facts.model.file, "stem": facts.model.stem, "strength": f"{facts.strength.figure:g}",
        "prompt": markdown.code(prompt), "load": _load(facts),
        "base": f" {markdown.code(facts.base.file)}" if facts.base.file else "",
        "words": json.dumps(facts.trigger or "a photo", ensure_ascii=False),
    }  # fmt: skip
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", value)
    return text


def _load(facts: ShareFacts) -> str:
    source = facts.base.hub if facts.model.kind != "checkpoint" else None
    single = facts.model.file if facts.model.kind == "checkpoint" else facts.base.file or "base.safetensors"
    loader, name = ("from_pretrained", source) if source else ("from_single_file", single)
    scheduler = "EulerDiscreteScheduler, " if facts.is_v_prediction else ""
    load = _LOAD.format(
        imports=f"{scheduler}StableDiffusionXLPipeline", loader=loader, source=json.dumps(name, ensure_ascii=False)
    )
    return load + (_V_SCHEDULER if facts.is_v_prediction else "")


def _licence(facts: ShareFacts) -> Iterator[str]:
    base, licence = facts.base, facts.licence
    if not base.name:
        yield f"Base: unknown.{f' Its file was called {markdown.code(base.file)}.' if base.file else ''}"
    else:
        link = f"[{markdown.plain(base.name)}](https://huggingface.co/{base.hub})" if base.hub else None
        yield f"Base: {link or markdown.code(base.name)}{f', known by its {base.known_by}' if base.known_by else ''}."
    if facts.is_licence_typed and licence is not None:
        yield f"Licence of this file: {_linked(licence.name, licence.link)}."
    own = base.licence
    if own is None:
        yield "The licence of the base isn't known here. It may ask something of files that were trained on it."
        return
    same = "" if facts.is_licence_typed else " This file is shared under the same one."
    yield f"The base has the {_linked(own.name, own.link)}.{same} In short, it asks that:"
    yield "\n".join(f"- {markdown.plain(each)}" for each in own.asks)
    yield "Its own text counts, not this summary."


def _linked(name: str, link: str | None) -> str:
    return f"[{markdown.plain(name)}]({link})" if link else markdown.plain(name)


def _training(facts: ShareFacts) -> Iterator[str]:
    training = facts.training
    rows = [*training.settings, *training.versions]
    yield markdown.table(("setting", "value"), [(markdown.plain(name), markdown.code(value)) for name, value in rows])
    data = training.data
    told = []
    if data.pictures is not None:
        times = f", each {formatting.ranged(data.repeats)} times an epoch" if max(data.repeats, default=1) > 1 else ""
        told.append(f"{formatting.counted(data.pictures, 'picture')}{times}")
    told += [f"at {data.resolution.replace(',', 'x')}"] if data.resolution else []
    yield f"Data: {' '.join(told)}." if told else "Data: unknown."
    if data.tags:
        yield "Commonest tags: " + ", ".join(f"{markdown.code(tag)} ({count})" for tag, count in data.tags) + "."


def _samples(facts: ShareFacts) -> Iterator[str]:
    if not facts.previews:
        return
    yield "## Samples"
    for preview in facts.previews:
        yield f"![{markdown.plain(preview.drawn.prompt) if preview.drawn else 'sample'}]({preview.name})"
        if preview.drawn is not None:
            drawn = preview.drawn
            settings = {
                "negative prompt": drawn.negative or None, "steps": drawn.steps,
                "CFG scale": None if drawn.scale is None else f"{drawn.scale:g}",
                "sampler": drawn.sampler.a1111 if drawn.sampler else None, "seed": drawn.seed,
                "strength": f"{drawn.strength:g}" if facts.model.kind == "network" else None,
                "drawn at": preview.moment,
            }  # fmt: skip
            told = [f"{name} {markdown.code(str(value))}" for name, value in settings.items() if value is not None]
            yield f"{markdown.code(drawn.prompt or '(no prompt)')}: {', '.join(told)}"


def _examined(facts: ShareFacts) -> str:
    found, held_back = facts.training.examination, facts.training.held_back
    lines = ["What is in its weights was not looked at by the run that made it."]
    if found is not None:
        lines = [f"{markdown.plain(found.summary[:1].upper() + found.summary[1:])}."]
        lines += [f"- {markdown.plain(finding.message)}" for finding in found.findings]
    return "\n".join(lines) + (f"\n\nOn held-back pictures: {markdown.plain(held_back)}." if held_back else "")


def _file(facts: ShareFacts) -> str:
    hashes = facts.copy.hashes
    rows = [
        ("file", markdown.code(facts.model.file)), ("size", f"{facts.copy.size_bytes:,} bytes"),
        ("SHA-256", markdown.code(hashes.sha256)), ("AutoV2", markdown.code(hashes.auto_v2)),
        ("AutoV3", markdown.code(hashes.auto_v3)),
    ]  # fmt: skip
    return markdown.table(("fact", "value"), rows)


@cache
def _rows() -> tuple[dict[str, Any], ...]:
    found: Any = untrusted_files.toml_table(_USAGE.read_text(encoding="utf-8"), _USAGE.name)["usage"]
    return tuple(found)
