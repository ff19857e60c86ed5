"""What inside/weight_course.py finds in the checkpoints of a training, with numpy alone."""

from __future__ import annotations

import importlib.util
import json
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import tensor_files
from tensor_files import write

from sdxl_train_cli.environment.environment import INSIDE
from sdxl_train_cli.inspection import model_file

Found = Callable[..., Any]


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    sys.path.insert(0, str(INSIDE))  # where it finds weights.py
    spec = importlib.util.spec_from_file_location("weight_course", INSIDE / "weight_course.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.path.remove(str(INSIDE))
    yield module
    sys.modules.pop("weights", None)


@pytest.fixture
def found(script: ModuleType, capsys: pytest.CaptureFixture[str]) -> Found:
    def ask(*files: Path) -> Any:  # noqa: ANN401 - JSON
        code = script.main([*map(str, files), "--names", str(model_file.NAMES)])
        printed = capsys.readouterr()
        assert code == 0, printed.err
        return json.loads(printed.out)

    return ask


def product(tensors: dict[str, np.ndarray], module: str) -> np.ndarray:
    name = f"lora_unet_{module}"
    whole: np.ndarray = tensors[f"{name}.lora_up.weight"] @ tensors[f"{name}.lora_down.weight"] * 2.0 / 4
    return whole


def test_norm_rank_and_movement_are_those_of_the_whole_products(tmp_path: Path, found: Found) -> None:
    first, second = tensor_files.lora(), tensor_files.lora()
    second = {name: values + (0.01 if "lora" in name and "alpha" not in name else 0) for name, values in second.items()}

    early, late = found(write(tmp_path / "a", first, "F32"), write(tmp_path / "b", second, "F32"))["files"]

    ranks, moved = [], 0.0
    for module in tensor_files.UNET:
        one, two = product(first, module), product(second, module)
        shares = np.linalg.svd(two, compute_uv=False)[:4] / np.linalg.svd(two, compute_uv=False)[:4].sum()
        ranks.append(math.exp(-float((shares * np.log(shares)).sum())))
        moved += float(((two - one) ** 2).sum())
    assert late["norm"] == pytest.approx(
        math.sqrt(sum(float((product(second, each) ** 2).sum()) for each in tensor_files.UNET)), rel=1e-4
    )
    assert late["rank"] == pytest.approx(sum(ranks) / len(ranks), rel=1e-4)
    assert late["moved"] == pytest.approx(math.sqrt(moved), rel=1e-4)
    assert early["moved"] is None
    assert {one["block"] for one in late["blocks"]} == {"input 4", "middle", "output 5"}


def test_a_small_movement_is_not_lost_in_large_weights(tmp_path: Path, found: Found) -> None:
    first = tensor_files.lora(up=100.0)
    second = {name: values * (1 + 1e-5) if "up" in name else values for name, values in first.items()}

    _, late = found(write(tmp_path / "a", first, "F32"), write(tmp_path / "b", second, "F32"))["files"]

    assert late["moved"] == pytest.approx(1e-5 * late["norm"], rel=0.05)


def test_an_untrained_module_has_no_rank(tmp_path: Path, found: Found) -> None:
    (only,) = found(write(tmp_path / "a", tensor_files.lora(up=0.0), "F16"))["files"]

    assert (only["norm"], only["rank"], only["nonfinite"]) == (0.0, None, 0)


def test_numbers_that_are_none_are_counted_by_module(tmp_path: Path, found: Found) -> None:
    tensors = tensor_files.lora()
    name = f"lora_unet_{tensor_files.UNET[0]}.lora_up.weight"
    tensors[name] = tensors[name] * np.nan

    (only,) = found(write(tmp_path / "a", tensors, "F16"))["files"]

    assert only["nonfinite"] == 1


def test_of_a_whole_checkpoint_a_sample_says_how_far_it_moved(tmp_path: Path, found: Found) -> None:
    files = [write(tmp_path / str(moved), tensor_files.checkpoint(moved=moved), "F32") for moved in (0.0, 0.001)]

    early, late = found(*files)["files"]

    assert (early["norm"], early["moved"]) == (None, None)
    assert 0.01 < late["moved"] < 0.2


def test_a_broken_file_is_named(tmp_path: Path, script: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    whole, broken = write(tmp_path / "a", tensor_files.lora()), tmp_path / "b"
    broken.write_bytes(whole.read_bytes()[:40])

    assert script.main([str(whole), str(broken), "--names", str(model_file.NAMES)]) == 0

    assert "unreadable" in json.loads(capsys.readouterr().out)
