"""What inside/weights.py finds in files of every kind and precision, with numpy alone."""

from __future__ import annotations

import importlib.util
import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import tensor_files
from tensor_files import checkpoint, lora, numbers, write

from sdxl_train_cli.environment.environment import INSIDE
from sdxl_train_cli.inspection import model_file

Found = Callable[..., Any]
SCRIPT = INSIDE / "weights.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("weights", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def found(script: ModuleType, capsys: pytest.CaptureFixture[str]) -> Found:
    """The script's answer; starting a Python for each file would take most of the time."""

    def ask(file: Path, *arguments: str) -> Any:  # noqa: ANN401 - JSON
        code = script.main([str(file), "--names", str(model_file.NAMES), *arguments])
        printed = capsys.readouterr()
        assert code == 0, printed.err
        return json.loads(printed.out)

    return ask


@pytest.mark.parametrize("dtype", ["F16", "BF16", "F32", "F64"])
def test_norms_are_those_of_the_product_in_each_precision(tmp_path: Path, found: Found, dtype: str) -> None:
    tensors = lora()
    facts = found(write(tmp_path / "a.safetensors", tensors, dtype))

    products = [
        tensors[f"lora_unet_{name}.lora_up.weight"] @ tensors[f"lora_unet_{name}.lora_down.weight"] * 2.0 / 4
        for name in tensor_files.UNET
    ]
    (part,) = facts["parts"]
    assert (part["part"], part["modules"], part["idle"]) == ("unet", 3, 0)
    assert part["norm"] == pytest.approx(math.sqrt(sum((product**2).sum() for product in products)), rel=0.01)
    assert [block["block"] for block in facts["blocks"]] == ["input 4", "middle", "output 5"]
    assert facts["blocks"][0]["largest"] == pytest.approx(np.linalg.norm(products[0]), rel=0.01)


def test_a_module_that_holds_no_numbers_has_no_norm(tmp_path: Path, found: Found) -> None:
    """Once, it was called 0: max() takes the other one of a NaN."""
    tensors = lora()
    tensors[f"lora_unet_{tensor_files.UNET[0]}.lora_up.weight"] *= np.nan
    facts = found(write(tmp_path / "a.safetensors", tensors))

    assert [block["norm"] is None for block in facts["blocks"]] == [True, False, False]
    assert facts["nonfinite_tensors"] == 1


def test_a_network_as_it_started_is_all_idle(tmp_path: Path, found: Found) -> None:
    facts = found(write(tmp_path / "a.safetensors", lora(up=0.0)))

    assert (facts["parts"][0]["idle"], facts["parts"][0]["norm"]) == (3, 0.0)
    assert facts["zero_tensors"] == 3


def layer(kind: str, zero: str | None) -> dict[str, np.ndarray]:
    """One layer of a kind whose named factor is zero."""
    shapes = {
        "loha": {"hada_w1_a": (8, 4), "hada_w1_b": (4, 16), "hada_w2_a": (8, 4), "hada_w2_b": (4, 16)},
        "loha tucker": {"hada_w1_a": (4, 8), "hada_w1_b": (4, 16), "hada_w2_a": (4, 8), "hada_w2_b": (4, 16),
                        "hada_t1": (4, 4, 3, 3), "hada_t2": (4, 4, 3, 3)},
        "lokr full": {"lokr_w1": (2, 2), "lokr_w2": (4, 8)},
        "lokr": {"lokr_w1": (2, 2), "lokr_w2_a": (4, 4), "lokr_w2_b": (4, 8)},
        "glora": {"a1.weight": (4, 16), "a2.weight": (16, 4), "b1.weight": (4, 16), "b2.weight": (8, 4)},
        "oft": {"oft_blocks": (2, 4, 4)},
        "full": {"diff": (8, 16), "diff_b": (8,)},
        "norms": {"w_norm": (8,), "b_norm": (8,)},
        "ia3": {"weight": (8, 1), "on_input": ()},
        "peft": {"lora_A.weight": (4, 16), "lora_B.weight": (8, 4)},
    }[kind]  # fmt: skip
    named = (zero or "").split()
    return {
        f"lora_unet_middle_block_1_proj_in.{end}": numbers(*shape, seed=number) * (end not in named)
        for number, (end, shape) in enumerate(shapes.items())
    }


@pytest.mark.parametrize(
    ("kind", "zero"),
    [("loha", "hada_w2_a"), ("loha tucker", "hada_w1_a"), ("lokr full", "lokr_w2"), ("lokr", "lokr_w2_b"),
     ("glora", "a2.weight b2.weight"), ("oft", "oft_blocks"), ("full", "diff diff_b"), ("norms", "w_norm b_norm"),
     ("ia3", "weight"), ("peft", "lora_B.weight")],
)  # fmt: skip
def test_each_kind_is_idle_while_its_own_factor_is_zero(tmp_path: Path, found: Found, kind: str, zero: str) -> None:
    started = found(write(tmp_path / "a.safetensors", layer(kind, zero)))
    trained = found(write(tmp_path / "b.safetensors", layer(kind, None)))

    assert [(part["modules"], part["idle"]) for part in started["parts"]] == [(1, 1)]
    assert [(part["modules"], part["idle"]) for part in trained["parts"]] == [(1, 0)]


