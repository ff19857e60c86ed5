"""`sdxl-train start`: questions, defaults, the file that is written, and the run that is started."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from base_models import write_base
from conftest import Cli, Result, variables, write_pictures
from terminal import answer, stop_at

from sdxl_train_cli import gpu
from sdxl_train_cli.gpu import Gpu
from sdxl_train_cli.layout import PROJECT_FILE
from sdxl_train_cli.recipe import Kind
from sdxl_train_cli.recipes import project

Main = Callable[..., Result]
TAGS = "mika, 1girl, solo, red hair, smile"
at_a_terminal = pytest.mark.skipif(sys.platform == "win32", reason="needs a terminal of POSIX")


def settings(folder: Path) -> dict[str, object]:
    return {override.option: override.value for override in project.load(folder).overrides}


def contents(folder: Path) -> dict[str, bytes | None]:
    """All that is in a folder, but the user's caches."""
    found = {path.name: path.read_bytes() if path.is_file() else None for path in folder.iterdir()}
    return {name: content for name, content in found.items() if name not in {"tmp", "user"}}


@pytest.fixture
def here(main: Main, tmp_path: Path) -> Main:
    """A folder with tagged pictures and an anime base."""
    write_pictures(tmp_path / "pictures", 6, caption=TAGS, size=(256, 256))
    write_base(tmp_path / "illustrious.safetensors")
    return main


@at_a_terminal
def test_questions_answered_by_enter_lead_to_a_started_run(cli: Cli) -> None:
    write_pictures(cli.folder / "мои картинки", 6, caption=TAGS, size=(256, 256))
    write_base(cli.folder / "illustrious.safetensors")

    environ = {**cli.environ, "STANDIN_STEP_SECONDS": "0"}
    result = answer("start", "мои картинки", "--no-vram-check", typed=7 * "\n", cwd=cli.folder, environ=environ)

    assert result.code == 0, result.stderr
    assert result.path == cli.folder / "output" / "mika" / "mika.safetensors"
    assert "1200 steps" in result.stderr
    assert "Start now?" in result.stderr
    written = project.load(cli.folder)
    assert (written.kind, written.preset, written.trigger) == (Kind.LORA, "anime", "mika")
    record = json.loads((result.path.parent / "run.json").read_text(encoding="utf-8"))
    assert record["settings"]["max_train_steps"]["origin"].startswith(PROJECT_FILE)


@at_a_terminal
def test_a_wrong_answer_is_asked_again_with_one_line_of_why(cli: Cli) -> None:
    write_pictures(cli.folder / "data", 6, caption=None, size=(256, 256))
    write_base(cli.folder / "real.safetensors")
    lines = ["cats", "object", "7", "absent.safetensors", "1", "-", "ohwx mug", "fastest", "speed", "n", "n"]

    result = answer("start", "--no-vram-check", typed="\n".join([*lines, ""]), cwd=cli.folder, environ=cli.environ)

    assert result.code == 0, result.stderr
    for told in (
        "one of: character",
        "a number from 1 to 1",
        "no model at absent",
        "training an object needs a word",
        "no LoRA preset named",
    ):
        assert told in result.stderr, told
    assert result.stderr.endswith("next: sdxl-train lora --no-vram-check\n")
    assert (project.load(cli.folder).trigger, project.load(cli.folder).preset) == ("ohwx mug", "object")
    assert not (cli.folder / "output").exists()


@at_a_terminal
def test_questions_plan_and_next_lines_are_russian_where_it_is_asked_for(cli: Cli) -> None:
    write_pictures(cli.folder / "data", 6, caption=None, size=(256, 256))
    write_base(cli.folder / "real.safetensors")
    lines = ["предм", "1", "ohwx mug", "скорость", "--w 512", "нет", "н"]
    environ = {**cli.environ, "SDXL_TRAIN_LANG": "ru"}

    result = answer("start", "--no-vram-check", typed="\n".join([*lines, ""]), cwd=cli.folder, environ=environ)

    assert result.code == 0, result.stderr
    for told in ("1. Что обучаем?", "object (предмет)", "5. Рисовать", "пресет:", "ничего: картинок мало (6)",
                 "--sample has flags", "[Д/н]", "дальше: sdxl-train lora"):  # fmt: skip
        assert told in result.stderr, told
    written = project.load(cli.folder)
    assert (written.trigger, written.preset, written.samples) == ("ohwx mug", "object", ())


@at_a_terminal
@pytest.mark.parametrize(
    ("question", "typed"), [("What do you train?", ""), ("Write it anew?", ""), ("Start now?", "\n\nohwx\n\n")]
)
def test_ctrl_c_at_a_question_leaves_nothing(cli: Cli, question: str, typed: str) -> None:
    write_pictures(cli.folder / "data", size=(256, 256))
    write_base(cli.folder / "base.safetensors")
    if question.startswith("Write"):
        (cli.folder / PROJECT_FILE).write_text("kind: locon\n", encoding="utf-8")
    before = contents(cli.folder)

    answers = typed + "\n" * bool(typed)
    result = stop_at(
        question, "start", "--no-vram-check", signum=signal.SIGINT, cwd=cli.folder, environ=cli.environ, typed=answers
    )

    assert result.code == 130, result.stderr
    assert contents(cli.folder) == before


