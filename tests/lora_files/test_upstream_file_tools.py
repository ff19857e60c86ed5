"""Each verb of `file` with the real sd-scripts: a LoRA that it trained, in and out, loaded again and counted."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import upstream_runs
import upstream_source

from sdxl_train_cli.environment import environment
from sdxl_train_cli.environment.environment import INSIDE
from sdxl_train_cli.layout import Home
from sdxl_train_cli.lora_files import comparing, converting, extracting, handed, merging, plans, resizing, result
from sdxl_train_cli.lora_files.converting import Naming
from sdxl_train_cli.lora_files.extracting import Extraction
from sdxl_train_cli.lora_files.handed import HandedFile
from sdxl_train_cli.lora_files.merging import Ingredient, MergeIntoBase
from sdxl_train_cli.lora_files.resizing import Smaller
from sdxl_train_cli.lora_files.tools import Tools
from sdxl_train_cli.recipe import Kind

SOURCE = upstream_source.find()
PEFT = os.environ.get("SDXL_TRAIN_PEFT")
"""A folder with peft, made by `pip install --no-deps --target FOLDER peft`; a diffusers in it goes before the other."""
pytestmark = [
    pytest.mark.upstream,
    pytest.mark.slow,
    pytest.mark.skipif(
        SOURCE is None and not os.environ.get("SDXL_TRAIN_UPSTREAM_HOME"),
        reason="no source of sd-scripts: set SDXL_TRAIN_SOURCE to a clone",
    ),
]
SHIM = [str(INSIDE / "scaled.py")]
LOADER = Path(__file__).with_name("load_in_programs.py")
ROUNDING = 2e-3
"""Of fp16, whose numbers have 11 bits."""

DIFFERENCE = 1e-2
"""Of a difference of weights that are a hundred times as large, each rounded to 32 bits."""


@dataclass(frozen=True)
class Place:
    """A real environment, a tiny base, and two networks that sd-scripts trained on it."""

    tools: Tools
    folder: Path
    base: HandedFile
    lora: HandedFile
    locon: HandedFile

    def load(self, what: str, *words: object) -> dict[str, object]:
        """What a program finds in a file."""
        installed = self.tools.installed
        argv = [str(installed.python), str(LOADER), what, *map(str, words)]
        variables = {**environment.training_variables(), "HF_HUB_OFFLINE": "1"}
        done = subprocess.run(argv, check=False, cwd=installed.checkout, env=variables, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]
        found = json.loads(done.stdout.strip().splitlines()[-1])
        assert isinstance(found, dict)
        return found

    def added(self, path: Path) -> float:
        """The norm of what sd-scripts' own loader makes of a file."""
        found = self.load("sdscripts", self.base.path, path)
        assert (found["missing"], found["unexpected"]) == (0, 0)
        return norm(found["added"])


def norm(added: object) -> float:
    assert isinstance(added, dict)
    return float(np.sqrt(sum(value**2 for value in added.values())))


def tell(_done: int, _total: int) -> None: ...


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("files мир")
    real = upstream_runs.real_runs(folder)
    made = []
    for kind in (Kind.LORA, Kind.LOCON):
        prepared = real.prepare(real.choices(f"my-{kind.value}", real.material.model, real.material.pictures, {}, kind))
        real.train(prepared)
        made.append(handed.open_network(prepared.run.result, "load"))
    home = Home(upstream_source.home())
    base = handed.open_checkpoint(real.material.model, "the base")
    return Place(Tools(environment.require(home), home), folder, base, *made)


def test_a_smaller_rank_is_the_truncated_decomposition(place: Place) -> None:
    for number, wanted in enumerate((Smaller("float", 4, 2), Smaller("float", None, energy=0.9))):
        resizing.require(place.locon, wanted)
        made = place.folder / f"small{number}.safetensors"
        resizing.resize(place.tools, place.locon, wanted, made, tell)

        lost = resizing.lost(place.tools, place.locon.path, made)
        assert lost.lost == pytest.approx(1 - (lost.made / lost.wanted) ** 2, abs=1e-4)
        assert place.added(made) == pytest.approx(lost.made, rel=1e-4)
        if wanted.energy is None:
            assert set(handed.open_network(made, "load").model.ranks) == {2, 4}
            for module in lost.modules[::60]:
                values = np.linalg.svd(product(place.locon, module.module), compute_uv=False)
                rank = handed.open_model(made).header.shapes[f"{module.module}.lora_down.weight"][0]
                assert module.made == pytest.approx(np.sqrt((values[:rank] ** 2).sum()), rel=1e-4)
        else:
            assert lost.worst is not None
            assert lost.worst.lost <= 0.1 + 1e-4


def product(found: HandedFile, module: str) -> np.ndarray:
    """What a module adds, the long way."""

    def read(name: str) -> np.ndarray:
        _dtype, start, length = found.header.places[name]
        raw = np.frombuffer(found.path.read_bytes()[start : start + length], "<f2").astype("f8")
        return raw.reshape(found.header.shapes[name])

    up, down = read(f"{module}.lora_up.weight"), read(f"{module}.lora_down.weight")
    alpha = plans.number(found, f"{module}.alpha")
    return up.reshape(len(up), -1) @ down.reshape(len(down), -1) * (alpha / len(down))


