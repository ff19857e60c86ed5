"""Merging and converting, in numbers: the plans, carried out with numpy, add what they should."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import tensor_files

from sdxl_train_cli.environment.environment import INSIDE
from sdxl_train_cli.errors import ModelError, UsageError
from sdxl_train_cli.lora_files import converting, handed, merging, module_names, resizing
from sdxl_train_cli.lora_files.converting import Naming
from sdxl_train_cli.lora_files.merging import Ingredient
from sdxl_train_cli.lora_files.plans import AssemblyPlan
from sdxl_train_cli.lora_files.resizing import Smaller

UP, DOWN = ".lora_up.weight", ".lora_down.weight"
CONV = "input_blocks_1_0_in_layers_2"


@pytest.fixture
def compare_sums(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(INSIDE))
    found = importlib.util.spec_from_file_location("compare_sums", INSIDE / "compare_sums.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def network(path: Path, rank: int, alpha: float, modules: tuple[str, ...], seed: int = 0) -> Path:
    """A LoRA of linear layers of 12x16, and of a kernel of 3x3 for CONV."""
    tensors = {}
    for at, module in enumerate(modules):
        kernel = (3, 3) if module == CONV else ()
        one = (1, 1) if module == CONV else ()
        tensors[f"lora_unet_{module}{UP}"] = tensor_files.numbers(12, rank, *one, seed=seed + at)
        tensors[f"lora_unet_{module}{DOWN}"] = tensor_files.numbers(rank, 16, *kernel, seed=seed + at + 50)
        tensors[f"lora_unet_{module}.alpha"] = np.array(alpha)
    return tensor_files.write(path, tensors, "F32")


def carried_out(plan: AssemblyPlan, path: Path) -> Path:
    """What inside/assemble.py does, without torch."""
    sources = [handed.open_model(source) for source in plan.sources]

    def read(file: int, name: str) -> np.ndarray:
        _dtype, start, length = sources[file].header.places[name]
        content = sources[file].path.read_bytes()[start : start + length]
        return np.frombuffer(content, "<f4").reshape(sources[file].header.shapes[name])

    tensors = {
        name: np.concatenate([read(part.file, part.tensor) * part.factor for part in parts], plan.axes.get(name, 0))
        for name, parts in plan.tensors.items()
    }
    return tensor_files.write(path, tensors | {name: np.array(value) for name, value in plan.numbers.items()}, "F32")


def product(path: Path, module: str) -> np.ndarray:
    """Alpha / rank times up times down, the long way."""
    found = handed.open_model(path)

    def read(name: str) -> np.ndarray:
        _dtype, start, length = found.header.places[name]
        return np.frombuffer(path.read_bytes()[start : start + length], "<f4").reshape(found.header.shapes[name])

    up, down = read(module + UP).astype("f8"), read(module + DOWN).astype("f8")
    return up.reshape(len(up), -1) @ down.reshape(len(down), -1) * (read(f"{module}.alpha").item() / len(down))


def test_a_merge_adds_the_weighted_sum_whatever_the_ranks_and_alphas(tmp_path: Path, compare_sums: ModuleType) -> None:
    first, second = tensor_files.UNET[:2]
    one = network(tmp_path / "one.safetensors", 4, 2.0, (first, second, CONV))
    two = network(tmp_path / "two.safetensors", 6, 1.0, (first, CONV), seed=5)
    parts = [Ingredient(handed.open_network(one, "merge"), 0.8), Ingredient(handed.open_network(two, "merge"), -0.5)]
    merging.require(parts)

    plan = merging.plan_sum(parts, "both", "float")
    made = carried_out(plan, tmp_path / "made.safetensors")
    found = compare_sums.compare(str(made), [(0.8, str(one)), (-0.5, str(two))])

    for module in (first, CONV):
        name = f"lora_unet_{module}"
        wanted = 0.8 * product(one, name) - 0.5 * product(two, name)
        assert np.allclose(product(made, name), wanted, atol=1e-9)
    assert found["error"] / found["wanted"] < 1e-6
    assert handed.open_model(made).model.ranks == (4, 10)
    assert plan.metadata["ss_network_dim"] == "Dynamic"
    assert plan.metadata["modelspec.merged_from"] == "one x 0.8, two x -0.5"


def test_a_negative_alpha_keeps_its_sign_in_a_sum(tmp_path: Path) -> None:
    (module,) = modules = (tensor_files.UNET[0],)
    one = network(tmp_path / "one.safetensors", 4, -2.0, modules)
    two = network(tmp_path / "two.safetensors", 4, 1.0, modules, seed=5)
    parts = [Ingredient(handed.open_network(one, "merge"), 0.5), Ingredient(handed.open_network(two, "merge"), 0.5)]

    made = carried_out(merging.plan_sum(parts, "both", "float"), tmp_path / "made.safetensors")

    name = f"lora_unet_{module}"
    assert np.allclose(product(made, name), 0.5 * product(one, name) + 0.5 * product(two, name), atol=1e-9)


@pytest.mark.parametrize(("alpha", "words"), [(0.0, "every alpha is 0"), (float("nan"), "is no number")])
def test_loras_whose_alphas_add_nothing_are_not_merged(tmp_path: Path, alpha: float, words: str) -> None:
    one = handed.open_network(network(tmp_path / "a.safetensors", 4, alpha, tensor_files.UNET), "merge")

    with pytest.raises(ModelError, match=words):
        merging.plan_sum([Ingredient(one, 1.0), Ingredient(one, 0.5)], "x", "fp16")


def test_a_comparison_gives_the_norms_of_the_long_way(tmp_path: Path, compare_sums: ModuleType) -> None:
    (module,) = modules = (tensor_files.UNET[0],)
    one = network(tmp_path / "one.safetensors", 4, 2.0, modules)
    two = network(tmp_path / "two.safetensors", 3, 3.0, modules, seed=9)
    left, right = (product(path, f"lora_unet_{module}") for path in (one, two))

    found = compare_sums.compare(str(two), [(1.0, str(one))])

    assert found["wanted"] == pytest.approx(np.linalg.norm(left))
    assert found["made"] == pytest.approx(np.linalg.norm(right))
    assert found["error"] == pytest.approx(np.linalg.norm(left - right))


def test_names_go_to_each_program_and_back_without_a_loss(tmp_path: Path, compare_sums: ModuleType) -> None:
    one = network(tmp_path / "one.safetensors", 4, 2.0, (*tensor_files.UNET, CONV))
    found = handed.open_network(one, "rename")
    for to in Naming:
        there = carried_out(converting.plan_names(found, to, None), tmp_path / f"{to.value}.safetensors")
        plan = converting.plan_names(handed.open_network(there, "rename"), Naming.KOHYA, None)
        back = carried_out(plan, tmp_path / f"{to.value}-back.safetensors")

        norms = compare_sums.compare(str(back), [(1.0, str(one))])
        assert norms["error"] <= 1e-7 * norms["wanted"]
        assert set(handed.open_model(back).header.shapes) == set(found.header.shapes)


def test_names_of_diffusers_have_no_alpha_and_their_own_blocks(tmp_path: Path) -> None:
    one = network(tmp_path / "one.safetensors", 4, 2.0, (tensor_files.UNET[0], CONV))

    plan = converting.plan_names(handed.open_network(one, "rename"), Naming.DIFFUSERS, None)

    up = plan.tensors["unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q.lora_B.weight"]
    assert [part.factor for part in up] == [0.5]
    assert "unet.down_blocks.0.resnets.0.conv1.lora_A.weight" in plan.tensors
    assert not plan.numbers


def test_every_layer_of_sdxl_is_listed_once() -> None:
    layers = module_names.layers()
    unet = [layer for layer in layers if layer.kohya.startswith("lora_unet_")]

    assert len({layer.kohya for layer in layers}) == len({layer.diffusers for layer in layers}) == len(layers)
    assert len(unet) == 794  # sd-scripts adapts 722 linear and 66 of the convolutions, and leaves the outermost six
    assert len(layers) - len(unet) == 264


def test_layers_that_are_none_of_sdxls_are_not_renamed(tmp_path: Path) -> None:
    one = network(tmp_path / "one.safetensors", 4, 2.0, (*tensor_files.UNET, "input_blocks_99_moon"))

    with pytest.raises(ModelError, match="1 of its layers is none of SDXL's, such as lora_unet_input_blocks_99_moon"):
        converting.plan_names(handed.open_network(one, "rename"), Naming.DIFFUSERS, None)


@pytest.mark.parametrize(
    ("beside", "words"),
    [
        (".dora_scale", "is a DoRA: its magnitudes can't be resized"),
        (".lora_mid.weight", "is a LoCon with Tucker factors"),
    ],
)
def test_kinds_that_upstream_would_get_wrong_are_refused(tmp_path: Path, beside: str, words: str) -> None:
    tensors = tensor_files.lora()
    tensors[f"lora_unet_{tensor_files.UNET[0]}{beside}"] = tensor_files.numbers(4, 4)
    path = tensor_files.write(tmp_path / "a.safetensors", tensors)

    with pytest.raises(ModelError, match=words):
        resizing.require(handed.open_network(path, "resize"), Smaller("fp16", 2))


def test_names_that_upstream_passes_over_in_silence_are_refused_with_the_way_out(tmp_path: Path) -> None:
    one = network(tmp_path / "one.safetensors", 4, 2.0, tensor_files.UNET)
    plan = converting.plan_names(handed.open_network(one, "rename"), Naming.COMFYUI, None)
    there = carried_out(plan, tmp_path / "comfy.safetensors")

    with pytest.raises(ModelError, match="names that sd-scripts' tools pass over") as refused:
        merging.require([Ingredient(handed.open_network(there, "merge"), 1.0)])
    assert "--to kohya" in str(refused.value.problems[0].hint)


def test_a_rank_that_is_none_smaller_is_refused(tmp_path: Path) -> None:
    found = handed.open_network(network(tmp_path / "one.safetensors", 4, 2.0, tensor_files.UNET), "resize")

    for rank in (4, 9):
        with pytest.raises(UsageError, match="its rank is 4 already") as told:
            resizing.require(found, Smaller("fp16", rank))
        assert told.value.problems[0].hint == "--rank 2"
    with pytest.raises(UsageError, match="it has no convolutions"):
        resizing.require(found, Smaller("fp16", 2, 1))


def test_of_rank_1_no_smaller_one_is_offered(tmp_path: Path) -> None:
    found = handed.open_network(network(tmp_path / "one.safetensors", 1, 2.0, tensor_files.UNET), "resize")

    with pytest.raises(UsageError, match="its rank is 1 already") as told:
        resizing.require(found, Smaller("fp16", 1))
    assert told.value.problems[0].hint is None


def test_a_rank_of_convolutions_that_is_none_smaller_is_refused(tmp_path: Path) -> None:
    found = handed.open_network(network(tmp_path / "one.safetensors", 4, 2.0, (*tensor_files.UNET, CONV)), "resize")

    with pytest.raises(UsageError, match="the rank of its convolutions is 4 already"):
        resizing.require(found, Smaller("fp16", 2, 5))
    resizing.require(found, Smaller("fp16", 2, 4))


def test_a_merge_takes_no_rank_that_its_exact_sum_does_not_exceed(tmp_path: Path) -> None:
    first, second, third = tensor_files.UNET
    one = network(tmp_path / "one.safetensors", 4, 2.0, (first, second))
    two = network(tmp_path / "two.safetensors", 6, 1.0, (first, third))
    parts = [Ingredient(handed.open_network(path, "merge"), 1.0) for path in (one, two)]

    merging.require_rank(parts, 9)
    for rank in (10, 4096):
        with pytest.raises(UsageError, match="the exact sum has rank 10: --rank takes less") as told:
            merging.require_rank(parts, rank)
        assert told.value.problems[0].hint == "--rank 5, or leave it out"


@pytest.mark.parametrize(
    ("typed", "name", "ratio"),
    [("a.safetensors", "a.safetensors", 1), ("a.safetensors:0.8", "a.safetensors", 0.8),
     (r"C:\a.safetensors", r"C:\a.safetensors", 1),
     (r"C:\a.safetensors:-1", r"C:\a.safetensors", -1), ("D:/a.safetensors", "D:/a.safetensors", 1)],
)  # fmt: skip
def test_a_ratio_stands_behind_the_last_colon(typed: str, name: str, ratio: float) -> None:
    assert merging.parse(typed) == (Path(name), ratio)


@pytest.mark.parametrize("typed", ["a.safetensors:much", "a.safetensors:nan", "a.safetensors:0", "a.safetensors:1e9"])
def test_a_ratio_that_cannot_be_meant_is_refused(typed: str) -> None:
    with pytest.raises(UsageError):
        merging.parse(typed)


def test_loras_of_different_shapes_are_not_merged(tmp_path: Path) -> None:
    one = network(tmp_path / "one.safetensors", 4, 2.0, tensor_files.UNET[:1])
    name = f"lora_unet_{tensor_files.UNET[0]}"
    other = tensor_files.write(
        tmp_path / "other.safetensors",
        {
            name + UP: tensor_files.numbers(12, 4),
            name + DOWN: tensor_files.numbers(4, 20),
            f"{name}.alpha": np.array(1),
        },
    )
    parts = [Ingredient(handed.open_network(path, "merge"), 1.0) for path in (one, other)]

    with pytest.raises(UsageError, match="are for models of different shapes"):
        merging.plan_sum(parts, "x", "fp16")


def test_a_plan_is_json_that_the_script_reads(tmp_path: Path) -> None:
    found = handed.open_network(network(tmp_path / "a.safetensors", 4, 2.0, tensor_files.UNET[:1]), "rename")
    plan = json.loads(converting.plan_names(found, Naming.KOHYA, "bf16").as_json(tmp_path / "b.safetensors"))

    name = f"lora_unet_{tensor_files.UNET[0]}"
    assert plan["dtype"] == "bf16"
    assert plan["tensors"][name + UP] == {"parts": [[0, name + UP, 1.0]], "axis": 0}
    assert plan["tensors"][f"{name}.alpha"] == {"value": 2.0, "dtype": "float"}