def test_a_script_gets_the_defaults_and_the_next_command(here: Main, tmp_path: Path) -> None:
    result = here("start")

    assert result.code == 0, result.stderr
    assert result.path == tmp_path / PROJECT_FILE
    assert project.load(tmp_path).data == "pictures"
    assert settings(tmp_path) == {"max_train_steps": 1200, "save_every_n_steps": 240}
    assert "next: sdxl-train lora --dry-run --gpu-memory 12" in result.stderr
    assert "next: sdxl-train start pictures --force --gpu-memory 8" in result.stderr
    assert here("lora", "--dry-run", "--gpu-memory", "12").code == 0


def test_json_tells_the_file_and_the_next_command(here: Main, tmp_path: Path) -> None:
    (told,) = here("start", "--json").stdout.splitlines()

    assert json.loads(told)["event"] == "result"
    assert json.loads(told)["path"] == str(tmp_path / PROJECT_FILE)
    assert json.loads(told)["next"][0].startswith("sdxl-train lora")


def test_yes_starts_in_a_script(cli: Cli) -> None:
    write_pictures(cli.folder / "data" / "10_cat", 6, caption=None, size=(256, 256))
    write_base(cli.folder / "base.safetensors")

    result = cli("start", "--yes", "--no-vram-check", STANDIN_STEP_SECONDS="0")

    assert result.code == 0, result.stderr
    assert result.path.name == "cat.safetensors"
    assert project.load(cli.folder).trigger == "cat"


def test_yes_without_a_gpu_starts_and_writes_nothing(here: Main, tmp_path: Path) -> None:
    result = here("start", "--yes")

    assert result.code == 2
    assert "no NVIDIA GPU was found" in result.stderr
    assert not (tmp_path / PROJECT_FILE).exists()


@at_a_terminal
def test_a_folder_that_takes_nothing_is_told_before_any_question(
    main: Main, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pictures(tmp_path / "pictures", 3)
    monkeypatch.chdir("/proc")

    result = main("start", tmp_path / "pictures")

    assert (result.code, result.stdout) == (2, "")
    assert result.stderr == (
        "error: nothing can be written to /proc\n"
        "hint:  go to a folder of your own first: sdxl-train.yaml and output/ are written where you are\n"
    )


def test_the_plan_says_how_many_pictures_are_held_back_and_why(main: Main, tmp_path: Path) -> None:
    write_pictures(tmp_path / "many", 40, caption=TAGS, size=(64, 64))
    write_pictures(tmp_path / "few", 6, caption=TAGS, size=(64, 64))
    write_base(tmp_path / "illustrious.safetensors")

    many, chosen, few, typed = (
        main("start", "many", "--force"),
        main("start", "many", "--force", "--no-validate"),
        main("start", "few", "--force"),
        main("start", "few", "--force", "--validate"),
    )

    assert "validate: 4 of 40 pictures held back, to see when it only learns the others by heart" in many.stderr
    assert "validate: none held back, as you chose" in chosen.stderr
    assert "validate: none held back: 6 pictures are few, and each is needed; --validate holds some back" in few.stderr
    assert "validate: 1 of 6 pictures held back" in typed.stderr
    assert project.load(tmp_path).validate == project.USUAL_SHARE


def test_what_is_typed_next_is_not_refused(here: Main) -> None:
    for words in ((), ("--for", "speed"), ("--gpu-memory", "8", "--for", "speed")):
        (told,) = here("start", "--json", "--force", *words).stdout.splitlines()
        for line in json.loads(told)["next"][:-1]:
            typed = line.split(",")[0].split()[1:]
            assert here(*typed).code == 0, line


def test_folders_of_concepts_in_this_folder_are_found(main: Main, tmp_path: Path) -> None:
    write_pictures(tmp_path / "10_cat", 3, caption=TAGS)
    write_base(tmp_path / "base.safetensors")

    assert main("start").code == 0
    assert project.load(tmp_path).data == "."


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("--what", "cat"), 2, "one of: character"),
        (("--for", "fun"), 2, "one of: quality, speed"),
        (("--model", "absent.safetensors"), 4, "no model at absent.safetensors"),
        (("--preset", "absent"), 3, "no LoRA preset named 'absent'"),
        (("--trigger", ""), 2, '--trigger "mika"'),
        (("--trigger", "-"), 2, "error: training a character needs a trigger word\n"),
        (("--yes",), 2, "leave out --yes to write sdxl-train.yaml alone"),
        (("empty",), 4, "holds no picture"),
        (("absent",), 4, "give `sdxl-train start` a folder of pictures"),
        (("--gpu-memory", "3"), 6, "3"),
    ],
)
def test_what_makes_no_sense_is_one_line_and_writes_nothing(
    here: Main, tmp_path: Path, words: tuple[str, ...], code: int, told: str
) -> None:
    (tmp_path / "empty").mkdir()

    result = here("start", *words)

    assert (result.code, told in result.stderr) == (code, True), result.stderr
    assert not (tmp_path / PROJECT_FILE).exists()


