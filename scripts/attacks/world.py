"""A world to attack in: a home with the stand-in trainer, a model, pictures, a finished run, a person's own files."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import project_venv
from PIL import Image

from attacks import calls

TESTS = project_venv.ROOT / "tests"
_HOSTILE = Path(__file__).with_name("hostile_trainer.py")
_KEPT = ("PATH", "PATHEXT", "SYSTEMROOT", "COMSPEC", "NUMBER_OF_PROCESSORS")
_NOWHERE = "http://127.0.0.1:9"
"""The port named discard, where nothing listens."""
_TOKENIZERS = ("openai_clip-vit-large-patch14", "laion_CLIP-ViT-bigG-14-laion2B-39B-b160k")
_TENSORS = (
    "model.diffusion_model.input_blocks.0.0.weight",
    "conditioner.embedders.0.transformer.text_model.final_layer_norm.weight",
    "conditioner.embedders.1.model.ln_final.weight",
    "first_stage_model.decoder.conv_in.bias",
)


@dataclass(frozen=True)
class World:
    """Where everything stands; nothing outside `folder` is written."""

    folder: Path

    @property
    def home(self) -> Path:
        """The stand-in, installed."""
        return self.folder / "home"

    @property
    def repository(self) -> Path:
        """What it was installed from."""
        return self.folder / "sd-scripts"

    @property
    def model(self) -> Path:
        """A file that looks like an SDXL checkpoint."""
        return self.folder / "base.safetensors"

    @property
    def pictures(self) -> Path:
        """Three captioned pictures."""
        return self.folder / "pictures"

    @property
    def run(self) -> Path:
        """The folder of a run that has delivered."""
        return self.folder / "output" / "cat"

    @property
    def logs(self) -> Path:
        """Where calls print to."""
        return self.folder / "logs"

    def environ(self, user: Path | None = None, **more: str) -> dict[str, str]:
        """The whole environment of a process, whose user's folders lie in `user`."""
        folder = user or self.folder
        (folder / "tmp").mkdir(parents=True, exist_ok=True)
        mine = str(folder / "user")
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        kept |= dict.fromkeys(("HOME", "USERPROFILE", "APPDATA", "LOCALAPPDATA"), mine)
        kept |= {f"XDG_{name}_HOME": f"{mine}/{name.lower()}" for name in ("CONFIG", "DATA", "CACHE", "STATE")}
        kept |= dict.fromkeys(("TMPDIR", "TMP", "TEMP"), str(folder / "tmp"))
        kept |= dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), _NOWHERE)
        return {
            **kept,
            "LANG": "C.UTF-8",
            "TERM": "dumb",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "UV_OFFLINE": "1",
            "HF_ENDPOINT": _NOWHERE,
            "SDXL_TRAIN_HOME": str(self.home),
            "SDXL_TRAIN_CONFIG": str(folder / "config"),
            "SDXL_TRAIN_SOURCE": str(self.repository),
            "STANDIN_STEP_SECONDS": "0.005",
            "STANDIN_WAIT_SECONDS": "60",
            **more,
        }

    def call(self, *argv: object, cwd: Path | None = None, **environ: str) -> calls.Called:
        """A real process, to its end."""
        return calls.run([str(word) for word in argv], cwd or self.folder, self.environ(**environ), self.logs)

    def start(self, *argv: object, cwd: Path | None = None, **environ: str) -> calls.Started:
        """A real process that goes on."""
        return calls.Started([str(word) for word in argv], cwd or self.folder, self.environ(**environ), self.logs)

    def training(self, name: str, steps: int, output: Path | None = None, save_every: int = 5) -> list[str]:
        """The words of a run."""
        folder = output or self.folder / "output"
        return ["lora", "--model", str(self.model), "--data", str(self.pictures), "--output", str(folder), "--name",
                name, "--steps", str(steps), "--set", f"save_every_n_steps={save_every}",
                "--no-vram-check"]  # fmt: skip


def create(folder: Path) -> World:
    """Make it; a first run that fails ends everything, for then nothing could be judged."""
    world = World(folder)
    folder.mkdir(parents=True, exist_ok=True)
    sys.path.insert(0, str(TESTS))
    from standin.build import make_repository  # noqa: PLC0415 - found by the line above

    make_repository(world.repository)
    _make_hostile(world)
    write_safetensors(world.model, header(_TENSORS))
    write_pictures(world.pictures)
    _must(world.call("setup"))
    write_tokenizers(world.home)
    _must(world.call(*world.training("cat", 6, save_every=2), "--save-state"))
    write_mine(world.home)
    return world


def _must(called: calls.Called) -> None:
    if called.code != 0:
        sys.exit(f"sdxl-train {' '.join(called.argv)} ended with {called.code}:\n{called.told}")


def _make_hostile(world: World) -> None:
    """Let the stand-in's script print what ATTACK_OUTPUT names: the same trainer, with a foul mouth."""
    script = world.repository / "sdxl_train_network.py"
    shutil.copy2(_HOSTILE, world.repository / "standin" / "hostile.py")
    text = script.read_text(encoding="utf-8")
    called = "from standin import options, training"
    if called not in text:
        sys.exit(f"the stand-in's {script.name} is another one than this script knows")
    script.write_text(text.replace(called, f"{called}\nfrom standin import hostile\n\nhostile.join(training)"), "utf-8")
    identity = ("-c", "user.name=attack", "-c", "user.email=attack@example.invalid", "-c", "commit.gpgsign=false")
    for words in (("add", "--all", "--force"), ("commit", "--quiet", "-m", "hostile"), ("tag", "-f", "v0.10.1")):
        subprocess.run(["git", *identity, *words], cwd=world.repository, env=world.environ(), check=True,  # noqa: S607
                       capture_output=True)  # fmt: skip


def write_tokenizers(home: Path) -> None:
    """Let nothing be fetched before a run."""
    for name in _TOKENIZERS:
        (home / "tokenizers" / name).mkdir(parents=True, exist_ok=True)
        (home / "tokenizers" / name / "vocab.json").write_text("{}", encoding="utf-8")


def write_mine(folder: Path) -> list[Path]:
    """Put a person's own files into a folder, under names that someone careless could take for ours."""
    texts = {
        "mine/novel.txt": "ten years of work",
        "mine/environments/prod/settings.yaml": "password: hunter2",
        "environments-of-mine/notes.md": "not to be lost",
        "letters/2024/to grandmother.txt": "dear",
    }
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in ("mine", "environments-of-mine", "letters")]


def header(names: tuple[str, ...] = _TENSORS, metadata: Mapping[str, str] | None = None) -> dict[str, object]:
    """The header of a safetensors file with these tensors."""
    tensors: dict[str, object] = {
        name: {"dtype": "F16", "shape": [1, 1], "data_offsets": [2 * number, 2 * number + 2]}
        for number, name in enumerate(names)
    }
    return tensors if metadata is None else {"__metadata__": dict(metadata), **tensors}


def write_safetensors(path: Path, facts: Mapping[str, object]) -> None:
    """Write a small whole file of this header."""
    text = json.dumps(facts).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(2 * len(facts)))


def write_pictures(folder: Path, count: int = 3) -> None:
    """Fill a folder with small real pictures and their captions."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        Image.new("RGB", (64, 48), (40 * number % 256, 90, 120)).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text("a photo of a cat\n", encoding="utf-8")
