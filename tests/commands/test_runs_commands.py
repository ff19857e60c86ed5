"""`sdxl-train runs` as it is typed: what a person sees, and what a script gets."""

from __future__ import annotations

import json
import shlex
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Cli, Result
from kept_runs import DONE, SETTINGS, US, keep, keep_with_files, metrics, write_json, write_state
from patience import PATIENCE_SECONDS, until

from sdxl_train_cli import process
from sdxl_train_cli.environment.environment import Environment

Main = Callable[..., Result]
only_posix = pytest.mark.skipif(process.WINDOWS, reason="sends POSIX signals")


def refused(result: Result, words: str, code: int = 2) -> str:
    """One error, nothing on stdout; gives the hint."""
    assert (result.code, result.stdout) == (code, ""), result.stderr
    assert "Traceback" not in result.stderr
    assert words in result.stderr
    return result.stderr.partition("hint:  ")[2]


# --- list


def test_a_list_shows_each_run_with_its_state(tmp_path: Path, main: Main) -> None:
    keep(tmp_path / "output" / "мой кот")
    keep(tmp_path / "output" / "猫", {"outcome": "failed", "steps": 3, "seconds": 5.0}, started="2026-01-03T10:00:00Z")
    keep(tmp_path / "output" / "now", None, supervisor=US, started="2026-01-04T10:00:00Z")
    keep(tmp_path / "output" / "cut", None, started="2026-01-05T10:00:00Z")
    result = main("runs", "list")
    rows = [line.split("  ") for line in result.stdout.splitlines()]

    assert result.code == 0
    assert [row[0].strip() for row in rows] == ["name", "cut", "now", "猫", "мой кот"]
    assert "interrupted" in result.stdout
    assert "running" in result.stdout
    assert "failed" in result.stdout
    assert "done         lora  dim32-gc  6      0.1250  1:01" in result.stdout


def test_a_broken_record_is_a_row_and_a_reason(tmp_path: Path, main: Main) -> None:
    folder = keep(tmp_path / "output" / "cat")
    keep(tmp_path / "output" / "dog")
    (folder / "run.json").write_text('{"sdxl_train": "0.', encoding="utf-8")
    result = main("runs", "list")

    assert result.code == 0
    assert "record broken" in result.stdout
    assert "dog" in result.stdout
    assert f"{folder}: run.json: " in result.stderr


def test_a_moved_run_is_listed_by_the_name_that_finds_it(tmp_path: Path, main: Main) -> None:
    keep(tmp_path / "output" / "old", name="new")

    assert main("runs", "list").stdout.splitlines()[1].startswith("old  ")


@only_posix
def test_a_name_cannot_give_orders_to_the_terminal(tmp_path: Path, main: Main) -> None:
    keep(tmp_path / "output" / "cat\x1b[2J\n")

    assert r"cat\x1b[2J\n " in main("runs", "list").stdout


def test_where_there_are_no_runs_a_list_is_empty(tmp_path: Path, main: Main) -> None:
    shown, as_json = main("runs", "list"), main("runs", "list", "--json")

    told = f"no runs in {tmp_path / 'output'}\nhint:  sdxl-train runs list -o FOLDER\n"
    assert (shown.code, shown.stdout, shown.stderr) == (0, "", told)
    assert json.loads(as_json.stdout) == []


def test_a_list_of_another_folder_leads_to_the_runs(tmp_path: Path, main: Main) -> None:
    keep(tmp_path / "there" / "output" / "cat")

    nowhere = main("runs", "list", "-o", "nowhere")
    assert (nowhere.code, nowhere.stdout) == (2, "")
    assert f"no folder at {tmp_path / 'nowhere'}" in nowhere.stderr
    assert main("runs", "list", "-o", "there").stderr.endswith("hint:  sdxl-train runs list -o there/output\n")
    assert main("runs", "list", "-o", "there/output").stdout.splitlines()[1].startswith("cat")
    assert main("runs", "list", "-o", "there/output/cat").stderr.endswith("sdxl-train runs show there/output/cat\n")


