"""The judges of `scripts/attack.py` see what they are there for."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from patience import until

from sdxl_train_cli import process

if process.WINDOWS:
    pytest.skip("forks, and sends POSIX signals", allow_module_level=True)

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))

from attacks import judge, kills, owners, scene, world
from attacks.tally import Problem
from attacks.world import World


@pytest.fixture
def made(tmp_path: Path) -> World:
    """As much of a world as an attack looks at before it calls the command."""
    found = World(tmp_path / "world")
    world.write_pictures(found.pictures)
    found.run.mkdir(parents=True)
    (found.run / "run.json").write_text('{"inputs": {}}', encoding="utf-8")
    return found


Attack = Callable[[World, Path], Iterator[Problem]]


@pytest.mark.parametrize(
    ("attack", "theirs"),
    [
        (owners.rm_of_mine, "fake/diary.txt"),
        (owners.rm_of_mine, "photos/wedding.raw"),
        (owners.states_of_mine, "mine/novel.txt"),
        (owners.states_of_mine, "output/cat/linked-state"),
        (owners.forged_journal, "mine/novel.txt"),
        (owners.forged_journal, "data/1.png"),
    ],
)
def test_a_command_that_takes_a_persons_file_is_found_out(
    attack: Attack, theirs: str, made: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "person"
    world.write_mine(folder)

    def call(_made: World, _folder: Path, *argv: object, **_environ: str) -> tuple[None, list[Problem]]:
        (folder / "new").mkdir(exist_ok=True)
        if argv[0] == "runs" or not (folder / "data" / "0.png").exists():
            (folder / theirs).unlink(missing_ok=True)
        return None, []

    monkeypatch.setattr(scene, "call", call)

    assert any(problem.words.endswith(theirs) for problem in attack(made, folder))


def test_a_process_is_found_by_its_current_folder(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], cwd=tmp_path) as child:
        found = until(lambda: kills.is_of(psutil.Process(child.pid), str(tmp_path)))
        child.kill()

    assert found


@pytest.mark.parametrize(
    "char", ["\x1b", "\x9b", "\u061c", "\u200f", "\u2028", "\u202e", "\u2069", "\ud800", "\ufeff", "\U000e0063"]
)
def test_what_a_terminal_obeys_or_nobody_sees_is_found(char: str) -> None:
    assert judge.control_characters(f"a cat{char}")


def test_text_and_emoji_are_no_control_characters() -> None:
    assert not judge.control_characters("a\tb \u00e9 \u0436 \u732b \U0001f469\u200d\U0001f467\n")
