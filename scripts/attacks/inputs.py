"""What the fuzzer feeds: for each door of the product a folder with something hostile in it, and the calls to try."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import shutil
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import typer
from PIL import Image

from attacks import world
from attacks.spoil import HOT_NUMBERS, HOT_TEXTS, NUMBERS, TEXTS, Spoiler
from attacks.world import World
from sdxl_train_cli import cli

PRESETS = world.TESTS.parent / "presets"
FOREIGN = world.TESTS / "foreign"


@dataclass
class Attempt:
    """One call in a folder of its own."""

    folder: Path
    world: World
    drawn: random.Random
    argv: list[str] = field(default_factory=list)
    environ: dict[str, str] = field(default_factory=dict)

    @property
    def spoiler(self) -> Spoiler:
        """What makes things wrong."""
        return Spoiler(self.drawn)

    def write(self, name: str, content: bytes) -> str:
        """Write a file into the folder."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return name

    def call(self, choices: Sequence[Sequence[str]]) -> None:
        """Take one of these command lines."""
        self.argv = list(self.drawn.choice(choices))

    def chance(self, share: float) -> bool:
        """True in this share of cases."""
        return self.drawn.random() < share

    @property
    def training(self) -> list[str]:
        """The words of a run that is only planned."""
        return ["--model", "model.safetensors", "--data", "data", "--no-vram-check", "--dry-run"]


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
    attempt.call(_looks(name, attempt))


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


def _looks(name: str, attempt: Attempt) -> list[list[str]]:
    run = ["lora", "--model", "model.safetensors", "--data", name, "--no-vram-check", "--name", "new", "--steps", "3"]
    return [
        ["dataset", "check", name],
        ["dataset", "check", name, "--json"],
        ["dataset", "check", name, "--strict"],
        ["dataset", "show", name],
        ["dataset", "show", name, "--json"],
        ["dataset", "show", name, "--html", "page.html"],
        ["dataset", "fix", name, "--to", "fixed"],
        ["dataset", "fix", name, "--to", "fixed", "--trigger", "ohwx"],
        ["dataset", "caption", name],
        [*run, "--dry-run"],
        run if attempt.chance(0.2) else [*run, "--dry-run"],
        ["dataset", "check", name, "--trigger", "ohwx", "--reg", "data", "--repeats", "3"],
    ]


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
        name = attempt.write("meta.jsonl", b"\n".join(spoiler.dumped(one) for one in spoiler.document(lines) or [])
                             if isinstance(lines, list) else b"")  # fmt: skip
    else:
        spoiled = spoiler.document(rows)
        lines_of = spoiled if isinstance(spoiled, list) else [spoiled]
        attempt.write("data/metadata.jsonl", b"\n".join(spoiler.dumped(one) for one in lines_of))
        if attempt.chance(0.3):
            attempt.write("data/metadata.csv", spoiler.lines("file_name,text\n0.png,a cat\n1.png,a dog", ","))
        name = "data"
    attempt.call(_looks(name, attempt))


_ROOM = 100
"""Bytes of a name that leave room for a path."""
ODD_NAMES = (
    b"10_cat",
    b"99999999999999999999_cat",
    b"-1_x",
    b"0_x",
    b"1_",
    b"_",
    b"\x1b]0;owned\x07",
    b"a\nb",
    b"a\rb",
    b"\xff\xfe",
    b"x" * 250,
    "\u00e9".encode() * 120,
    b" ",
    b"...",
    b".hidden",
    b"-rf",
    b"--help",
    b"1_\x1b[31m",
    b"con",
    b"a:b",
    b"a*b?",
    b"'",
    b'"',
    b"$(touch pwned)",
    b"`x`",
    b"[old]",
    b"{x}",
    b"%s",
    b"~",
    "\u202egnp".encode(),
    b"1" * 200 + b"_x",
    b"\x7f",
    "\uff11_x".encode(),
    b"1e5_x",
    b"01_x",
    b"1_2_3",
    b"a\tb",
    "\u0301".encode(),
    b"\xc2\x9b31m",
)


def pictures(attempt: Attempt) -> None:
    """A folder with odd names, odd files and odd pictures."""
    drawn, data = attempt.drawn, attempt.folder / "data"
    for _ in range(drawn.choice((1, 2, 4, 8))):
        folder = data
        if attempt.chance(0.4):
            folder = data / os.fsdecode(drawn.choice(ODD_NAMES))
        stem = os.fsdecode(drawn.choice((*ODD_NAMES, b"0", b"1", b"new")))
        suffix = drawn.choice((".png", ".jpg", ".PNG", ".webp", ".bmp", ".jpeg", ".avif", ".gif", ""))
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _odd_picture(attempt, folder / f"{stem}{suffix}")
            if attempt.chance(0.5):
                _odd_caption(
                    attempt, folder / f"{stem}{drawn.choice(('.txt', '.caption', '.npz', '_sdxl.npz', '.json'))}"
                )
        except (OSError, ValueError):
            continue
    attempt.call(_looks("data", attempt))