def test_runs_are_looked_for_where_the_project_file_puts_them(tmp_path: Path, main: Main) -> None:
    (tmp_path / "sdxl-train.yaml").write_text("output: trained here\n", encoding="utf-8")
    keep(tmp_path / "trained here" / "cat")
    keep(tmp_path / "elsewhere" / "dog")

    assert "cat" in main("runs", "list").stdout
    assert "dog" in main("runs", "list", "--output", "elsewhere").stdout


def test_a_list_as_json_is_json_alone_even_where_the_loss_is_none(tmp_path: Path, main: Main) -> None:
    keep(tmp_path / "output" / "cat", {**DONE, "outcome": "failed", "loss": "nan"})
    (entry,) = json.loads(main("runs", "list", "--json").stdout, parse_constant=pytest.fail)

    assert entry["folder"] == str(tmp_path / "output" / "cat")
    assert (entry["state"], entry["loss"], entry["steps"]) == ("failed", "nan", 6)


def test_a_list_shows_only_the_runs_that_are_asked_for(tmp_path: Path, main: Main) -> None:
    for number, state in enumerate(("done", "failed", "failed")):
        started = f"2026-01-0{number + 1}T10:00:00+00:00"
        keep(tmp_path / "output" / f"cat-{number}", {**DONE, "outcome": state}, started=started)
    keep(tmp_path / "output" / "dog")

    def names(*flags: object) -> list[str]:
        return [entry["name"] for entry in json.loads(main("runs", "list", "--json", *flags).stdout)]

    assert names("--state", "failed") == ["cat-2", "cat-1"]
    assert names("--name", "cat", "--last", 2) == ["cat-2", "cat-1"]
    wrong = main("runs", "list", "--state", "broken")
    assert "error: --state takes done or failed" in wrong.stderr
    assert "--state 'record broken'" in wrong.stderr
    nothing = main("runs", "list", "--state", "stopped")
    assert (nothing.code, nothing.stdout) == (0, "")
    assert "none of 4 runs" in nothing.stderr


def test_a_thousand_runs_are_listed_in_little_more_than_a_start(tmp_path: Path, cli: Cli) -> None:
    """The half second that is promised is measured on a quiet machine; here, as a share of this machine's start."""
    for number in range(1000):
        keep(tmp_path / "output" / f"cat-{number}")

    def seconds(*arguments: str) -> float:
        start = time.monotonic()
        assert cli(*arguments).code == 0
        return time.monotonic() - start

    cli("runs", "list")
    start = min(seconds("--version") for _ in range(3))
    assert min(seconds("runs", "list") for _ in range(3)) < 8 * start


# --- show


def test_a_run_is_shown_with_what_was_changed_what_it_made_and_how_to_go_on(tmp_path: Path, main: Main) -> None:
    stopped = {"outcome": "stopped", "steps": 3}
    dataset = {"fingerprint": "f", "folders": [{"path": "/cats", "pictures": 3, "repeats": 2}]}
    folder = keep_with_files(tmp_path / "output" / "my cat", outcome=stopped, dataset=dataset)
    write_state(folder / "my cat-step00000003-state")
    result = main("runs", "show", "my cat")

    assert result.code == 0
    for words in ("stopped", "/cats: 3 pictures, each 2 times", "max_train_steps", "my cat-step00000003.safetensors",
                  "step 3", "v0.10.1 c0ffeec0ff", "train me.py"):  # fmt: skip
        assert words in result.stdout, words
    assert "network_dim" not in result.stdout
    assert f"sdxl-train runs resume {shlex.quote(str(folder))}" in result.stderr
    assert "network_dim" in main("runs", "show", "my cat", "--all").stdout


def test_a_run_that_is_done_is_not_to_go_on(tmp_path: Path, main: Main) -> None:
    keep_with_files(tmp_path / "output" / "cat")

    assert "resume" not in main("runs", "show", "cat").stderr


def test_a_run_as_json_tells_all(tmp_path: Path, main: Main) -> None:
    folder = keep_with_files(tmp_path / "output" / "cat")
    facts = json.loads(main("runs", "show", str(folder), "--json").stdout)

    assert facts["record"]["settings"] == SETTINGS
    assert facts["outcome"]["loss"] == 0.125
    assert [one["moment"] for one in facts["checkpoints"]] == ["epoch 1", "step 3", "final"]
    assert {Path(path).name for path in facts["states"]} == {"cat-000001-state", "cat-state"}


