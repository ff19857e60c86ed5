"""Text that was written to hurt: whatever is read, each command ends in words, soon, and moves no terminal."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Result, write_safetensors
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sdxl_train_cli import visible
from sdxl_train_cli.errors import SdxlTrainError
from sdxl_train_cli.failures import diagnosis, log
from sdxl_train_cli.importers import format_detection
from sdxl_train_cli.recipes import yaml_file

EXAMPLES = int(os.environ.get("SDXL_TRAIN_EXAMPLES", "40"))
SECONDS = 10.0
"""Far more than a linear reader takes on a busy machine, and far less than a quadratic one."""
HOSTILE = (
    "\x1b[31m", "\x1b]0;title\x07", "\x9b2J", "\u202eabc", "\x7f\r\x08", "a\nerror: fake", "\u2028", "[bold]",
    "a" * 300, "9" * 400, "9" * 5000, "nan", "1e999", "..", "~", "/dev/null", "--", "", "=", "null", "é" * 200,
)  # fmt: skip
odd = st.lists(st.sampled_from(HOSTILE) | st.text(max_size=5), min_size=1, max_size=3).map("".join)


def in_words(result: Result) -> bool:
    """Whether a command has ended as one of ours does."""
    printed = result.stdout + result.stderr
    is_clean = visible.lines(printed) == printed and "error: fake" not in printed.split("\n")
    return is_clean and "Traceback" not in printed and result.code in {0, 2, 3, 4, 5, 6, 7}


def preset(parts: list[str]) -> str:
    quoted = [json.dumps(part) for part in parts]
    return f"extends: dim32-gc\ndescription: {quoted[0]}\n{quoted[1]}: {quoted[2]}\nnetwork_args: [{quoted[3]}]\n"


def kohya(parts: list[str]) -> str:
    names = ("optimizer", "learning_rate", "max_train_steps", parts[3])
    return json.dumps({"LoRA_type": "Standard", "sdxl": True, **dict(zip(names, parts, strict=True))})


def toml(parts: list[str]) -> str:
    names = ("learning_rate", "network_module", "max_train_steps", json.dumps(parts[3]))
    return "".join(f"{name} = {json.dumps(part)}\n" for name, part in zip(names, parts, strict=True))


def record(parts: list[str]) -> str:
    return json.dumps({"name": parts[0], "kind": parts[1], "preset": parts[2], "argv": [parts[3]]})


def traceback(parts: list[str]) -> str:
    frame = f'  File "{parts[0]}", line 3, in x'
    return f"Traceback (most recent call last):\n{frame}\n{parts[1]}Error: {parts[2]}\n{parts[3]}"


CALLS: dict[str, tuple[str, Callable[[list[str]], str], tuple[str, ...]]] = {
    "check": ("odd.yaml", preset, ("presets", "check")),
    "show": ("odd.yaml", preset, ("presets", "show")),
    "show as JSON": ("odd.yaml", preset, ("presets", "show", "--json")),
    "diff": ("odd.yaml", preset, ("presets", "diff", "dim32-gc")),
    "export": ("odd.yaml", preset, ("presets", "export", "--to", "command")),
    "import JSON": ("odd.json", kohya, ("presets", "import", "--force", "--to", "made")),
    "import TOML": ("odd.toml", toml, ("presets", "import", "--force", "--to", "made")),
    "dry run": ("odd.yaml", preset, ("lora", "--dry-run", "--no-vram-check", "--data", "pictures", "--preset")),
    "project": ("sdxl-train.yaml", toml, ("presets", "check")),
    "run": ("run/run.json", record, ("runs", "list", "--output", ".", "--json", "-o")),
    "explain": ("odd.log", traceback, ("runs", "explain")),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_no_file_makes_a_command_fall_over_or_move_the_terminal(
    main: Callable[..., Result],
    pictures: Path,
    tmp_path: Path,
    call: tuple[str, Callable[[list[str]], str], tuple[str, ...]],
) -> None:
    assert pictures.is_dir()
    name, made, line = call
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)

    @settings(max_examples=EXAMPLES // 4, suppress_health_check=list(HealthCheck))
    @given(st.lists(odd, min_size=4, max_size=4))
    @example(list(HOSTILE[:4]))
    @example(["learning_rate", "\x1b[2J", "\x1b[2J", "a\nerror: fake"])
    def try_it(parts: list[str]) -> None:
        path.write_bytes(made(parts).encode("utf-8", "surrogatepass"))
        result = main(*line, path)
        assert in_words(result), (result.code, result.stdout, result.stderr)

    try_it()


@pytest.mark.parametrize(
    "flag", ["--preset", "--model", "--data", "--vae", "--reg", "--output", "--name", "--trigger", "--batch-size",
             "--steps", "--repeats", "--resolution", "--seed", "--set", "--gpu", "--gpu-memory", "--no-guard"],
)  # fmt: skip
def test_nothing_that_is_typed_makes_a_run_fall_over_or_move_the_terminal(
    main: Callable[..., Result], model: Path, pictures: Path, flag: str
) -> None:
    @settings(max_examples=EXAMPLES // 4, suppress_health_check=list(HealthCheck))
    @given(odd)
    @example("a" * 300)
    @example("nul\0byte")
    @example("\ud800")
    @example("9" * 400)
    @example("x\x1b[2J\nerror: fake")
    def try_it(typed: str) -> None:
        text = f"train_batch_size={typed}" if flag == "--set" else typed
        result = main("lora", "--dry-run", "--no-vram-check", "--model", model, "--data", pictures, flag, text)
        assert in_words(result), (result.code, result.stdout, result.stderr)

    try_it()


@pytest.mark.parametrize("command", [("presets", "check"), ("presets", "show"), ("presets", "export", "--to", "toml"),
                                     ("presets", "import"), ("runs", "explain")])  # fmt: skip
@pytest.mark.parametrize("name", ["a" * 300, "nul\0byte", "\ud800", "x\x1b[2J"])
def test_a_name_that_no_file_can_have_is_told_in_words(
    main: Callable[..., Result], command: tuple[str, ...], name: str
) -> None:
    result = main(*command, name)

    assert in_words(result)
    assert result.code in {2, 3}


@pytest.mark.parametrize("name", ["a" * 300, "nul\0byte", "\ud800"])
def test_a_model_and_a_vae_of_such_a_name_are_not_there(main: Callable[..., Result], pictures: Path, name: str) -> None:
    line = ("lora", "--dry-run", "--no-vram-check", "--data", pictures)

    assert main(*line, "--model", f"/{name}.safetensors").code == 4
    assert (
        main(*line, "--model", write_safetensors(pictures.parent / "base.safetensors"), "--vae", f"/{name}.pt").code
        == 4
    )


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("command", [("presets", "check"), ("presets", "import")])
def test_a_pipe_that_nobody_writes_to_is_refused(
    main: Callable[..., Result], tmp_path: Path, command: tuple[str, ...]
) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")

    assert "not a plain file" in main(*command, tmp_path / "pipe.yaml").stderr


SETTINGS = {
    "a key twice among 20,000": "{" + "".join(f'"k{n}": 1, ' for n in range(20_000)) + '"k19999": 2}',
    "50,000 keys": json.dumps({"LoRA_type": "Standard", "sdxl": True, **{f"k{n}": n for n in range(50_000)}}),
    "a number of 500,000 digits": '{"LoRA_type": "Standard", "max_train_steps": ' + "9" * 500_000 + "}",
    "deep JSON": '{"a":' * 100_000,
    "60,000 keys of TOML": "learning_rate = 1\n" + "".join(f"k{n} = 1\n" for n in range(60_000)),
    "deep TOML": "a=" + "[" * 100_000,
    "50,000 blanks": "python sdxl_train_network.py" + " " * 50_000 + "--seed 1",
    "blank lines": (" " * 50_000 + "\n") * 4 + "python sdxl_train_network.py --seed 1",
    "an assignment of blanks": "A=" + " " * 200_000 + "x\nsdxl_train_network.py --seed $A",
    "100,000 lines of options": "sdxl_train_network.py\n" + "--a 1\n" * 100_000,
    "30,000 calls": "sdxl_train_network.py --seed 1\n" * 30_000,
    "a word of scripts": "train_" * 150_000 + "\nsdxl_train.py",
}


@pytest.mark.parametrize("text", SETTINGS.values(), ids=SETTINGS)
def test_settings_of_any_shape_are_read_or_refused_soon(text: str) -> None:
    began = time.process_time()
    try:
        reading = format_detection.read_text(text, "odd")
    except SdxlTrainError:
        pass
    else:
        assert len(reading.entries) < 10_000

    assert time.process_time() - began < SECONDS


@pytest.mark.parametrize(
    "part", ["a: 1\n", "a: [1, 1]\n", "- ", "[", "{", "? ", "&a *a ", "#\n", "'", "a" * 50 + ": x\n"]
)
def test_a_preset_of_any_shape_is_read_or_refused_soon(part: str) -> None:
    began = time.process_time()
    with contextlib.suppress(SdxlTrainError):
        yaml_file.parse(part * (yaml_file.SIZE_LIMIT_BYTES // len(part)), "odd")

    assert time.process_time() - began < SECONDS


def test_10_000_unknown_options_are_told_soon_and_in_part(main: Callable[..., Result], tmp_path: Path) -> None:
    path = tmp_path / "odd.yaml"
    path.write_text("extends: dim32-gc\n" + "".join(f"k{n:04}: 1\n" for n in range(10_000)), encoding="utf-8")
    began = time.process_time()

    result = main("presets", "check", "--kind", "lora", path)

    assert result.code == 3
    assert result.stderr.splitlines()[-1] == "and 9,950 more"
    assert time.process_time() - began < 2 * SECONDS


LOGS = {
    "hex": "f0", "blanks": " ", "digits": "9", "bars": "1%|", "commands": "Command '[", "errors": "ErrorError",
    "dots": "Error.", "stamps": "10:10:10 ", "frames": 'File "a", line 1, in ', "counts": "1it [1, ", "boxes": "│ in a",
    "marks": "> * ", "arguments": ": error: argument ", "letters": "x", "escapes": "\x1b[", "titles": "\x1b]",
}  # fmt: skip


@pytest.mark.parametrize("unit", LOGS.values(), ids=LOGS)
@pytest.mark.parametrize("length", [1, 400, 20_000, 400_000], ids="units of {}".format)
def test_a_log_of_any_shape_is_explained_soon(unit: str, length: int) -> None:
    text = (unit * length + "\n") * (400_000 // length)
    began = time.process_time()

    diagnosis.examine(log.decode(text[:400_000].encode()))

    assert time.process_time() - began < SECONDS