def test_the_norm_of_a_lokr_is_that_of_its_kronecker_product(tmp_path: Path, found: Found) -> None:
    tensors = {name.rpartition(".")[2]: values for name, values in layer("lokr", None).items()}
    facts = found(write(tmp_path / "a.safetensors", layer("lokr", None), "F32"))

    product = np.kron(tensors["lokr_w1"], tensors["lokr_w2_a"] @ tensors["lokr_w2_b"])
    assert facts["parts"][0]["norm"] == pytest.approx(np.linalg.norm(product), rel=0.001)


def test_the_norm_of_a_loha_is_estimated_from_its_rows(tmp_path: Path, found: Found) -> None:
    tensors = {name.rpartition(".")[2]: values for name, values in layer("loha", None).items()}
    facts = found(write(tmp_path / "a.safetensors", layer("loha", None), "F32"))

    product = (tensors["hada_w1_a"] @ tensors["hada_w1_b"]) * (tensors["hada_w2_a"] @ tensors["hada_w2_b"])
    assert facts["parts"][0]["norm"] == pytest.approx(np.linalg.norm(product), rel=0.001)


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
def test_what_is_not_a_number_is_named(tmp_path: Path, found: Found, odd: float) -> None:
    tensors = lora()
    name = f"lora_unet_{tensor_files.UNET[1]}.lora_down.weight"
    tensors[name][2, 3] = odd
    facts = found(write(tmp_path / "a.safetensors", tensors))

    assert (facts["nonfinite"], facts["nonfinite_tensors"]) == ([name], 1)


def test_large_numbers_whose_square_is_none_are_numbers(tmp_path: Path, found: Found) -> None:
    tensors = {"lora_unet_out_2.diff": np.full((4, 4), 1e30)}

    assert found(write(tmp_path / "a.safetensors", tensors, "F32"))["nonfinite_tensors"] == 0


def test_numbers_too_small_to_be_squared_are_not_zero(tmp_path: Path, found: Found) -> None:
    facts = found(write(tmp_path / "a.safetensors", {"lora_unet_out_2.diff": np.full((4, 4), 1e-30)}, "F32"))

    assert facts["parts"][0]["idle"] == 0


@pytest.mark.parametrize("base", ["F32", "F16", "BF16"])
@pytest.mark.parametrize("own", ["F32", "F16", "BF16"])
def test_a_checkpoint_that_was_only_rounded_is_the_base(tmp_path: Path, found: Found, base: str, own: str) -> None:
    loaded = {name: tensor_files.rounded(values, base) for name, values in checkpoint().items()}
    before = write(tmp_path / "base.safetensors", loaded, base)
    facts = found(write(tmp_path / "own.safetensors", loaded, own), "--against", str(before))

    assert (facts["against"]["compared"], facts["against"]["changed"]) == (6, 0)


def test_a_base_in_16_bits_that_went_through_the_other_16_bits_is_the_base(tmp_path: Path, found: Found) -> None:
    """full_bf16 rounds the weights when it loads them; they are saved as fp16."""
    base = checkpoint()
    half = {name: tensor_files.rounded(values, "F16") for name, values in base.items()}
    full = {name: tensor_files.rounded(values, "BF16") for name, values in half.items()}
    facts = found(
        write(tmp_path / "own.safetensors", full),
        "--against", str(write(tmp_path / "base.safetensors", base)),
    )  # fmt: skip

    assert facts["against"]["changed"] == 0


def test_a_part_that_moved_is_told_from_one_that_did_not(tmp_path: Path, found: Found) -> None:
    base = write(tmp_path / "base.safetensors", checkpoint())
    own = write(tmp_path / "own.safetensors", checkpoint(moved=0.01, part="model."))
    parts = found(own, "--against", str(base))["against"]["parts"]

    assert (parts["unet"]["tensors"], parts["unet"]["changed"]) == (4, 4)
    assert parts["unet"]["share"] > 0.99
    assert parts["unet"]["relative"] == pytest.approx(0.5, rel=0.1)
    assert parts["te1"]["changed"] == parts["te2"]["changed"] == 0


def test_names_that_torch_compile_made_are_compared_with_the_plain_ones(tmp_path: Path, found: Found) -> None:
    base = write(tmp_path / "base.safetensors", checkpoint())
    renamed = {name.replace("_model.", "_model._orig_mod.", 1): values for name, values in checkpoint().items()}

    facts = found(write(tmp_path / "own.safetensors", renamed), "--against", str(base))
    assert facts["against"]["parts"]["unet"]["tensors"] == 4


def test_two_files_of_a_run_are_compared_bit_by_bit(tmp_path: Path, found: Found) -> None:
    one, same = (write(tmp_path / f"{name}.safetensors", lora()) for name in ("one", "same"))
    other = write(tmp_path / "other.safetensors", lora(up=1.001))

    assert found(same, "--before", str(one))["before"] == {"compared": 9, "moved": 0}
    assert found(other, "--before", str(one))["before"] == {"compared": 9, "moved": 3}


