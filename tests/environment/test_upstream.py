"""sd-scripts at one commit, from real repositories on disk."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import git
from standin.build import DEAD_WEIGHT, make_repository

from sdxl_train_cli.environment import upstream
from sdxl_train_cli.errors import SetupError
from sdxl_train_cli.sdscripts import known_releases


def refusal(folder: Path, source: Path | str, ref: str | None = None) -> SetupError:
    with pytest.raises(SetupError) as raised:
        upstream.create(folder, str(source), ref)
    assert raised.value.exit_code == 5
    assert len(raised.value.problems) == 1
    assert "\n" not in str(raised.value)
    return raised.value


@pytest.fixture
def into(tmp_path: Path) -> Path:
    return tmp_path / "checkout"


@pytest.mark.parametrize("ref", [None, "sdxl"])
def test_the_newest_known_release_that_the_source_has_is_taken(into: Path, repository: Path, ref: str | None) -> None:
    made = upstream.create(into, str(repository), ref)

    assert made.ref == "v0.10.1"
    assert made.commit == git(repository, "rev-parse", "HEAD")
    assert (into / "sdxl_train_network.py").is_file()


def test_a_branch_sdxl_is_taken_only_by_its_name(into: Path, tmp_path: Path) -> None:
    source = make_repository(tmp_path / "fork", branch="sdxl", tags=("v0.10.1",))

    assert upstream.create(into, str(source), "sdxl").ref == "sdxl"
    assert upstream.create(tmp_path / "other", str(source), None).ref == "v0.10.1"


def test_a_known_release_is_known_by_its_commit_whatever_the_tags_say(
    into: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_repository(tmp_path / "fork", tags=("v0.10.1",))
    commit = git(source, "rev-parse", "HEAD")
    git(source, "commit", "-q", "--allow-empty", "-m", "later")
    git(source, "tag", "v0.11.1")
    newest, *older = known_releases.load()
    renamed = (replace(newest, commit=commit), *older)
    monkeypatch.setattr(known_releases, "load", lambda: renamed)

    made = upstream.create(into, str(source), None)

    assert (made.ref, made.commit) == ("v0.11.1", commit)


@pytest.mark.parametrize("ref", ["v0.10.1", "main", "HEAD"])
def test_a_tag_a_branch_or_a_commit_is_taken_by_its_name(into: Path, repository: Path, ref: str) -> None:
    made = upstream.create(into, str(repository), ref)

    assert (made.ref, made.commit) == (ref, git(repository, "rev-parse", "HEAD"))


def test_a_commit_is_taken_by_its_hash(into: Path, repository: Path) -> None:
    commit = git(repository, "rev-parse", "HEAD")

    assert upstream.create(into, str(repository), commit[:12]).commit == commit


def test_a_branch_goes_before_a_tag_of_its_name(into: Path, tmp_path: Path) -> None:
    source = make_repository(tmp_path / "fork", branch="sdxl", tags=("sdxl",))
    git(source, "checkout", "-q", "sdxl")
    git(source, "commit", "-q", "--allow-empty", "-m", "newer")

    assert upstream.create(into, str(source), "sdxl").commit == git(source, "rev-parse", "refs/heads/sdxl")


@pytest.mark.parametrize("as_address", [False, True], ids=["path", "address"])
def test_files_that_the_trainer_needs_not_may_be_missing_in_the_source(
    into: Path, tmp_path: Path, as_address: bool
) -> None:
    source = make_repository(tmp_path / "partial", missing_blobs=True)

    upstream.create(into, source.as_uri() if as_address else str(source), "sdxl")

    assert (into / "requirements.txt").is_file()
    assert not any((into / name).exists() for name in DEAD_WEIGHT)


def test_a_source_in_an_oddly_named_folder_is_taken(into: Path, tmp_path: Path) -> None:
    source = make_repository(tmp_path / "мой [клон] it's")

    assert upstream.create(into, str(source), "sdxl").ref == "v0.10.1"


def test_a_source_is_the_same_from_every_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("USERPROFILE" if os.name == "nt" else "HOME", str(tmp_path / "user"))

    assert upstream.resolve_source("clone") == str(tmp_path / "clone")
    assert upstream.resolve_source("~/clone") == str(tmp_path / "user" / "clone")
    assert upstream.resolve_source(upstream.DEFAULT_SOURCE) == upstream.DEFAULT_SOURCE
    assert upstream.resolve_source("git@github.com:kohya-ss/sd-scripts") == "git@github.com:kohya-ss/sd-scripts"


@pytest.mark.parametrize(
    "address",
    ["https://me:SEC#RET@host/x", "https://me:SEC/RET@host/x", "https://me:SEC?RET@host/x", "https://SEC/RET@host/x",
     "https://me:SEC@RET/SECRET@host/x", "ssh://git:SEC#RET@host/x"],
)  # fmt: skip
def test_an_address_whose_password_would_not_be_found_is_refused(into: Path, address: str) -> None:
    error = refusal(into, address)

    assert "SEC" not in str(error)
    assert "# as %23" in (error.problems[0].hint or "")


@pytest.mark.parametrize(
    "address",
    ["https://me:SEC%23RET@host/x", "https://TOKEN@host:8443/x", "https://oauth2:TO@KEN@host/x", "ssh://git@host/x",
     "git@host:a/b", "file:///srv/a@b", "/srv/a@b", "https://host/x%40v1"],
)  # fmt: skip
def test_an_address_whose_password_is_found_is_taken(address: str) -> None:
    assert upstream.resolve_source(address) == address


def test_a_folder_that_is_not_there_is_told(into: Path, tmp_path: Path) -> None:
    error = refusal(into, tmp_path / "nowhere")

    assert str(error) == f"no folder {tmp_path / 'nowhere'} to take sd-scripts from"
    assert not into.exists()


def test_a_folder_that_is_no_repository_is_told(into: Path, tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()

    assert "git repository" in str(refusal(into, tmp_path / "plain"))


def test_a_file_that_is_no_repository_is_told(into: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text", encoding="utf-8")

    refusal(into, tmp_path / "file")


def test_a_repository_without_the_scripts_is_told(into: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "-q", "-b", "main")
    (other / "sdxl_train.py").touch()
    git(other, "add", "-A")
    git(other, "commit", "-q", "-m", "something else")

    error = refusal(into, other, "main")

    assert "it has no sdxl_train_network.py and no requirements.txt" in str(error)


def test_an_empty_repository_is_told(into: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    git(tmp_path / "empty", "init", "-q")

    assert "has none of the releases known here (v0.11.1 or v0.10.1)" in str(refusal(into, tmp_path / "empty"))


@pytest.mark.parametrize("ref", ["v9", "--all", "a b", "", "^", "0" * 40])
def test_an_unknown_ref_is_told_with_what_there_is(into: Path, tmp_path: Path, ref: str) -> None:
    source = make_repository(tmp_path / "fork", tags=("v0.9.1", "v0.10.1", "v0.10.0"))

    error = refusal(into, source, ref)

    assert str(error) == f"{source} has no branch, tag or commit '{ref}'"
    assert error.problems[0].hint == "its newest tags: v0.10.1, v0.10.0, v0.9.1"


def test_an_address_that_does_not_answer_is_told(into: Path) -> None:
    error = refusal(into, "http://127.0.0.1:9/sd-scripts")

    assert str(error) == "http://127.0.0.1:9/sd-scripts can't be reached"
    assert "--source" in str(error.problems[0].hint)


def test_an_address_on_disk_that_is_not_there_is_told(into: Path, tmp_path: Path) -> None:
    assert "git repository" in str(refusal(into, (tmp_path / "nowhere").as_uri()))


def test_a_checkout_that_cannot_be_written_is_told(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    refusal(tmp_path / "file" / "checkout", repository)