@pytest.mark.parametrize("command", [("show",), ("diff", "cat"), ("rerun",), ("report",), ("rm", "--yes")])
def test_an_unknown_run_is_answered_with_the_nearest(tmp_path: Path, main: Main, command: tuple[str, ...]) -> None:
    keep(tmp_path / "output" / "cat")

    assert refused(main("runs", *command, "cta"), "no run 'cta'") == "did you mean cat?\n"


# --- diff


def test_two_runs_stand_side_by_side(tmp_path: Path, main: Main) -> None:
    keep(tmp_path / "output" / "a")
    settings = {**SETTINGS, "network_dim": {"value": 64, "origin": "--set"}}
    keep(tmp_path / "output" / "b", {**DONE, "loss": 0.5}, settings=settings)
    rows = [line.split() for line in main("runs", "diff", "a", "b").stdout.splitlines()]
    as_json = json.loads(main("runs", "diff", "a", "b", "--json").stdout)

    assert rows == [["a", "b"], ["setting", "network_dim", "32", "64"], ["result", "loss", "0.125", "0.5"]]
    assert as_json["differences"][0] == {"section": "setting", "name": "network_dim", "left": 32, "right": 64}


def test_runs_that_do_not_differ_say_so(tmp_path: Path, main: Main) -> None:
    keep(tmp_path / "output" / "a")
    keep(tmp_path / "output" / "b")
    result = main("runs", "diff", "a", "b")

    assert (result.stdout, result.stderr) == ("", "no recorded value differs\n")


# --- rerun


@pytest.fixture
def trained(cli: Cli, model: Path, pictures: Path, tmp_path: Path) -> Path:
    """A run of the stand-in, started in another folder than the tests work in."""
    (tmp_path / "work").mkdir()
    result = cli("lora", "--model", f"../{model.name}", "--data", f"../{pictures.name}", "--output", "../output",
                 "--name", "кот", "--steps", "4", "--set", "learning_rate=3.3e-5", "--no-vram-check",
                 cwd=tmp_path / "work")  # fmt: skip
    assert result.code == 0, result.stderr
    return result.path.parent


def test_a_run_is_made_again_from_its_record_alone(cli: Cli, trained: Path) -> None:
    result = cli("runs", "rerun", "кот")
    again = result.path.parent

    assert result.code == 0, result.stderr
    assert again == trained.with_name("кот-2")
    first, second = (json.loads((folder / "run.json").read_text(encoding="utf-8")) for folder in (trained, again))
    assert [word.replace("кот-2", "кот") for word in second["argv"]] == first["argv"]
    assert {**second, "name": "", "started": "", "argv": []} == {**first, "name": "", "started": "", "argv": []}
    differences = json.loads(cli("runs", "diff", "кот", "кот-2", "--json").stdout)["differences"]
    assert {one["section"] for one in differences} <= {"result"}


