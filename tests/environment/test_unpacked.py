"""sd-scripts as plain files, without git."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from conftest import Cli, git
from test_upstream import refusal

from sdxl_train_cli.environment import unpacked, upstream
from sdxl_train_cli.environment.unpacked import Checkout


@pytest.fixture
def archive(repository: Path, tmp_path: Path) -> Path:
    """An unpacked archive of a release, as a web page gives it."""
    folder = tmp_path / "sd-scripts-0.10.1"
    packed = tmp_path / "release.zip"
    git(repository, "archive", "--output", str(packed), "HEAD")
    shutil.unpack_archive(packed, folder)
    (folder / "picture.png").write_bytes(b"not needed")
    return folder


def test_an_unpacked_archive_is_taken_without_git_and_named_after_its_folder(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")

    made = upstream.create(tmp_path / "checkout", str(archive), "sdxl")

    assert made.ref == "sd-scripts-0.10.1"
    assert len(made.commit) == 40
    assert (tmp_path / "checkout" / "sdxl_train_network.py").is_file()
    assert not (tmp_path / "checkout" / "picture.png").exists()


def test_other_files_have_another_hash_and_the_same_have_the_same(archive: Path, tmp_path: Path) -> None:
    first = upstream.create(tmp_path / "first", str(archive), "sdxl")
    again = upstream.create(tmp_path / "again", str(archive), "sdxl")
    (archive / "sdxl_train.py").write_text("# changed\n", encoding="utf-8")

    assert first.commit == again.commit
    assert upstream.create(tmp_path / "changed", str(archive), "sdxl").commit != first.commit


def test_written_files_keep_the_commit_that_they_are_of(repository: Path, tmp_path: Path) -> None:
    cloned = upstream.create(tmp_path / "cloned", str(repository), "sdxl")
    unpacked.write(cloned, tmp_path / "carried")

    made = upstream.create(tmp_path / "checkout", str(tmp_path / "carried"), "v0.10.1")

    assert made == Checkout(tmp_path / "checkout", "v0.10.1", git(repository, "rev-parse", "HEAD"))


def test_another_release_than_the_one_that_is_wanted_is_refused(archive: Path, tmp_path: Path) -> None:
    error = refusal(tmp_path / "checkout", archive, "v0.11.1")

    assert str(error) == f"{archive} holds sd-scripts-0.10.1, not v0.11.1"


def test_a_folder_that_lacks_a_part_is_refused(archive: Path, tmp_path: Path) -> None:
    (archive / "sdxl_train.py").unlink()

    assert "it has no sdxl_train.py" in str(refusal(tmp_path / "checkout", archive))


def test_setup_takes_what_lies_in_the_folder_of_wheels(archive: Path, fresh: Cli, tmp_path: Path) -> None:
    (tmp_path / "carried").mkdir()
    archive.rename(tmp_path / "carried" / "sd-scripts")

    first = fresh("setup", "--wheels", str(tmp_path / "carried"))
    again = fresh("setup", "--wheels", str(tmp_path / "carried"))

    assert first.code == again.code == 0, first.stderr + again.stderr
    assert f"fetching the newest known release from {tmp_path / 'carried' / 'sd-scripts'}" in first.stderr
    assert "fetching" not in again.stderr
