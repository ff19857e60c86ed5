"""Only what setup made is ever removed: what proves it, and what does not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sdxl_train_cli import process
from sdxl_train_cli.environment import building, environment, ownership
from sdxl_train_cli.environment.environment import SetupRequest
from sdxl_train_cli.errors import SetupError
from sdxl_train_cli.layout import Home

NAME = "20260102-030405-abcd"


def told(_line: str) -> None:
    """Nobody waits."""


@pytest.fixture
def place(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def request_(repository: Path) -> SetupRequest:
    return SetupRequest(source=str(repository))


@pytest.fixture
def older(place: Home, home: Path) -> Home:
    """A home as a release without markers made it."""
    shutil.copytree(home, place.path, symlinks=True)
    place.marker.unlink()
    (environment.require(place).folder / ownership.MARKER).unlink()
    return place


FOREIGN = {
    "a project": ["pictures/1.png"],
    "environments of another program": ["environments/prod/main.tf"],
    "a file in environments": ["environments/list.txt"],
    "a folder named as ours": [f"environments/{NAME}/thesis.tex"],
    "a half-made one and a file": [f"environments/{NAME}/venv/pyvenv.cfg", "notes.txt"],
    "our names and one more": ["setup.log", "thesis.tex"],
}


def _file(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("mine", encoding="utf-8")


def everything(folder: Path) -> dict[str, bytes | None]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_folder_of_somebody_elses_is_refused_and_left_as_it_is(
    place: Home, request_: SetupRequest, kind: str
) -> None:
    """Once, `setup --home .` removed what stood in `environments`, without a word."""
    for name in FOREIGN[kind]:
        _file(place.path / name)
    before = everything(place.path)

    with pytest.raises(SetupError, match="holds other files and is not an sdxl-train home") as raised:
        building.create(place, request_, recreate=False, report=told)

    assert raised.value.problems[0].hint == "give --home a new or an empty folder"
    assert everything(place.path) == before


def test_in_a_home_of_ours_what_setup_did_not_make_stays(place: Home, request_: SetupRequest, tmp_path: Path) -> None:
    building.create(place, request_, recreate=False, report=told)
    for name in ("prod/main.tf", "list.txt", f"{NAME}/thesis.tex"):
        _file(place.environments / name)
    _file(tmp_path / "elsewhere" / ownership.MARKER)
    (place.environments / "20260102-030405-abce").symlink_to(tmp_path / "elsewhere")
    _file(place.environments / "marked" / ownership.MARKER)

    made = building.create(place, request_, recreate=True, report=told)

    assert sorted(path.name for path in place.environments.iterdir()) == sorted(
        ["prod", "list.txt", NAME, "20260102-030405-abce", "marked", made.folder.name]
    )
    assert (tmp_path / "elsewhere" / ownership.MARKER).is_file()


def test_a_home_that_an_earlier_release_made_is_known_and_marked(older: Home, request_: SetupRequest) -> None:
    first = environment.require(older)
    _file(older.path / "notes.txt")
    _file(older.environments / NAME / "venv" / "pyvenv.cfg")  # of a setup that was killed

    again = building.create(older, first.lock.request, recreate=False, report=told)
    assert again == first
    assert list(older.environments.iterdir()) == [first.folder]

    building.create(older, request_, recreate=True, report=told)
    assert not first.folder.exists()
    assert (older.path / "notes.txt").is_file()


@pytest.mark.parametrize("left", ["tokenizers/openai/vocab.json", "setup.log", "measurements.jsonl", "setup.lock"])
def test_a_home_that_holds_only_what_we_put_there_is_ours(place: Home, request_: SetupRequest, left: str) -> None:
    """The tokenizers may be brought in before the first setup, and a setup without network leaves its log."""
    _file(place.path / left)

    assert building.create(place, request_, recreate=False, report=told)
    assert (place.path / left).exists()


def test_what_a_removal_leaves_that_is_cut_off_counts_no_more_and_is_removed_by_the_next_setup(
    place: Home, request_: SetupRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = building.create(place, request_, recreate=False, report=told)

    def cut_off(_folder: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", cut_off)
        with pytest.raises(KeyboardInterrupt):
            building.create(place, request_, recreate=True, report=told)
    second = environment.require(place)
    place.current.unlink()

    assert second != first
    assert environment.newest(place) == second
    building.create(place, request_, recreate=False, report=told)
    assert list(place.environments.iterdir()) == [second.folder]


def test_a_signal_just_after_the_new_one_counts_does_not_take_it_away(
    place: Home, request_: SetupRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    building.create(place, request_, recreate=False, report=told)
    write = building.files.write

    def write_and_stop(path: Path, text: str) -> None:
        write(path, text)
        if path == place.current:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(building.files, "write", write_and_stop)
        with pytest.raises(KeyboardInterrupt):
            building.create(place, request_, recreate=True, report=told)

    assert environment.find(place) is not None


@pytest.mark.skipif(process.WINDOWS, reason="Windows lets few people make links")
def test_environments_may_lie_on_another_disk_behind_a_link(
    place: Home, request_: SetupRequest, tmp_path: Path
) -> None:
    (tmp_path / "disk").mkdir()
    place.path.mkdir()
    place.environments.symlink_to(tmp_path / "disk")

    building.create(place, request_, recreate=False, report=told)
    made = building.create(place, request_, recreate=True, report=told)

    assert [path.name for path in (tmp_path / "disk").iterdir()] == [made.folder.name]
