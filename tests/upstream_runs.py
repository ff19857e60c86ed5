"""Real runs of a scaled-down SDXL on the processor, by the code that a command runs."""

from __future__ import annotations

import json
import struct
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import upstream_source
from PIL import Image

from sdxl_train_cli import files
from sdxl_train_cli.environment import environment
from sdxl_train_cli.layout import Home
from sdxl_train_cli.origin import Origin
from sdxl_train_cli.recipe import Kind, Value
from sdxl_train_cli.recipes.presets import Override
from sdxl_train_cli.records import runs
from sdxl_train_cli.run import launching, preparation, repeating, run_choices, smoke
from sdxl_train_cli.run.preparation import Prepared
from sdxl_train_cli.run.run_choices import Choices
from sdxl_train_cli.run.smoke import SmokeMaterial, SmokeSize
from sdxl_train_cli.sdscripts import scalars

SMALL: Mapping[str, Value] = {
    "resolution": "64,64", "min_bucket_reso": 64, "max_bucket_reso": 128, "max_train_steps": 1, "lr_warmup_steps": 0,
    "save_every_n_steps": None, "save_state": None, "seed": 7, "mixed_precision": "no", "optimizer_type": "AdamW",
}  # fmt: skip


@dataclass(frozen=True)
class RealRuns:
    """A home with the real environment, and a model of random weights."""

    home: Path
    folder: Path
    material: SmokeMaterial

    def choices(
        self, name: str, model: Path, pictures: Path, changes: Mapping[str, Value | None], kind: Kind = Kind.LORA
    ) -> Choices:
        """A run of one step; `changes` are options."""
        settings = {**SMALL, **changes}
        if kind is Kind.DREAMBOOTH:
            del settings["optimizer_type"]
        overrides = tuple(Override(option, value, Origin("--set")) for option, value in settings.items())
        return Choices(
            kind=kind, preset=run_choices.DEFAULT_PRESETS[kind], model=str(model), data=pictures,
            output=self.folder / "output", name=name, overrides=overrides, on_processor=True, check_vram=False,
            shim=environment.INSIDE / "scaled.py", tokenizers=self.material.tokenizers,
        )  # fmt: skip

    def prepare(self, choices: Choices) -> Prepared:
        """As a command does it."""
        return preparation.prepare(choices, Home(self.home), self.folder / "presets")

    def train(self, prepared: Prepared) -> list[float]:
        """The loss of each step, all its digits."""
        runs.write(prepared.run, repeating.record(prepared), prepared.pictures, prepared.prompts)
        launching.follow(prepared, lambda _event: None)
        lines = prepared.run.metrics.read_text(encoding="utf-8").splitlines()
        return [float(json.loads(line)["loss"]) for line in lines]

    def bare(self, prepared: Prepared) -> subprocess.CompletedProcess[str]:
        """Start sd-scripts alone, with nobody watching."""
        runs.write(prepared.run, repeating.record(prepared), prepared.pictures, prepared.prompts)
        return subprocess.run(
            prepared.argv, check=False, cwd=prepared.environment.checkout, env=dict(prepared.variables),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", errors="replace",
        )  # fmt: skip


def real_runs(folder: Path) -> RealRuns:
    """With the real environment that the tests share, and a model of random weights made in `folder`."""
    home, size = upstream_source.home(), SmokeSize(1, scaled=True, gpu_index=None)
    return RealRuns(home, folder, smoke.make_material(environment.require(Home(home)), folder / "material", size))


def with_tensors(model: Path, path: Path, names: tuple[str, ...]) -> Path:
    """The same checkpoint with empty tensors of these names: nothing but its header changes."""
    with model.open("rb") as file:
        header = files.parse_json(file.read(struct.unpack("<Q", file.read(8))[0]))
        rest = file.read()
    assert isinstance(header, dict)
    empty = {name: {"dtype": "F32", "shape": [0], "data_offsets": [len(rest), len(rest)]} for name in names}
    text = json.dumps({**header, **empty}).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + rest)
    return path


def make_half_transparent(picture: Path) -> None:
    """Give a picture an alpha channel that hides its left half."""
    with Image.open(picture) as opened:
        clear = opened.convert("RGBA")
    clear.paste((0, 0, 0, 0), (0, 0, clear.width // 2, clear.height))
    clear.save(picture)


def logged_loss(prepared: Prepared) -> float:
    """The last step's loss of a run that nobody has watched."""
    values = [logged.values for logged in scalars.EventFileTail(prepared.run.logs).read()]
    return next(each["loss/current"] for each in reversed(values) if "loss/current" in each)


def with_mask_input(model: Path, path: Path) -> Path:
    """The same checkpoint with input for masks, as an inpainting model has: nine channels, the new ones zero."""
    with model.open("rb") as file:
        header = files.parse_json(file.read(struct.unpack("<Q", file.read(8))[0]))
        rest = file.read()
    assert isinstance(header, dict)
    first = header["model.diffusion_model.input_blocks.0.0.weight"]
    begin, end = first["data_offsets"]
    outputs, inputs, *kernel = first["shape"]
    each = (end - begin) // outputs
    zeros = bytes(each // inputs * 5)
    wide = b"".join(rest[at : at + each] + zeros for at in range(begin, end, each))
    for entry in header.values():
        if "data_offsets" in entry and entry["data_offsets"][0] >= end:
            entry["data_offsets"] = [offset + len(wide) - (end - begin) for offset in entry["data_offsets"]]
    first.update(shape=[outputs, inputs + 5, *kernel], data_offsets=[begin, begin + len(wide)])
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + rest[:begin] + wide + rest[end:])
    return path