@pytest.mark.parametrize(
    ("dtype", "byte", "value"),
    [("F8_E4M3", 0x38, 1.0), ("F8_E4M3", 0x7E, 448.0), ("F8_E4M3", 0x01, 2.0**-9), ("F8_E4M3", 0xB8, -1.0),
     ("F8_E5M2", 0x3C, 1.0), ("F8_E5M2", 0x7B, 57344.0), ("F8_E5M2", 0x01, 2.0**-16)],
)  # fmt: skip
def test_8_bit_numbers_are_read_by_their_table(
    tmp_path: Path, found: Found, dtype: str, byte: int, value: float
) -> None:
    """By the definitions of the two formats: OCP 8-bit floating point, table 2."""
    path = tmp_path / "a.safetensors"
    text = json.dumps({"lora_unet_out_2.diff": {"dtype": dtype, "shape": [1], "data_offsets": [0, 1]}}).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes([byte]))

    assert found(path)["parts"][0]["norm"] == pytest.approx(abs(value), abs=1e-6)


@pytest.mark.parametrize("cut", [0, 4, 100, 400])
def test_a_file_that_is_cut_off_is_told(tmp_path: Path, cut: int) -> None:
    path = write(tmp_path / "обрезан.safetensors", lora())
    path.write_bytes(path.read_bytes()[:cut])
    argv = [sys.executable, str(SCRIPT), str(path), "--names", str(model_file.NAMES)]
    answer = subprocess.run(argv, capture_output=True, encoding="utf-8", check=False, timeout=60)

    assert (answer.returncode, answer.stderr) == (0, "")
    assert set(json.loads(answer.stdout)) == {"unreadable"}


@pytest.mark.parametrize(
    "entry",
    [{"dtype": "F4", "shape": [1], "data_offsets": [0, 2]}, {"dtype": "F16", "shape": [9], "data_offsets": [0, 2]},
     {"dtype": "F16", "shape": [1], "data_offsets": [-40, 2]}, {"dtype": "F16", "shape": [1], "data_offsets": [0, 2e9]},
     {"dtype": "F16"}, [], None],
)  # fmt: skip
def test_a_strangers_header_is_told_or_read_but_raises_nothing(tmp_path: Path, found: Found, entry: object) -> None:
    text = json.dumps({"lora_unet_out_2.diff": entry}).encode()
    path = tmp_path / "a.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(2))

    assert found(path)


def test_a_rank_that_no_network_has_takes_no_memory(tmp_path: Path, found: Found) -> None:
    tensors = {"lora_unet_out_2.lora_up.weight": np.ones((1, 100_000)),
               "lora_unet_out_2.lora_down.weight": np.ones((100_000, 1))}  # fmt: skip

    (part,) = found(write(tmp_path / "a.safetensors", tensors))["parts"]
    assert (part["idle"], part["norm"]) == (0, None)


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("beside", ["alpha", "dora_scale"])
def test_an_alpha_that_is_not_a_number_is_named(tmp_path: Path, found: Found, beside: str, odd: float) -> None:
    name = f"lora_unet_{tensor_files.UNET[1]}.{beside}"
    facts = found(write(tmp_path / "a.safetensors", {**lora(), name: np.array(odd)}))

    assert (facts["nonfinite"], facts["nonfinite_tensors"]) == ([name], 1)


def test_an_alpha_of_0_scales_its_module_away(tmp_path: Path, found: Found) -> None:
    tensors = {**lora(), f"lora_unet_{tensor_files.UNET[1]}.alpha": np.array(0.0)}
    (part,) = found(write(tmp_path / "a.safetensors", tensors))["parts"]
    (whole,) = found(write(tmp_path / "b.safetensors", lora(alpha=0.0)))["parts"]

    assert (part["idle"], part["scaled_away"]) == (1, 1)
    assert (whole["idle"], whole["scaled_away"], whole["norm"]) == (3, 3, 0.0)


@pytest.mark.parametrize("kind", ["loha", "lokr", "glora"])
def test_each_kind_that_is_scaled_by_its_alpha_is_idle_at_0(tmp_path: Path, found: Found, kind: str) -> None:
    tensors = {**layer(kind, None), "lora_unet_middle_block_1_proj_in.alpha": np.array(0.0)}

    assert found(write(tmp_path / "a.safetensors", tensors))["parts"][0]["idle"] == 1


@pytest.mark.parametrize("alpha", [0.0, math.inf])
@pytest.mark.parametrize("kind", ["lokr full", "oft", "full"])
def test_an_alpha_that_scales_nothing_may_be_anything(tmp_path: Path, found: Found, kind: str, alpha: float) -> None:
    """LyCORIS saves a dim of 100000, which means whole matrices, as an fp16 alpha: infinity."""
    tensors = {**layer(kind, None), "lora_unet_middle_block_1_proj_in.alpha": np.array(alpha)}
    facts = found(write(tmp_path / "a.safetensors", tensors))

    assert (facts["parts"][0]["idle"], facts["nonfinite_tensors"]) == (0, 0)