def test_a_dry_rerun_prints_the_command_line_and_writes_nothing(cli: Cli, trained: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*.json"))
    result = cli("runs", "rerun", str(trained), "--dry-run", "--name", "other")

    assert result.code == 0, result.stderr
    assert " --output_name other " in result.stdout
    assert sorted(tmp_path.rglob("*.json")) == before


def test_a_rerun_tells_that_the_pictures_have_changed(cli: Cli, trained: Path, pictures: Path) -> None:
    assert "changed" not in cli("runs", "rerun", str(trained), "--dry-run").stderr
    (pictures / "0.txt").write_text("another caption\n", encoding="utf-8")

    assert "the pictures or captions have changed since" in cli("runs", "rerun", str(trained), "--dry-run").stderr


def test_a_rerun_takes_pictures_and_model_from_where_they_were_moved_to(
    cli: Cli, trained: Path, pictures: Path, model: Path
) -> None:
    moved, base = pictures.rename(pictures.with_name("moved")), model.rename(model.with_name("moved.safetensors"))
    refused = cli("runs", "rerun", str(trained), "--dry-run")
    result = cli("runs", "rerun", str(trained), "--data", str(moved), "--model", str(base), "--epochs", "3",
                 "--batch-size", "2", "--no-vram-check", "--dry-run")  # fmt: skip

    assert (refused.code, "--data" in refused.stderr or "--model" in refused.stderr) == (4, True)
    assert result.code == 0, result.stderr
    assert f" --pretrained_model_name_or_path {base} " in result.stdout
    assert " --max_train_epochs 3 " in result.stdout
    assert " --train_batch_size 2" in result.stdout
    assert "--max_train_steps" not in result.stdout


def test_an_older_run_that_cannot_be_made_again_says_why(tmp_path: Path, main: Main) -> None:
    keep(tmp_path / "output" / "cat")

    assert "--all" in refused(main("runs", "rerun", "cat"), "does not say what was chosen")


# --- report


def test_a_report_lies_in_the_runs_folder_or_where_it_is_asked_for(tmp_path: Path, main: Main) -> None:
    folder = keep_with_files(tmp_path / "output" / "кот")
    metrics(folder, 5)
    (tmp_path / "site").mkdir()

    assert main("runs", "report", "кот").path == folder / "report.html"
    assert main("runs", "report", "кот", "--to", "x.html").path == tmp_path / "x.html"
    assert main("runs", "report", "кот", "--to", "site", "--no-hashes").path == tmp_path / "site" / "кот.html"
    assert (tmp_path / "site" / "кот.html").stat().st_size < (folder / "report.html").stat().st_size


def test_a_report_that_is_to_be_shown_is_opened(tmp_path: Path, main: Main, monkeypatch: pytest.MonkeyPatch) -> None:
    import webbrowser  # noqa: PLC0415 - the one test that replaces a part of it

    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda address: bool(opened.append(address)))
    folder = keep(tmp_path / "output" / "cat")
    result = main("runs", "report", "cat", "--open")

    assert opened == [(folder / "report.html").as_uri()]
    assert "open the file yourself" in result.stderr


# --- rm


def test_deleted_runs_are_named_with_their_size_and_then_gone(tmp_path: Path, main: Main) -> None:
    for name in ("a", "b", "c"):
        keep_with_files(tmp_path / "output" / name)
    result = main("runs", "rm", "a", "b", "a", "--yes")

    assert result.code == 0
    assert result.stdout.splitlines() == [str(tmp_path / "output" / name) for name in ("a", "b")]
    assert "kB" in result.stderr
    assert [path.name for path in (tmp_path / "output").iterdir()] == ["c"]


def test_without_anybody_to_ask_nothing_is_deleted(tmp_path: Path, cli: Cli) -> None:
    folder = keep(tmp_path / "output" / "cat")

    assert "--yes" in refused(cli("runs", "rm", "cat"), "there is no terminal to ask for confirmation")
    assert folder.exists()


@pytest.mark.parametrize(("answer", "stays"), [(True, False), (False, True)])
def test_the_answer_counts(
    tmp_path: Path, main: Main, monkeypatch: pytest.MonkeyPatch, answer: bool, stays: bool
) -> None:
    folder = keep(tmp_path / "output" / "cat")
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.confirm", lambda *_args, **_more: answer)
    main("runs", "rm", "cat")

    assert folder.exists() is stays


def test_where_one_run_may_not_be_deleted_none_is_and_every_reason_is_told(tmp_path: Path, main: Main) -> None:
    keep(tmp_path / "output" / "a")
    keep(tmp_path / "output" / "now", None, supervisor=US)
    result = main("runs", "rm", "a", "now", "gone", "--yes")

    assert result.code == 2
    assert "now is running" in result.stderr
    assert "no run 'gone'" in result.stderr
    assert (tmp_path / "output" / "a").exists()


# --- tensorboard


def test_an_environment_without_tensorboard_says_what_else_there_is(tmp_path: Path, main: Main) -> None:
    keep(tmp_path / "output" / "cat")

    assert "runs report" in refused(main("runs", "tensorboard", "cat"), "has no TensorBoard", 5)


TENSORBOARD = """
import sys, time
print("NOTE: Using experimental fast data loading logic at http://nowhere", file=sys.stderr)
print("TensorBoard 2.20.0 at http://localhost:6006/ (Press CTRL+C to quit)", sys.argv[1:], file=sys.stderr, flush=True)
time.sleep(float(%r))
sys.exit("the port is taken")
"""