def _odd_picture(attempt: Attempt, path: Path) -> None:
    """Put anything where a picture is expected."""
    drawn = attempt.drawn
    content = io.BytesIO()
    mode = drawn.choice(("RGB", "RGBA", "L", "P", "1", "CMYK", "I;16", "F", "LA"))
    with contextlib.suppress(OSError, ValueError, KeyError):
        Image.new(mode, drawn.choice(_SIZES)).save(content, drawn.choice(("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP")))
    good, target = content.getvalue(), drawn.choice((path.name, "..", "nowhere", "../mine/novel.txt", "."))
    acts: tuple[Callable[[], object], ...] = (
        path.mkdir,
        lambda: os.mkfifo(path),
        lambda: path.symlink_to(target),
        lambda: path.write_bytes(b""),
        lambda: path.write_bytes(_png(*drawn.choice(_LIES))),
        lambda: path.write_bytes(attempt.spoiler.content(good)),
        lambda: path.write_bytes(good),
    )
    drawn.choices(acts, (1, 1, 1, 1, 2, 3, 3))[0]()


_LIES = ((2**31 - 1, 2**31 - 1), (20_000, 20_000), (1, 65_535), (0, 0), (30_000, 300))
_SIZES = ((64, 48), (1, 1), (1, 3000), (2000, 3), (512, 512), (1024, 768), (65, 63))