def test_a_question_without_a_default_names_its_flag(main: Main, tmp_path: Path) -> None:
    write_pictures(tmp_path / "data", caption=None)
    no_base = main("start")
    write_base(tmp_path / "base.safetensors")
    no_trigger = main("start")

    assert (no_base.code, "--model base.safetensors" in no_base.stderr) == (2, True)
    assert (no_trigger.code, '--trigger "ohwx woman"' in no_trigger.stderr) == (2, True)


def test_a_tag_of_all_captions_is_offered_as_the_trigger(main: Main, tmp_path: Path) -> None:
    write_pictures(tmp_path / "data", caption="1girl, solo, mychar")
    write_base(tmp_path / "base.safetensors")
    told = main("start", "--gpu-memory", "24")

    assert (told.code, told.stderr.splitlines()[-2:]) == (
        2,
        ["error: training a character needs a trigger word; all captions have the tag mychar",
         'hint:  --trigger "mychar"'],
    )  # fmt: skip


def test_a_file_that_is_there_is_kept_without_force(here: Main, tmp_path: Path) -> None:
    (tmp_path / PROJECT_FILE).write_text("kind: locon\n", encoding="utf-8")

    kept, forced = here("start"), here("start", "--force")

    assert (kept.code, "`sdxl-train locon` goes by it; --force" in kept.stderr) == (2, True)
    assert (forced.code, project.load(tmp_path).kind) == (0, Kind.LORA)


def test_what_does_not_fit_is_made_to_fit_with_its_price(here: Main, tmp_path: Path) -> None:
    result = here("start", "--gpu-memory", "8")

    assert result.code == 0, result.stderr
    assert settings(tmp_path)["fp8_base"] is True
    text = (tmp_path / PROJECT_FILE).read_text(encoding="utf-8")
    assert "# or it would not fit into the 7.5 GB free; costs precision of the base model\n  fp8_base: true" in text


def test_a_large_gpu_trains_without_checkpointing_and_speed_means_fast(
    here: Main, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "devices", lambda: (Gpu(0, "NVIDIA H100", 80.0, 79.0, (9, 0), "555.1"),))

    result = here("start", "--for", "speed")

    assert settings(tmp_path)["gradient_checkpointing"] is False
    assert result.stderr.endswith("next: sdxl-train lora --fast\n")


def test_speed_means_fast_in_what_to_type_on_another_computer_too(here: Main) -> None:
    result = here("start", "--for", "speed", "--gpu-memory", "24")

    assert "next: sdxl-train lora --fast --dry-run --gpu-memory 24, which" in result.stderr
    assert result.stderr.endswith("next: sdxl-train lora --fast, on a computer with a GPU\n")


def test_before_setup_the_file_is_written_and_setup_is_next(tmp_path: Path) -> None:
    write_pictures(tmp_path / "data", caption=TAGS)
    write_base(tmp_path / "base.safetensors")

    result = Cli(tmp_path, variables(tmp_path))("start")

    assert (result.code, "next: sdxl-train setup" in result.stderr) == (0, True), result.stderr
    assert "memory:   needs " in result.stderr
    assert project.load(tmp_path).preset == "anime"


@pytest.mark.parametrize(
    ("what", "caption", "signs", "kind", "preset"),
    [
        ("character", TAGS, (), Kind.LORA, "anime"),
        ("character", TAGS, ("v_pred", "ztsnr"), Kind.LORA, "anime-vpred"),
        ("style", TAGS, (), Kind.LOCON, "anime-style"),
        ("character", "a photo of a woman, smiling at the camera", (), Kind.LORA, "character"),
        ("style", "a house in the hills", (), Kind.LORA, "style"),
        ("object", "a photo of a mug on a table", (), Kind.LORA, "object"),
        ("concept", "a woman who wears a hat", (), Kind.LORA, "dim32-gc"),
        ("several", "two people at a table", (), Kind.LORA, "dim128-gc"),
    ],
)
def test_the_preset_suits_subject_captions_and_base(  # noqa: PLR0913, PLR0917 - one per column
    main: Main, tmp_path: Path, what: str, caption: str, signs: tuple[str, ...], kind: Kind, preset: str
) -> None:
    write_pictures(tmp_path / "data", 8, caption=caption, size=(256, 256))
    write_base(tmp_path / "base.safetensors", signs)

    result = main("start", "--what", what, "--trigger", "ohwx", "--gpu-memory", "24")

    assert result.code == 0, result.stderr
    assert (project.load(tmp_path).kind, project.load(tmp_path).preset) == (kind, preset)
