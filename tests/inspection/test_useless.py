"""Files that are of no use to anybody are told by their names and shapes alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tensor_files import checkpoint, lora, numbers, write

from sdxl_train_cli.inspection import model_file, verdict
from sdxl_train_cli.inspection.metadata_claims import TrainedWith
from sdxl_train_cli.inspection.verdict import ResultFinding, Trouble

Tensors = dict[str, np.ndarray]
NAME = "lora_unet_middle_block_1_proj_in"


def judged(folder: Path, tensors: Tensors, **metadata: str) -> tuple[ResultFinding, ...]:
    model = model_file.read(write(folder / "a.safetensors", tensors, **metadata))
    return verdict.judge(verdict.assemble(model, None))


def fatal(folder: Path, tensors: Tensors, **metadata: str) -> tuple[Trouble, str]:
    found = [finding for finding in judged(folder, tensors, **metadata) if finding.is_fatal]
    (finding,) = found
    assert finding.problem.hint
    return finding.trouble, finding.problem.message


def module(**shapes: tuple[int, ...]) -> Tensors:
    return {f"{NAME}.{ending.replace('__', '.')}": numbers(*shape) for ending, shape in shapes.items()}


def without(tensors: Tensors, *words: str) -> Tensors:
    return {name: values for name, values in tensors.items() if not any(word in name for word in words)}


@pytest.mark.parametrize(
    ("tensors", "metadata", "why"),
    [
        ({}, {}, "it holds no tensors"),
        ({}, {"ss_steps": "300"}, "it holds no tensors"),
        ({"foo.bar": numbers(4, 4)}, {}, "its tensors have names such as foo.bar"),
        (without(lora(), "lora_up", "lora_down"), {}, "its tensors have names such as lora_unet_input"),
        (without(checkpoint(), "first_stage"), {}, "of a whole SDXL model it has no VAE"),
        (without(checkpoint(), "first_stage", "conditioner.embedders.1"), {}, "no second text encoder and no VAE"),
    ],
)
def test_what_is_neither_a_lora_nor_a_checkpoint_is_fatal(
    tmp_path: Path, tensors: Tensors, metadata: dict[str, str], why: str
) -> None:
    trouble, message = fatal(tmp_path, tensors, **metadata)

    assert trouble is Trouble.NO_MODEL
    assert message.startswith("the file is neither a LoRA nor a checkpoint: ")
    assert why in message


@pytest.mark.parametrize(("gone", "end"), [("lora_up", "lora_up.weight"), ("lora_down", "lora_down.weight")])
def test_a_lora_with_one_side_alone_is_broken(tmp_path: Path, gone: str, end: str) -> None:
    trouble, message = fatal(tmp_path, without(lora(), gone))

    assert trouble is Trouble.BROKEN
    assert message.startswith("3 of 3 modules can't be put together: lora_unet_input_blocks_4_1")
    assert message.endswith(f" has no {end}")


def test_a_lora_of_which_one_module_has_two_ranks_is_broken(tmp_path: Path) -> None:
    tensors = {**lora(), **module(lora_up__weight=(32, 8), lora_down__weight=(16, 64))}

    trouble, message = fatal(tmp_path, tensors)

    assert trouble is Trouble.BROKEN
    assert message == (
        f"1 of 4 modules can't be put together: {NAME} has lora_up.weight and lora_down.weight of 32x8 and 16x64,"
        " which don't fit together"
    )


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        (module(lora_A__weight=(4, 16)), "has no lora_B.weight"),
        (module(hada_w1_a=(8, 4), hada_w1_b=(4, 16)), "has no hada_w2_a"),
        (module(hada_w1_a=(8, 4), hada_w1_b=(4, 16), hada_w2_a=(8, 2), hada_w2_b=(4, 16)), "8x2 and 4x16"),
        (module(lokr_w1=(2, 2)), "has no lokr_w2"),
        (module(lokr_w1=(2, 2), lokr_w2_b=(4, 8)), "has no lokr_w2_a"),
        (module(a1__weight=(4, 16), b1__weight=(4, 16), b2__weight=(8, 4)), "has no a2.weight"),
        (module(lora_up__weight=(), lora_down__weight=(4, 16)), "a single number and 4x16"),
        (lora(modules=("one",)) | {"lora_unet_one.alpha": numbers(2)}, "lora_unet_one has an alpha of 2 numbers"),
    ],
)
def test_every_kind_whose_tensors_do_not_fit_is_broken(tmp_path: Path, tensors: Tensors, words: str) -> None:
    trouble, message = fatal(tmp_path, tensors)

    assert trouble is Trouble.BROKEN
    assert words in message


@pytest.mark.parametrize(
    "tensors",
    [
        module(lora_up__weight=(8, 4, 1, 1), lora_mid__weight=(4, 4, 3, 3), lora_down__weight=(4, 16, 1, 1)),
        module(hada_w1_a=(4, 8), hada_w1_b=(4, 16), hada_w2_a=(4, 8), hada_w2_b=(4, 16), hada_t1=(4, 4, 3, 3),
               hada_t2=(4, 4, 3, 3)),
        module(lokr_w1=(2, 2), lokr_w2_a=(4, 8), lokr_w2_b=(4, 8), lokr_t2=(4, 4, 3, 3)),
        module(lokr_w1_a=(2, 1), lokr_w1_b=(1, 2), lokr_w2=(4, 8)),
        module(a1__weight=(4, 16), a2__weight=(16, 4), b1__weight=(4, 16), b2__weight=(8, 4)),
        module(diff=(8, 16)),
        module(w_norm=(8,), b_norm=(8,)),
        module(oft_blocks=(2, 4, 4)),
    ],
)  # fmt: skip
def test_every_kind_that_is_whole_is_not_broken(tmp_path: Path, tensors: Tensors) -> None:
    assert not any(finding.is_fatal for finding in judged(tmp_path, tensors))


def test_nobody_is_said_to_read_a_broken_file(tmp_path: Path) -> None:
    model = model_file.read(write(tmp_path / "a.safetensors", without(lora(), "lora_up")))
    examined = verdict.assemble(model, None)

    assert verdict.summary(examined, verdict.judge(examined)) == "broken"


def test_a_checkpoint_that_nobody_reads_has_a_remedy_of_its_own(tmp_path: Path) -> None:
    found = judged(tmp_path, without(checkpoint(), "middle_block"))
    (problem,) = (finding.problem for finding in found if finding.is_fatal)

    assert problem.message.endswith("it has no tensor whose name begins with model.diffusion_model.middle_block.")
    assert problem.hint == "convert it to the names of an SDXL checkpoint, or download another"


def test_a_checkpoint_without_text_encoders_is_told_so(tmp_path: Path) -> None:
    found = judged(tmp_path, without(checkpoint(), "conditioner"))
    (problem,) = (finding.problem for finding in found if finding.is_fatal)

    assert problem.message.endswith("it has no first text encoder and no second text encoder")
    assert problem.hint == "download or train it again"


def test_a_network_that_nobody_reads_is_to_be_looked_for_in_its_module(tmp_path: Path) -> None:
    found = judged(tmp_path, lora(prefix="my_model_"))

    assert found[0].problem.hint == "look at its network_module"


def test_a_runs_own_file_of_an_unknown_network_module_is_not_judged(tmp_path: Path) -> None:
    model = model_file.read(write(tmp_path / "a.safetensors", {"mynet.block.0": numbers(4, 4)}))
    trained = TrainedWith(False, (1024, 1024), "base.safetensors", 1e-4, "AdamW8bit")

    assert not any(finding.is_fatal for finding in verdict.judge(verdict.assemble(model, None, trained)))
