"""Facts become findings: what is fatal, what only warns, and what is said."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import tensor_files

from sdxl_train_cli.inspection import model_file, verdict
from sdxl_train_cli.inspection.metadata_claims import TrainedWith
from sdxl_train_cli.inspection.model_file import ModelFile
from sdxl_train_cli.inspection.verdict import ResultFinding, Trouble
from sdxl_train_cli.inspection.weight_facts import WeightFacts

TRAINED = TrainedWith(False, (1024, 1024), "/models/base.safetensors", 1e-4, "AdamW8bit")


def facts(**changes: object) -> WeightFacts:
    """Those of a LoRA that has learned."""
    part = {"part": "unet", "modules": 3, "idle": 0, "norm": 1.2}
    block = {**part, "block": "middle", "largest": 0.9, "where": "lora_unet_middle_block_1_proj_in"}
    usual = {"tensors": 9, "looked_at": 6, "nonfinite": (), "nonfinite_tensors": 0, "zero_tensors": 0,
             "parts": (part,), "blocks": (block,), "against": None, "before": None}  # fmt: skip
    return WeightFacts.model_validate({**usual, **changes})


def compared(unet: float = 0.9, text: float = 0.0, relative: float = 0.01) -> WeightFacts:
    """Those of a checkpoint beside its base."""
    parts = {
        name: {"tensors": 4, "changed": 4 if share else 0, "share": share, "relative": relative}
        for name, share in (("unet", unet), ("te1", text))
    }
    changed = sum(4 for share in (unet, text) if share)
    return facts(parts=(), blocks=(), against={"compared": 8, "changed": changed, "parts": parts})


@pytest.fixture
def lora(tmp_path: Path) -> ModelFile:
    return model_file.read(tensor_files.write(tmp_path / "lora.safetensors", tensor_files.lora()))


@pytest.fixture
def checkpoint(tmp_path: Path) -> ModelFile:
    return model_file.read(tensor_files.write(tmp_path / "full.safetensors", tensor_files.checkpoint()))


def judged(
    model: ModelFile, weights: WeightFacts | None, trained: TrainedWith | None = None
) -> Sequence[ResultFinding]:
    return verdict.judge(verdict.assemble(model, weights, trained))


def only(found: Sequence[ResultFinding]) -> ResultFinding:
    (finding,) = found
    return finding


def line(model: ModelFile, weights: WeightFacts | None) -> str:
    examined = verdict.assemble(model, weights)
    return verdict.summary(examined, verdict.judge(examined))


def test_a_lora_that_learned_is_told_in_a_line(lora: ModelFile) -> None:
    assert judged(lora, facts(), TRAINED) == ()
    assert line(lora, facts()) == (
        "learned: 3 of 3 U-Net modules changed; read by ComfyUI, Forge, A1111, diffusers"
    )  # fmt: skip


def idle(*parts: str, of: tuple[str, ...] = ("unet", "te1")) -> WeightFacts:
    rows = [{"part": part, "modules": 3, "idle": 3 * (part in parts), "norm": 0.0} for part in of]
    return facts(parts=tuple(rows), blocks=())


@pytest.mark.parametrize(
    ("rate", "cause"),
    [(0.0, "its learning rate never rose above 0"), (2e-13, "never rose above 2e-13"),
     (1e-4, "reached 0.0001, but AdamW8bit never changed a weight"), (None, "no step has changed a weight")],
)  # fmt: skip
def test_a_lora_as_it_started_is_fatal_and_names_the_cause(lora: ModelFile, rate: float | None, cause: str) -> None:
    trained = TrainedWith(False, (1024, 1024), "base.safetensors", rate, "AdamW8bit")
    finding = only(judged(lora, idle("unet", "te1"), trained))

    assert (finding.trouble, finding.is_fatal) == (Trouble.NOTHING_LEARNED, True)
    assert "all 6 modules are still as they started" in finding.problem.message
    assert cause in finding.problem.message
    assert finding.problem.hint


def test_one_part_that_learned_nothing_only_warns(lora: ModelFile) -> None:
    finding = only(judged(lora, idle("te1")))

    assert (finding.trouble, finding.is_fatal) == (Trouble.PART_UNTRAINED, False)
    assert "text encoder 1 learned nothing" in finding.problem.message


def test_a_checkpoint_that_is_its_base_is_fatal(checkpoint: ModelFile) -> None:
    finding = only(judged(checkpoint, compared(unet=0.0), TRAINED))

    assert finding.trouble is Trouble.NOTHING_LEARNED
    assert "all 8 tensors that were compared are the base model's own" in finding.problem.message


def test_a_checkpoint_whose_text_encoders_alone_moved_warns(checkpoint: ModelFile) -> None:
    assert only(judged(checkpoint, compared(unet=0.0, text=0.5))).trouble is Trouble.PART_UNTRAINED


def test_a_checkpoint_of_which_hardly_a_weight_moved_warns(checkpoint: ModelFile) -> None:
    finding = only(judged(checkpoint, compared(unet=0.0005)))

    assert finding.trouble is Trouble.LITTLE_LEARNED
    assert "only 0.05 %" in finding.problem.message


def test_a_checkpoint_without_its_base_beside_it_is_called_sound_and_no_more(checkpoint: ModelFile) -> None:
    weights = facts(parts=(), blocks=())

    assert judged(checkpoint, weights) == ()
    assert line(checkpoint, weights).startswith("sound: 6 tensors looked at; read by")


def test_weights_that_are_no_numbers_are_fatal(lora: ModelFile) -> None:
    finding = only(judged(lora, facts(nonfinite=("lora_unet_a.lora_up.weight",), nonfinite_tensors=2)))

    assert (finding.trouble, finding.is_fatal) == (Trouble.NOT_FINITE, True)
    assert "2 of 6 tensors hold NaN or infinity, such as lora_unet_a.lora_up.weight" in finding.problem.message


def test_absurd_norms_only_warn(lora: ModelFile, checkpoint: ModelFile) -> None:
    block = {"part": "unet", "block": "middle", "modules": 3, "idle": 0, "norm": 90.0, "largest": 80.0, "where": "here"}

    for found in (judged(lora, facts(blocks=(block,))), judged(checkpoint, compared(relative=0.8))):
        assert (only(found).trouble, only(found).is_fatal) == (Trouble.LARGE_NORMS, False)


def test_a_checkpoint_that_did_not_move_since_the_one_before_warns(lora: ModelFile) -> None:
    assert only(judged(lora, facts(before={"compared": 9, "moved": 0}))).trouble is Trouble.UNMOVED
    assert judged(lora, facts(before={"compared": 9, "moved": 1})) == ()


def test_a_lora_that_goes_on_from_another_and_is_still_that_one_has_learned_nothing(lora: ModelFile) -> None:
    weights = facts(before={"compared": 9, "moved": 0})
    found = verdict.judge(verdict.assemble(lora, weights, TRAINED, is_continued=True))

    assert only(found).trouble is Trouble.NOTHING_LEARNED


def test_names_that_nobody_reads_are_fatal(tmp_path: Path) -> None:
    renamed = {
        name.replace("_model.", "_model._orig_mod.", 1): values for name, values in tensor_files.checkpoint().items()
    }
    model = model_file.read(tensor_files.write(tmp_path / "a.safetensors", renamed))
    finding = only(judged(model, compared()))

    assert (finding.trouble, finding.is_fatal) == (Trouble.UNREADABLE, True)
    assert "none of ComfyUI, Forge, A1111, diffusers can read it" in finding.problem.message
    assert "model.diffusion_model._orig_mod." in finding.problem.message
    assert "torch_compile=false" in str(finding.problem.hint)


def test_one_program_that_reads_it_is_enough(tmp_path: Path) -> None:
    tensors = tensor_files.lora(prefix="lycoris_")
    model = model_file.read(tensor_files.write(tmp_path / "a.safetensors", tensors))

    assert judged(model, facts()) == ()
    assert "read by ComfyUI, not by Forge, A1111, diffusers" in line(model, facts())


def test_modules_that_a_program_passes_over_are_counted(tmp_path: Path) -> None:
    tensors = {**tensor_files.lora(), **tensor_files.lora(prefix="strange_", modules=("one",))}
    model = model_file.read(tensor_files.write(tmp_path / "a.safetensors", tensors))
    found = judged(model, facts())

    assert {finding.trouble for finding in found} == {Trouble.PARTLY_READ}
    assert "passes over 1 of its 4 modules, such as strange_one" in found[0].problem.message


def test_a_missing_alpha_is_told_with_what_it_does_to_the_strength(tmp_path: Path) -> None:
    tensors = tensor_files.lora(alpha=None)
    model = model_file.read(tensor_files.write(tmp_path / "a.safetensors", tensors, ss_network_alpha="2"))
    finding = only(judged(model, facts()))

    assert finding.trouble is Trouble.NO_ALPHA
    assert "2 times as strong as it was trained" in finding.problem.message
    assert "0.5" in str(finding.problem.hint)


@pytest.mark.parametrize(
    ("metadata", "words"),
    [({"modelspec.prediction_type": "v"}, "prediction type v-prediction, but it is epsilon"),
     ({"modelspec.resolution": "512x512"}, "resolution 512x512, but it is 1024x1024"),
     ({"ss_sd_model_name": "other.safetensors"}, "base model other.safetensors, but it is /models/base.safetensors"),
     ({"modelspec.architecture": "stable-diffusion-v1/lora"}, "base SD 1.x, but it is SDXL"),
     ({"ss_network_dim": "64"}, "rank 64, but it is 4")],
)  # fmt: skip
def test_metadata_that_lies_is_told(tmp_path: Path, metadata: dict[str, str], words: str) -> None:
    model = model_file.read(tensor_files.write(tmp_path / "a.safetensors", tensor_files.lora(), **metadata))
    finding = only(judged(model, facts(), TRAINED))

    assert (finding.trouble, finding.is_fatal) == (Trouble.METADATA, False)
    assert words in finding.problem.message


def test_metadata_that_is_true_is_not_told(tmp_path: Path) -> None:
    metadata = {
        "modelspec.prediction_type": "epsilon", "modelspec.resolution": "1024x1024",
        "ss_sd_model_name": "base.safetensors", "modelspec.architecture": "stable-diffusion-xl-v1-base/lora",
        "ss_network_dim": "4",
    }  # fmt: skip
    model = model_file.read(tensor_files.write(tmp_path / "a.safetensors", tensor_files.lora(), **metadata))

    assert judged(model, facts(), TRAINED) == ()


def test_a_v_prediction_checkpoint_without_the_tensor_that_says_so_warns(tmp_path: Path) -> None:
    trained = TrainedWith(True, (1024, 1024), "base.safetensors", 1e-5, "Adafactor")
    plain = model_file.read(tensor_files.write(tmp_path / "a.safetensors", tensor_files.checkpoint()))
    said = {**tensor_files.checkpoint(), "v_pred": np.zeros(0)}
    marked = model_file.read(tensor_files.write(tmp_path / "b.safetensors", said))

    assert "ComfyUI and Forge take it for epsilon" in only(judged(plain, compared(), trained)).problem.message
    assert judged(marked, compared(), trained) == ()


def test_without_weights_nothing_is_said_of_learning(lora: ModelFile) -> None:
    assert judged(lora, None) == ()
    assert line(lora, None).startswith("weights not looked at; read by")


def test_modules_whose_alpha_is_0_have_learned_nothing(lora: ModelFile) -> None:
    unet = {"part": "unet", "modules": 3, "idle": 3, "scaled_away": 3, "norm": 0.0}
    text = {"part": "te1", "modules": 3, "idle": 0, "norm": 1.0}
    all_of_it, some = (only(judged(lora, facts(parts=parts, blocks=()))) for parts in ((unet,), (unet, text)))

    assert (all_of_it.trouble, some.trouble) == (Trouble.NOTHING_LEARNED, Trouble.PART_UNTRAINED)
    assert all_of_it.problem.message == (
        "nothing was learned: the alpha of 3 of 3 modules is 0, which scales them to nothing"
    )
    assert some.problem.message.startswith("the U-Net learned nothing: the alpha of 3 of 3 modules is 0")


def test_an_alpha_that_is_no_number_is_not_blamed_on_the_learning_rate(lora: ModelFile) -> None:
    finding = only(judged(lora, facts(nonfinite=("lora_unet_a.alpha",), nonfinite_tensors=1)))

    assert (finding.is_fatal, finding.problem.hint) == (True, "download or train it again")
