"""Hostile texts: presets, projects, other programs' settings, headers, configs and captions of datasets, logs."""

from __future__ import annotations

import json
import struct
from typing import Any

from attacks import odd_pictures, world
from attacks.attempt import Attempt

PRESETS = world.TESTS.parent / "presets"
FOREIGN = world.TESTS / "foreign"
SIGNATURES = world.TESTS.parent / "sdxl_train_cli" / "failures" / "signatures"


def preset(attempt: Attempt) -> None:
    """A preset file, of one's own or in one's folder of presets."""
    source = attempt.drawn.choice(sorted(PRESETS.rglob("*.yaml")))
    name = attempt.write("a.yaml", attempt.spoiler.lines(source.read_text(encoding="utf-8")))
    own = attempt.write("config/presets/lora/own.yaml", (attempt.folder / name).read_bytes())
    attempt.call(
        (
            ["presets", "check", name],
            ["presets", "show", name],
            ["presets", "show", name, "--json"],
            ["presets", "list"],
            ["presets", "diff", name, "dim32"],
            ["presets", "check", own],
            ["presets", "show", "own"],
            ["presets", "schema"],
            ["presets", "export", name, "--to", attempt.drawn.choice(("toml", "kohya-gui", "command"))],
            ["lora", "--preset", name, *attempt.training],
            ["lora", "--preset", "own", *attempt.training],
            ["dataset", "check", "data", "--preset", name],
            ["plan", "--gpu", "12"],
            ["dataset", "show", "data", "--preset", name],
        )
    )


def project(attempt: Attempt) -> None:
    """The project file of the current folder, or the user's config file."""
    text = (
        "kind: lora\npreset: dim32-gc\nmodel: model.safetensors\ndata: data\noutput: output\nname: cat\ntrigger: ohwx\n"
        "reg: reg\nvae: vae.safetensors\nset:\n  seed: 1\n  max_train_steps: 10\n  optimizer_args: [a=1, b=2]\n"
    )
    attempt.write("sdxl-train.yaml", attempt.spoiler.lines(text))
    if attempt.chance(0.3):
        attempt.write("config/config.yaml", attempt.spoiler.lines("source: ./none\nhome: home\n"))
        attempt.environ = {"SDXL_TRAIN_HOME": ""}
    attempt.call(
        (
            ["lora", "--dry-run", "--no-vram-check"],
            ["runs", "list"],
            ["runs", "show", "cat"],
            ["dataset", "check"],
            ["dataset", "show"],
            ["init"],
            ["dreambooth", "--dry-run"],
            ["plan", "--gpu", "8"],
            ["presets", "list"],
            ["fit", "--help"],
            ["lora", "--dry-run", "--no-vram-check", "--set", "seed=2"],
        )
    )


def foreign(attempt: Attempt) -> None:
    """Another program's settings."""
    source = attempt.drawn.choice(sorted(FOREIGN.iterdir()))
    text, suffix = source.read_text(encoding="utf-8"), source.suffix
    spoiler = attempt.spoiler
    content = (
        spoiler.dumped(spoiler.document(json.loads(text)), indent=1) if suffix == ".json" else spoiler.lines(text, "= ")
    )
    name = attempt.write(f"import{attempt.drawn.choice((suffix, suffix, suffix, '.json', '.toml', '.txt'))}", content)
    attempt.call((
        ["presets", "import", name, "--to", "new"], ["presets", "import", name], ["presets", "import", name, "--json"],
        ["presets", "import", name, "--to", "new", "--force"], ["presets", "check", name],
    ))  # fmt: skip


def trained(attempt: Attempt) -> None:
    """A trained network's file, with its own record of how it was made."""
    record = {
        "ss_network_dim": "16",
        "ss_network_alpha": "8",
        "ss_learning_rate": "1e-4",
        "ss_network_module": "networks.lora",
        "ss_network_args": '{"conv_dim": "8"}',
        "ss_optimizer": "bitsandbytes.optim.adamw.AdamW8bit(weight_decay=0.1)",
        "ss_datasets": '[{"resolution": [1024, 1024], "batch_size_per_device": 2}]',
        "ss_max_train_steps": "100",
        "ss_bucket_info": '{"buckets": {"0": {"resolution": [64, 64], "count": 1}}}',
        "ss_tag_frequency": "{}",
        "ss_output_name": "cat",
        "ss_lr_scheduler": "cosine",
        "ss_mixed_precision": "bf16",
        "ss_seed": "1",
    }
    facts: dict[str, Any] = world.header(("lora_unet_a.lora_down.weight", "lora_unet_a.lora_up.weight"), record)
    name = attempt.write("net.safetensors", _safetensors(attempt, facts))
    attempt.call(
        (
            ["presets", "import", name, "--to", "new"],
            ["presets", "import", name],
            ["lora", *attempt.training, "--set", f"network_weights={name}"],
        )
    )