def with_tensorboard(tmp_path: Path, installed: Environment, seconds: float) -> Path:
    """A home whose Python has a tensorboard of ours."""
    home, name = tmp_path / "tb-home", "20260102-030405-abcd"
    folder = home / "environments" / name
    (folder / "sd-scripts" / "library").mkdir(parents=True)
    for script in ("sdxl_train.py", "sdxl_train_network.py"):
        (folder / "sd-scripts" / script).touch()
    (folder / "sd-scripts" / "networks").mkdir()
    (folder / "sd-scripts" / "networks" / "lora.py").touch()
    (folder / "venv" / "bin").mkdir(parents=True)
    (folder / "venv" / "bin" / "python").write_text(
        f'#!/bin/sh\ncd {shlex.quote(str(tmp_path / "site"))} && exec {shlex.quote(sys.executable)} "$@"\n',
        encoding="utf-8",
    )
    (folder / "venv" / "bin" / "python").chmod(0o755)
    (tmp_path / "site" / "tensorboard").mkdir(parents=True)
    (tmp_path / "site" / "tensorboard" / "__init__.py").touch()
    (tmp_path / "site" / "tensorboard" / "main.py").write_text(TENSORBOARD % seconds, encoding="utf-8")
    (folder / "options.json").write_bytes((installed.folder / "options.json").read_bytes())
    lock = json.loads((installed.folder / "lock.json").read_text(encoding="utf-8"))
    write_json(folder / "lock.json", {**lock, "packages": {"tensorboard": "2.20.0"}})
    (home / "current").write_text(name, encoding="utf-8")
    return home


@only_posix
def test_tensorboard_gives_its_address_and_ends_with_ctrl_c(tmp_path: Path, cli: Cli, installed: Environment) -> None:
    folder = keep(tmp_path / "output" / "cat")
    (folder / "logs").mkdir()
    home = with_tensorboard(tmp_path, installed, PATIENCE_SECONDS)
    with cli.start("runs", "tensorboard", "cat", "--home", home) as running:
        until(lambda: "http" in running._stdout.read_text() or running.process.poll() is not None)  # noqa: SLF001
        running.send(signal.SIGINT)
        result = running.end()

    assert (result.code, result.stdout) == (0, "http://localhost:6006/\n"), result.stderr
    assert f"TensorBoard reads {folder / 'logs'}" in result.stderr


@only_posix
def test_tensorboard_that_ends_by_itself_says_why(tmp_path: Path, cli: Cli, installed: Environment) -> None:
    (tmp_path / "output").mkdir()
    result = cli("runs", "tensorboard", "--home", with_tensorboard(tmp_path, installed, 0))

    assert result.code == 7
    assert "the port is taken" in result.stderr
    assert "Traceback" not in result.stderr


@only_posix
def test_a_run_without_logs_is_told(tmp_path: Path, cli: Cli, installed: Environment) -> None:
    keep(tmp_path / "output" / "cat")
    home = with_tensorboard(tmp_path, installed, 0)

    refused(cli("runs", "tensorboard", "cat", "--home", home), "there are no logs")


def test_what_was_found_in_a_result_is_shown_in_a_line(tmp_path: Path, main: Main) -> None:
    examined = [{"file": "cat.safetensors", "step": 6, "summary": "learned: 722 of 722 U-Net modules changed"}]
    keep(tmp_path / "output" / "cat", {**DONE, "examined": examined})

    shown = main("runs", "show", "cat").stdout
    assert "found in cat.safetensors" in shown
    assert "learned: 722 of 722 U-Net modules changed" in shown
    (listed,) = json.loads(main("runs", "list", "--json").stdout)
    assert listed["found"] == "learned: 722 of 722 U-Net modules changed"


def test_each_way_out_of_a_failed_run_has_a_line_of_its_own(tmp_path: Path, main: Main) -> None:
    failed = {"outcome": "failed", "cause": "nothing was learned", "remedy": "look at its rate\nthe file is kept: /a"}
    (keep(tmp_path / "output" / "cat", failed) / "train.log").write_text("INFO model saved.\n", encoding="utf-8")

    told = main("runs", "explain", "cat").stdout.splitlines()
    assert told[:3] == ["cause:   nothing was learned", "remedy:  look at its rate", "         the file is kept: /a"]