def test_a_merge_is_the_weighted_sum(place: Place) -> None:
    parts = [Ingredient(place.lora, 0.8), Ingredient(place.locon, -0.5)]
    merging.require(parts)
    made = place.folder / "merged.safetensors"

    plans.carry_out(place.tools, merging.plan_sum(parts, "merged", "fp16"), made, tell)

    sums = comparing.compare(place.tools.installed, made, [(one.ratio, one.file.path) for one in parts])
    assert sums.relative_error < ROUNDING
    assert place.added(made) == pytest.approx(sums.wanted, rel=ROUNDING)
    assert result.examine(made, place.tools.installed).is_of_use


def test_a_checkpoint_with_loras_in_it_differs_by_their_sum_and_keeps_its_marks(place: Place) -> None:
    parts = [Ingredient(place.lora, 0.8), Ingredient(place.locon, -0.5)]
    base = with_mark(place.base, place.folder / "v.safetensors")
    made = place.folder / "into.safetensors"

    merging.merge_into(place.tools, MergeIntoBase(base, parts, "float"), made, tell, SHIM)

    sums = comparing.compare(place.tools.installed, place.lora.path, [(one.ratio, one.file.path) for one in parts])
    found = place.load("dense", base.path, made)
    assert found["same_names"]
    assert found["changed"] == pytest.approx(sums.wanted, rel=ROUNDING)
    assert handed.open_checkpoint(made, "made").model.prediction == "v-prediction"
    assert handed.open_model(made).model.said_prediction == "v-prediction"


def with_mark(base: HandedFile, path: Path) -> HandedFile:
    """The base as one that predicts v."""
    content = base.path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    end = len(content) - 8 - length
    header["v_pred"] = {"dtype": "F16", "shape": [0], "data_offsets": [end, end]}
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + length :])
    return handed.open_checkpoint(path, "the base")


def test_an_extracted_lora_is_what_was_merged_in(place: Place) -> None:
    made, extracted = place.folder / "tuned.safetensors", place.folder / "extracted.safetensors"
    merging.merge_into(place.tools, MergeIntoBase(place.base, [Ingredient(place.lora, 1.0)], "float"), made, tell, SHIM)
    tuned = handed.open_checkpoint(made, "tuned")
    wanted = Extraction(tuned, place.base, place.lora.model.ranks[-1], None, "float")
    extracting.require(wanted)

    extracting.extract(place.tools, wanted, extracted, tell, SHIM)

    sums = comparing.compare(place.tools.installed, extracted, [(1.0, place.lora.path)])
    assert sums.relative_error < DIFFERENCE
    assert len(sums.modules) == len(place.lora.model.modules)  # untrained text encoders are left out
    assert place.added(extracted) == pytest.approx(sums.wanted, rel=DIFFERENCE)


@pytest.mark.parametrize("kind", ["lora", "locon"])
def test_a_lora_with_diffusers_names_is_as_strong_in_diffusers_as_in_sd_scripts(place: Place, kind: str) -> None:
    if PEFT is None:
        pytest.skip("no peft: set SDXL_TRAIN_PEFT to a folder with it")
    found = place.lora if kind == "lora" else place.locon
    there = place.folder / f"{kind}-diffusers.safetensors"
    plans.carry_out(place.tools, converting.plan_names(found, Naming.DIFFUSERS, None), there, tell)
    back = place.folder / f"{kind}-back.safetensors"
    plan = converting.plan_names(handed.open_network(there, "rename"), Naming.KOHYA, None)
    plans.carry_out(place.tools, plan, back, tell)

    loaded = place.load("diffusers", there, PEFT)

    assert (loaded["modules"], loaded["missing"]) == (len(found.model.modules), 0)
    assert norm(loaded["added"]) == pytest.approx(place.added(found.path), rel=ROUNDING)
    assert place.added(back) == pytest.approx(place.added(found.path), rel=ROUNDING)


def test_diffusers_takes_layers_of_unlike_ranks_at_their_strength(place: Place) -> None:
    if PEFT is None or not is_told_of_ranks(Path(PEFT)):
        pytest.skip("no diffusers from 0.34 on: set SDXL_TRAIN_PEFT to a folder with it and peft")
    small, there = (place.folder / f"unlike{name}.safetensors" for name in ("", "-diffusers"))
    resizing.resize(place.tools, place.locon, Smaller("float", 4, 2), small, tell)
    plan = converting.plan_names(handed.open_network(small, "rename"), Naming.DIFFUSERS, None)
    plans.carry_out(place.tools, plan, there, tell)

    loaded = place.load("diffusers", there, PEFT)

    assert norm(loaded["added"]) == pytest.approx(place.added(small), rel=ROUNDING)


def is_told_of_ranks(folder: Path) -> bool:
    """Whether it holds a diffusers that reads a file's lora_adapter_metadata."""
    base = folder / "diffusers" / "loaders" / "lora_base.py"
    return base.is_file() and "LORA_ADAPTER_METADATA_KEY" in base.read_text(encoding="utf-8")


def test_every_name_that_sd_scripts_gives_is_known(place: Place) -> None:
    handed.require_kohya_names(place.locon)