def model(attempt: Attempt) -> None:
    """A base model or VAE."""
    name = attempt.write(
        "odd.safetensors", _safetensors(attempt, dict(world.header(metadata={"modelspec.title": "x"})))
    )
    given = ["--model", name] if attempt.chance(0.7) else ["--vae", name]
    attempt.call((
        ["lora", *attempt.training, *given], ["dreambooth", *attempt.training, *given], ["presets", "import", name],
    ))  # fmt: skip


def _safetensors(attempt: Attempt, facts: dict[str, Any]) -> bytes:
    spoiler, drawn = attempt.spoiler, attempt.drawn
    text = spoiler.dumped(spoiler.document(facts))
    length = drawn.choice((len(text),) * 6 + (0, 1, 8, 2**31, 2**63, 2**64 - 1, len(text) + 1, max(0, len(text) - 1)))
    content = struct.pack("<Q", length) + text + bytes(2 * len(facts))
    return spoiler.content(content) if attempt.chance(0.15) else content


def dataset_config(attempt: Attempt) -> None:
    """sd-scripts' own config of a dataset."""
    subset = {
        "image_dir": "data",
        "num_repeats": 2,
        "class_tokens": "cat",
        "caption_extension": ".txt",
        "is_reg": False,
        "shuffle_caption": True,
        "keep_tokens": 1,
        "caption_prefix": "a ",
        "flip_aug": False,
    }
    catalogued = {"metadata_file": "meta.json", "image_dir": "data"}
    document = {
        "general": {"resolution": 512, "enable_bucket": True},
        "datasets": [
            {
                "resolution": [1024, 1024],
                "batch_size": 2,
                "max_bucket_reso": 2048,
                "bucket_reso_steps": 64,
                "subsets": [subset, catalogued],
            }
        ],
    }
    spoiler = attempt.spoiler
    attempt.write("meta.json", b'{"data/0": {"caption": "a cat", "tags": "x"}}')
    if attempt.chance(0.6):
        name = attempt.write("set.json", spoiler.dumped(spoiler.document(document)))
    else:
        name = attempt.write("set.toml", spoiler.lines(_TOML, "="))
    attempt.call(odd_pictures.looks(name, attempt))


_TOML = """[general]
resolution = 512
enable_bucket = true
[[datasets]]
batch_size = 2
resolution = [1024, 1024]
  [[datasets.subsets]]
  image_dir = "data"
  num_repeats = 2
  class_tokens = "cat"
  caption_extension = ".txt"
"""


def metadata(attempt: Attempt) -> None:
    """Captions and tags in one file: sd-scripts' JSON, JSON lines, or an imagefolder's metadata."""
    spoiler, drawn = attempt.spoiler, attempt.drawn
    entries = {
        f"data/{n}.png": {"caption": "a cat", "tags": "cat, sitting", "train_resolution": [64, 48]} for n in range(3)
    }
    rows = [{"file_name": f"{n}.png", "text": "a cat", "additional_feature": "x"} for n in range(3)]
    way = drawn.randrange(3)
    if way == 0:
        name = attempt.write("meta.json", spoiler.dumped(spoiler.document(entries)))
    elif way == 1:
        lines = [{"image_path": f"data/{n}.png", "caption": "a cat"} for n in range(3)]
        spoilt = spoiler.document(lines)
        entries_of = spoilt if isinstance(spoilt, list) else [spoilt]
        name = attempt.write("meta.jsonl", b"\n".join(spoiler.dumped(one) for one in entries_of))
    else:
        spoiled = spoiler.document(rows)
        lines_of = spoiled if isinstance(spoiled, list) else [spoiled]
        attempt.write("data/metadata.jsonl", b"\n".join(spoiler.dumped(one) for one in lines_of))
        if attempt.chance(0.3):
            attempt.write("data/metadata.csv", spoiler.lines("file_name,text\n0.png,a cat\n1.png,a dog", ","))
        name = "data"
    attempt.call(odd_pictures.looks(name, attempt))


def log(attempt: Attempt) -> None:
    """Any text as a log, and any table as measurements."""
    known = "".join(path.read_text(encoding="utf-8") for path in sorted(SIGNATURES.glob("*.toml")))
    at = attempt.drawn.randrange(len(known))
    name = attempt.write("a.log", attempt.spoiler.lines(known[at : at + 4000], ":("))
    attempt.call((["runs", "explain", name], ["runs", "explain", name, "--json"], ["vram", "--merge", name]))