def _png(width: int, height: int) -> bytes:
    """A picture that says it is so large, and holds nothing."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", len(head)) + b"IHDR" + head + struct.pack(">I", zlib.crc32(b"IHDR" + head))
    data = zlib.compress(b"\0" * 100)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk
        + struct.pack(">I", len(data))
        + b"IDAT"
        + data
        + struct.pack(">I", zlib.crc32(b"IDAT" + data))
    )


def _odd_caption(attempt: Attempt, path: Path) -> None:
    """Put anything where a caption is expected."""
    long = (b" " * 500_000, b"(" * 50_000, b"cat, " * 100_000, b"\0" * 1000, b"x" * 2_000_000)
    acts: tuple[Callable[[], object], ...] = (
        lambda: os.mkfifo(path),
        path.mkdir,
        lambda: path.write_bytes(attempt.drawn.choice(long)),
        lambda: path.write_bytes(attempt.spoiler.lines("a photo of a cat, sitting, (red:1.2), [blue]\n", ",")),
    )
    attempt.drawn.choices(acts, (1, 1, 2, 4))[0]()


def record(attempt: Attempt) -> None:
    """What a run has left, by itself or by others."""
    drawn, spoiler = attempt.drawn, attempt.spoiler
    run = attempt.folder / "output" / "cat"
    shutil.copytree(attempt.world.run, run, symlinks=True)
    name = drawn.choice(
        (
            "run.json",
            "run.json",
            "run.json",
            "outcome.json",
            "running.json",
            "metrics.jsonl",
            "dataset.json",
            "train.log",
            "state",
            "events",
            "name",
            "sample",
        )
    )
    if name in {"run.json", "outcome.json", "dataset.json"}:
        known = json.loads((run / name).read_text(encoding="utf-8"))
        (run / name).write_bytes(spoiler.dumped(spoiler.document(known)))
    elif name == "running.json":
        known = {"pid": os.getpid(), "created": 1.0, "boot": "x", "host": "y", "ticks": 3}
        (run / name).write_bytes(spoiler.dumped(spoiler.document(known)))
    elif name == "metrics.jsonl":
        rows = [json.loads(line) for line in (run / name).read_text(encoding="utf-8").splitlines()]
        spoiled = spoiler.document(rows)
        (run / name).write_bytes(b"\n".join(map(spoiler.dumped, spoiled if isinstance(spoiled, list) else [spoiled])))
    elif name == "state":
        for path in run.glob("*-state/train_state.json"):
            path.write_bytes(spoiler.dumped(spoiler.document(json.loads(path.read_text(encoding="utf-8")))))
    elif name == "events":
        (run / "logs").mkdir(exist_ok=True)
        events = next(iter((run / "logs").rglob("events.*")), run / "logs" / "events.out.tfevents.1.x")
        good = events.read_bytes() if events.exists() else struct.pack("<QI", 2**62, 0) + b"x" * 40
        events.write_bytes(spoiler.content(good))
    elif name == "sample":
        (run / "sample").mkdir(exist_ok=True)
        for odd in drawn.sample(ODD_NAMES, 4):
            _try(_odd_picture, attempt, run / "sample" / f"cat_{os.fsdecode(odd)}_000001_00_20250101000000_1.png")
    elif name == "name":
        odd = os.fsdecode(drawn.choice([one for one in ODD_NAMES if len(one) < _ROOM]))
        _try(run.rename, run.with_name(odd))
        _write_odd_files(drawn, attempt.folder / "output" / odd)
        run = attempt.folder / "output" / odd
    else:
        (run / name).write_bytes(spoiler.content((run / name).read_bytes()))
    attempt.call(_reads(f"output/{run.name}", attempt))


def _write_odd_files(drawn: random.Random, run: Path) -> None:
    for odd in drawn.sample(ODD_NAMES, 3):
        _try(shutil.copy2, run / "cat.safetensors", run / f"{os.fsdecode(odd)}.safetensors")


def _try(act: Callable[..., object], *words: object) -> None:
    try:
        act(*words)
    except (OSError, ValueError):
        return


def _reads(run: str, attempt: Attempt) -> list[list[str]]:
    lives = [["runs", "rerun", run], ["runs", "resume", run, "--no-vram-check", "--steps", "8"]]
    return [
        ["runs", "list"],
        ["runs", "list", "--json"],
        ["runs", "show", run],
        ["runs", "show", run, "--all"],
        ["runs", "show", run, "--json"],
        ["runs", "diff", run, "output/other"],
        ["runs", "report", run, "--to", "page.html"],
        ["runs", "rerun", run, "--dry-run"],
        ["runs", "resume", run, "--dry-run", "--steps", "9", "--no-vram-check"],
        ["runs", "resume", run, "--dry-run", "--steps", "9"],
        ["runs", "explain", run],
        ["runs", "explain", run, "--json"],
        ["runs", "rm", run, "--yes"],
        ["runs", "rm", run, "--keep-result", "--yes"],
        ["runs", "diff", "output/other", run, "--json"],
        *(lives if attempt.chance(0.2) else []),
    ]


def home(attempt: Attempt) -> None:
    """What setup has left, or others."""
    drawn, spoiler, made = attempt.drawn, attempt.spoiler, attempt.folder / "home"
    shutil.copytree(attempt.world.home, made, symlinks=True)
    inner = next(path for path in (made / "environments").iterdir() if path.is_dir())
    name = drawn.choice(
        ("lock.json", "options.json", "current", "measurements.jsonl", "python", "tokenizers", "trainer")
    )
    if name.endswith(".json"):
        (inner / name).write_bytes(
            spoiler.dumped(spoiler.document(json.loads((inner / name).read_text(encoding="utf-8"))))
        )
    elif name == "current":
        _odd_file(attempt, made / name)
    elif name == "measurements.jsonl":
        (made / name).write_bytes(spoiler.dumped(spoiler.document(_MEASURED)))
    elif name == "python":
        _odd_file(attempt, inner / "venv" / "bin" / "python")
    elif name == "tokenizers":
        shutil.rmtree(made / name)
        _odd_file(attempt, made / name)
    else:
        _odd_file(attempt, drawn.choice(sorted((inner / "sd-scripts").glob("*.*"))))
    attempt.environ = {"SDXL_TRAIN_HOME": str(made)}
    attempt.call(
        (
            ["lora", *attempt.training],
            ["presets", "check", "dim32"],
            ["presets", "show", "dim32"],
            ["vram", "--mine"],
            ["vram", "--mine", "--json"],
            ["vram", "--export", "-"],
            ["setup"],
            ["setup", "--json"],
            ["plan", "--gpu", "12"],
            ["presets", "diff", "dim32", "dim128"],
            ["dataset", "caption", "data"],
            ["presets", "schema"],
            ["smoke", "--output", "o"],
            ["lora", "--model", "model.safetensors", "--data", "data", "--no-vram-check", "--steps", "3"],
            ["lora", "--model", "model.safetensors", "--data", "data", "--dry-run"],
            ["dataset", "check", "data"],
        )
    )


_LARGE = 100_000
"""Bytes: what is larger is a program."""
_MEASURED = {"gpu": "x", "driver": "1", "kind": "lora", "peak_gib": 7.5, "seconds_per_step": 1.0, "network_dim": 32}


def _odd_file(attempt: Attempt, path: Path) -> None:
    """Put something else where a file was."""
    content = b""
    if path.is_file():
        content = b"#!/bin/sh\n" if path.stat().st_size > _LARGE else path.read_bytes()
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    acts: tuple[Callable[[], object], ...] = (
        path.mkdir,
        lambda: path.symlink_to(path.name),
        lambda: os.mkfifo(path),
        lambda: path.write_bytes(content),
        lambda: path.write_bytes(attempt.spoiler.content(content)),
        lambda: None,
    )
    attempt.drawn.choice(acts)()


def log(attempt: Attempt) -> None:
    """Any text as a log, and any table as measurements."""
    known = (world.TESTS / "failure_logs.py").read_text(encoding="utf-8")
    at = attempt.drawn.randrange(len(known))
    name = attempt.write("a.log", attempt.spoiler.lines(known[at : at + 4000], ":("))
    attempt.call((["runs", "explain", name], ["runs", "explain", name, "--json"], ["vram", "--merge", name]))


@cache
def _commands() -> list[tuple[tuple[str, ...], Any]]:
    """Every command with the words that name it."""

    def walk(command: Any, words: tuple[str, ...]) -> list[tuple[tuple[str, ...], Any]]:  # noqa: ANN401 - typer's own
        inner = getattr(command, "commands", None)
        if inner is None:
            return [(words, command)]
        return [found for name, one in inner.items() for found in walk(one, (*words, name))]

    return walk(typer.main.get_command(cli.app), ())


_GOOD = (
    "data",
    "model.safetensors",
    "output",
    "cat",
    "dim32",
    "lora",
    "a.yaml",
    "1",
    "3",
    "12",
    "toml",
    "seed=1",
    "output/cat",
    "new",
    "home",
    "mine",
    "character",
    "quality",
    "set.json",
    "white",
    "cpu",
    "lycoris",
    "python",
)
_NOT = {"--open"}
"""Would start the browser of whoever runs this."""


def command_line(attempt: Attempt) -> None:
    """Any command with any options and values, as bytes that may be no text."""
    drawn = attempt.drawn
    shutil.copytree(attempt.world.run, attempt.folder / "output" / "cat", symlinks=True)
    shutil.copy2(PRESETS / "lora" / "dim32.yaml", attempt.folder / "a.yaml")
    attempt.write("set.json", b'{"datasets": [{"subsets": [{"image_dir": "data"}]}]}')
    words, command = drawn.choice([one for one in _commands() if one[0] != ("runs", "tensorboard")])
    argv: list[str] = []
    for one in command.params:
        flag = one.opts[0]
        is_argument = not flag.startswith("-")
        if flag in _NOT or (not is_argument and not attempt.chance(0.35)):
            continue
        value = _typed(attempt)
        if is_argument:
            argv += ["--", value] if value.startswith("-") and attempt.chance(0.3) else [value]
        elif getattr(one, "is_flag", False):
            argv.append(drawn.choice((*one.opts, *one.secondary_opts)))
        else:
            argv += [f"{flag}={value}"] if attempt.chance(0.5) else [flag, value]
    if words[0] in {"lora", "locon", "loha", "lokr", "dreambooth"} and attempt.chance(0.9):
        argv = ["--model", "model.safetensors", "--data", "data", "--dry-run", *argv]
    if words[0] in {"smoke", "fit"}:
        argv = [*argv, "--steps", "x"] if attempt.chance(0.7) else argv
    attempt.argv = [*words, *argv]


def _typed(attempt: Attempt) -> str:
    """A value as the shell hands it on: no NUL, but bytes of any other kind."""
    drawn = attempt.drawn
    text = drawn.choice(_GOOD if attempt.chance(0.5) else (*HOT_TEXTS, *TEXTS, *HOT_NUMBERS, *map(str, NUMBERS)))
    if attempt.chance(0.1):
        text += drawn.choice(TEXTS)
    how = "surrogatepass" if "\ud800" in text else "surrogateescape"
    return os.fsdecode(text.encode("utf-8", how).replace(b"\0", b""))


DOORS: dict[str, Callable[[Attempt], None]] = {
    "preset": preset,
    "project": project,
    "foreign": foreign,
    "trained": trained,
    "model": model,
    "dataset-config": dataset_config,
    "metadata": metadata,
    "pictures": pictures,
    "record": record,
    "home": home,
    "log": log,
    "command-line": command_line,
}
