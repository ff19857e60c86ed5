"""Embeddings, textual inversion: the word, the captions, the file, and what goes on from it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import Cli
from tensor_files import numbers, write

from sdxl_train_cli import handed_file
from sdxl_train_cli.environment import environment
from sdxl_train_cli.environment.environment import Environment
from sdxl_train_cli.errors import SetupError, UsageError
from sdxl_train_cli.inspection import model_file, programs, verdict
from sdxl_train_cli.inspection.weight_facts import WeightFacts
from sdxl_train_cli.layout import Home
from sdxl_train_cli.memory import requirement
from sdxl_train_cli.origin import Origin
from sdxl_train_cli.recipe import Kind, Recipe, Setting
from sdxl_train_cli.recipes import presets
from sdxl_train_cli.recipes.presets import Override
from sdxl_train_cli.records import storage
from sdxl_train_cli.rules import rules
from sdxl_train_cli.run import counting, next_steps, run_choices, smoke
from sdxl_train_cli.sdscripts import clip_words, shipped
from sdxl_train_cli.sdscripts.options import OptionTable


def embedding(vectors: int = 4, sides: tuple[int, int] = (768, 1280)) -> dict[str, np.ndarray]:
    return {name: numbers(vectors, side) for name, side in zip(("clip_l", "clip_g"), sides, strict=True)}


def recipe(name: str = "word-gc", **changes: str) -> Recipe:
    overrides = [Override(option, value, Origin("--set")) for option, value in changes.items()]
    return rules.require(presets.load(Kind.EMBEDDING, name, overrides), shipped.table())


@pytest.fixture
def line(model: Path, pictures: Path) -> list[str]:
    return ["embedding", "--model", str(model), "--data", str(pictures), "--no-vram-check", "--steps", "2"]


def test_a_word_becomes_a_file_that_programs_read_by_its_name(cli: Cli, line: list[str], tmp_path: Path) -> None:
    told = cli(*line, "--trigger", "mychar", "--name", "anna")

    assert told.code == 0, told.stderr
    argv = json.loads((tmp_path / "output" / "anna" / "run.json").read_text(encoding="utf-8"))["argv"]
    assert argv[argv.index("--token_string") + 1] == "mychar"
    assert any(word.endswith("sdxl_train_textual_inversion.py") for word in argv)
    dataset = json.loads((tmp_path / "output" / "anna" / "dataset.json").read_text(encoding="utf-8"))
    assert dataset["datasets"][0]["subsets"][0]["caption_prefix"] == "mychar,"
    file = model_file.read(tmp_path / "output" / "anna" / "anna.safetensors")
    assert (file.what, file.family, file.vectors) == ("embedding", "SDXL", 4)


def test_a_run_without_a_word_is_refused_with_the_flag(cli: Cli, line: list[str]) -> None:
    told = cli(*line, "--dry-run")

    assert told.code == 3
    assert "nothing says which word the embedding is to be" in told.stderr
    assert "--trigger mychar01" in told.stderr


def test_the_word_may_be_set_by_its_own_name(cli: Cli, line: list[str]) -> None:
    told = cli(*line, "--set", "token_string=mychar", "--dry-run")

    assert told.code == 0, told.stderr
    assert "--token_string mychar" in told.stdout


def test_two_words_are_one_too_many(cli: Cli, line: list[str]) -> None:
    told = cli(*line, "--trigger", "mychar", "--set", "token_string=other", "--dry-run")

    assert (told.code, "but both are the embedding's word" in told.stderr) == (2, True)


def test_captions_that_spell_the_word_otherwise_teach_it_nothing(cli: Cli, line: list[str], pictures: Path) -> None:
    captions = sorted(pictures.glob("*.txt"))
    for file in captions:
        file.write_text("MyChar, a photo", encoding="utf-8")
    refused = cli(*line, "--trigger", "mychar", "--dry-run")
    assert (refused.code, "no caption has the word 'mychar', spelled so" in refused.stderr) == (4, True)

    checked = cli("dataset", "check", str(pictures), "--kind", "embedding", "--trigger", "mychar")
    assert (checked.code, "spelled so" in checked.stdout + checked.stderr) == (4, True)

    assert cli(*line, "--trigger", "mychar", "--set", "use_object_template=true", "--dry-run").code == 0
    captions[0].write_text("mychar, a photo", encoding="utf-8")
    warned = cli(*line, "--trigger", "mychar", "--dry-run")
    assert warned.code == 0, warned.stderr
    assert f"{len(captions) - 1} captions spell the word 'mychar' otherwise" in warned.stderr


def test_what_only_other_kinds_have_is_refused(cli: Cli, line: list[str]) -> None:
    word = [*line, "--trigger", "mychar", "--dry-run"]

    for flags, code, words in (
        (["--fast"], 2, "--fast is for LoRA"),
        (["--dim", "8"], 2, "trains the vectors of a word, and has no network"),
        (["--set", "network_dim=8"], 3, "not of sdxl_train_textual_inversion.py"),
        (["--set", "cache_text_encoder_outputs=true"], 3, "not of sdxl_train_textual_inversion.py"),
    ):
        told = cli(*word, *flags)
        assert (told.code, words in told.stderr) == (code, True), told.stderr


def test_a_stopped_run_goes_on_from_its_file_and_not_from_a_state(cli: Cli, line: list[str], tmp_path: Path) -> None:
    assert cli(*line, "--trigger", "mychar", "--name", "anna").code == 0
    resumed = cli("runs", "resume", "anna", "--steps", "9")
    assert (resumed.code, "--set weights=FILE.safetensors" in resumed.stderr) == (2, True)

    made = tmp_path / "output" / "anna" / "anna.safetensors"
    more = [*line, "--trigger", "mychar", "--set", f"weights={made}", "--dry-run"]
    assert cli(*more).code == 0
    fewer = cli(*more, "--set", "num_vectors_per_token=2")
    assert (fewer.code, "--set num_vectors_per_token=4" in fewer.stderr) == (4, True)
    assert cli("runs", "rerun", "anna").code == 0


def test_regularization_pictures_are_refused() -> None:
    texts = {**dict.fromkeys(("preset", "output", "name", "vae", "model")), "data": ".", "trigger": "a", "reg": "r"}

    with pytest.raises(UsageError, match="regularization pictures teach an embedding nothing"):
        run_choices.choose(
            Kind.EMBEDDING, texts, [], repeats=None, gpu_index=None, gpu_memory_gib=None, check_vram=True
        )


def test_no_script_counts_for_an_embedding() -> None:
    with pytest.raises(UsageError, match="a training of an embedding is not resumed"):
        counting.require_resumable(Kind.EMBEDDING)


@pytest.mark.parametrize(("word", "known"), [("girl", True), ("emb", True), ("sks", False), ("mychar", False)])
def test_a_word_is_known_as_the_trainer_asks_for_it(word: str, known: bool) -> None:
    assert clip_words.knows(word) is known


def test_the_need_is_a_range_that_says_that_nobody_measured_it() -> None:
    needs = [requirement.need(recipe(name)) for name in ("word-gc", "word")]

    assert needs[0].high_gib < needs[1].low_gib
    assert all(not need.measured and "no training of an embedding was measured" in need.doubts[0] for need in needs)


def test_a_file_takes_kilobytes_and_a_state_both_text_encoders() -> None:
    assert storage.files(recipe()).checkpoint_gib * 2**30 == 4 * 2048 * 4
    assert storage.files(recipe().replaced({"save_state": Setting(value=True)})).state_gib > 3


def test_every_program_with_embeddings_reads_both_text_encoders(tmp_path: Path) -> None:
    file = model_file.read(write(tmp_path / "a.safetensors", embedding()))

    assert {one.program: one.obstacle for one in programs.readings(file)} == dict.fromkeys(
        ("ComfyUI", "Forge", "A1111")
    )
    assert handed_file.recognise(tmp_path / "a.safetensors") == "embedding"


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({"clip_l": numbers(4, 768)}, "it has no clip_g"),
        ({"clip_l": numbers(4, 768), "clip_g": numbers(2, 1280)}, "different numbers of vectors"),
        (embedding(sides=(64, 64)), "not for SDXL, whose vectors have 768 and 1280 numbers"),
    ],
)
def test_an_embedding_that_is_of_no_use_is_told(tmp_path: Path, tensors: dict[str, np.ndarray], words: str) -> None:
    file = model_file.read(write(tmp_path / "a.safetensors", tensors))
    (found,) = verdict.judge(verdict.assemble(file, None))

    assert found.is_fatal
    assert words in found.problem.message


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"zero_tensors": 1}, "nothing was learned: its vectors are all zero"),
        ({"before": {"compared": 2, "moved": 0}}, "not one weight has changed since the checkpoint before"),
        ({"nonfinite_tensors": 1, "nonfinite": ("clip_l",)}, "1 of 2 tensors hold NaN or infinity, such as clip_l"),
    ],
)
def test_what_is_wrong_with_its_vectors_is_found(tmp_path: Path, changes: dict[str, object], told: str) -> None:
    usual = {"tensors": 2, "looked_at": 2, "nonfinite": (), "nonfinite_tensors": 0, "zero_tensors": 0, "parts": (),
             "blocks": (), "against": None, "before": None}  # fmt: skip
    file = model_file.read(write(tmp_path / "a.safetensors", embedding()))
    (found,) = verdict.judge(verdict.assemble(file, WeightFacts.model_validate({**usual, **changes})))

    assert told in found.problem.message


def test_what_comes_next_names_the_file_and_not_the_word(tmp_path: Path) -> None:
    used, *_ = next_steps.lines(Kind.EMBEDDING, "mychar", tmp_path / "anna.safetensors")

    assert used.endswith("Forge's embeddings; prompt with embedding:anna in ComfyUI, anna in Forge")


def asked_without_embeddings(table: OptionTable) -> OptionTable:
    """The table that an older setup wrote."""
    kept = {script: known for script, known in table.scripts.items() if script != Kind.EMBEDDING.script}
    return table.model_copy(update={"scripts": kept})


def test_an_older_setup_of_a_known_release_needs_no_new_one() -> None:
    old = asked_without_embeddings(shipped.table("v0.10.1"))

    assert shipped.completed(old, "ae72efb92babe89ff8e70f057e42db68440e8d61").of(Kind.EMBEDDING)["token_string"]


def test_an_older_setup_of_a_fork_is_told_to_ask_anew() -> None:
    old = asked_without_embeddings(shipped.table("v0.10.1"))

    with pytest.raises(SetupError, match="was set up before sdxl-train could train embedding") as caught:
        shipped.completed(old, "0" * 40).of(Kind.EMBEDDING)
    assert caught.value.problems[0].hint == "run `sdxl-train setup --recreate`"


def test_sd_scripts_without_the_script_is_told_and_left_out_of_the_smoke_test(
    installed: Environment, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Kind.EMBEDDING in smoke.trainable(installed)[0]
    monkeypatch.setattr(Environment, "checkout", property(lambda _self: tmp_path))

    with pytest.raises(SetupError, match=r"can.t train embedding: it has no sdxl_train_textual_inversion") as caught:
        environment.require(Home(home)).require_trainer(Kind.EMBEDDING)
    assert caught.value.problems[0].hint == "run `sdxl-train setup --update`"
    assert smoke.trainable(installed)[0] == []
