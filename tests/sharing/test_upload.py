"""An upload arrives whole, replaces a share whole, and every failure is one line with a hint and without the token."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import fake_hub
import pytest
import shared_runs
from conftest import Result
from fake_hub import TOKEN, FakeHub

from sdxl_train_cli.environment import environment
from sdxl_train_cli.environment.environment import INSIDE, Environment
from sdxl_train_cli.errors import SetupError, UsageError
from sdxl_train_cli.sharing import delivery, share_plan, subject
from sdxl_train_cli.sharing import hub as upload_to
from sdxl_train_cli.sharing.hub import Uploaded
from sdxl_train_cli.sharing.share_plan import ShareChoices

Main = Callable[..., Result]


@dataclass(frozen=True)
class OwnPython:
    """In place of a training environment: this Python has huggingface_hub too."""

    python: Path


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    with fake_hub.running() as found:
        monkeypatch.setenv("HF_ENDPOINT", found.address)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return share(tmp_path, "one")


def share(tmp_path: Path, name: str, **choices: object) -> Path:
    run = tmp_path / "output" / "cat"
    if not run.exists():
        shared_runs.keep(run)
    planned = share_plan.plan(subject.find(str(run), run.parent, None), ShareChoices(**choices))  # type: ignore[arg-type]
    delivery.write(planned, tmp_path / name)
    return tmp_path / name


def upload(folder: Path, repo: str | None = "me/cat", *, private: bool = False) -> Uploaded:

    installed = cast("Environment", OwnPython(Path(sys.executable)))
    return upload_to.upload(installed, folder, "cat", repo, private=private)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_everything_arrives_byte_for_byte(hub: FakeHub, folder: Path) -> None:
    made = upload(folder, private=True)

    assert made == Uploaded("me/cat", f"{hub.address}/me/cat", "abc123")
    assert hub.private == {"me/cat": True}
    assert {name: found for name, found in hub.repos["me/cat"].items() if name != ".gitattributes"} == contents(folder)
    assert hub.commits == ["Share cat"]


def test_a_share_on_the_hub_is_replaced_whole_in_one_commit(hub: FakeHub, folder: Path, tmp_path: Path) -> None:
    upload(folder)
    smaller = share(tmp_path, "two", previews=())
    upload(smaller, "cat")

    assert {name: found for name, found in hub.repos["me/cat"].items() if name != ".gitattributes"} == contents(smaller)
    assert hub.commits == ["Share cat", "Share cat"]


def test_without_a_repo_it_is_the_token_owners_own_called_like_the_file(hub: FakeHub, folder: Path) -> None:
    assert upload(folder, None).repo == "me/cat"
    assert set(hub.repos) == {"me/cat"}


def test_a_repository_of_other_files_is_left_alone(hub: FakeHub, folder: Path) -> None:
    hub.repos["me/cat"] = {"model.bin": b"mine"}

    with pytest.raises(UsageError, match="not of a share"):
        upload(folder)
    assert hub.repos["me/cat"] == {"model.bin": b"mine"}


@pytest.mark.parametrize(
    ("at", "status", "message", "words"),
    [
        (
            "/api/repos/create",
            403,
            f"You don't have the rights to create a model for {TOKEN}",
            "may not write to me/cat",
        ),
        ("/preupload/", 403, "Forbidden", "may not write to me/cat"),
        ("/commit/", 403, "Forbidden: pass create_pr=1", "may not write to me/cat"),
        ("/commit/", 409, "Conflict", "is being changed by somebody else"),
        ("/commit/", 412, "A commit has happened since", "is being changed by somebody else"),
        ("/lfs/objects/batch", 403, "Private repository storage limit reached", "no room left"),
        ("/preupload/", 413, "Payload Too Large", "no room left"),
        ("/api/repos/create", 0, "", "connection to the hub was lost"),
        ("/lfs/objects/batch", 0, "", "connection to the hub was lost"),
        ("/api/repos/create", 500, "Internal", "trouble of its own"),
        ("/commit/", 422, "Unprocessable", "the upload failed"),
    ],
)
def test_every_failure_is_one_line_with_a_hint_and_without_the_token(  # noqa: PLR0913, PLR0917 - a table's row
    hub: FakeHub, folder: Path, at: str, status: int, message: str, words: str
) -> None:
    hub.fails[at] = (status, message)

    with pytest.raises((SetupError, UsageError)) as told:
        upload(folder)

    [problem] = told.value.problems
    assert words in problem.message
    assert problem.hint
    assert "\n" not in f"{problem.message}{problem.hint}"
    assert TOKEN not in f"{problem.message}{problem.hint}"


def test_a_token_that_is_not_there_or_not_taken_is_told(
    hub: FakeHub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_" + "wrong" * 8)
    with pytest.raises(SetupError, match="does not take the token"):
        upload(folder)
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(SetupError, match="no token"):
        upload(folder)
    assert [line for line in hub.asked if "whoami" not in line] == []


@pytest.mark.parametrize(
    ("token", "words"), [(None, "no token"), ("hf_" + "wrong" * 8, "does not take the token"), (TOKEN, "")]
)
def test_the_token_is_looked_at_before_anything_is_written(  # noqa: PLR0913, PLR0917 - fixtures and a table's row
    hub: FakeHub, main: Main, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, token: str | None, words: str
) -> None:
    shared_runs.keep(tmp_path / "output" / "cat")
    monkeypatch.setattr(environment, "require", lambda _home: OwnPython(Path(sys.executable)))
    monkeypatch.delenv("HF_TOKEN")
    if token is not None:
        monkeypatch.setenv("HF_TOKEN", token)

    told = main("share", "cat", "--to", "hub", "-o", "out")

    is_made = (tmp_path / "out").exists()
    assert (told.code, is_made, bool(hub.commits)) == ((5, False, False) if words else (0, True, True))
    assert words in told.stderr


def test_the_token_file_counts_too(hub: FakeHub, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN")
    (tmp_path / "hf").mkdir(exist_ok=True)
    (tmp_path / "hf" / "token").write_text(TOKEN, encoding="utf-8")

    assert upload(folder).repo == "me/cat"
    assert hub.repos


def test_the_failures_of_the_script_are_those_that_have_words() -> None:
    tree = ast.parse((INSIDE / upload_to.SCRIPT).read_text(encoding="utf-8"))

    assert {*failures(tree)} == upload_to._FAILURES.keys()  # noqa: SLF001 - a table


def failures(tree: ast.Module) -> Iterator[object]:
    """Texts that the script gives as `failed`: in a dict, with RefusedError, and as what `kind` gives back."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            named = zip(node.keys, node.values, strict=True)
            yield from (each for key, value in named if texts(key) == ["failed"] for each in texts(value))
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "RefusedError":
            yield from (each for argument in node.args for each in texts(argument))
        elif isinstance(node, ast.FunctionDef) and node.name == "kind":
            for inner in ast.walk(node):
                if isinstance(inner, ast.Return):
                    ends = (
                        [inner.value.body, inner.value.orelse] if isinstance(inner.value, ast.IfExp) else [inner.value]
                    )
                    yield from (each for end in ends for each in texts(end))
                elif isinstance(inner, ast.Dict):
                    yield from (each for value in inner.values for each in texts(value))


def texts(node: ast.expr | None) -> list[object]:
    return [node.value] if isinstance(node, ast.Constant) and isinstance(node.value, str) else []


@pytest.mark.parametrize("repo", ["", "a b/c", "a/b/c", "https://huggingface.co/me/cat", "me/" + "x" * 97])
def test_a_name_that_no_repository_can_have_is_refused_before_anything_is_done(repo: str) -> None:
    with pytest.raises(UsageError, match="--repo takes USER/NAME"):
        upload_to.require_repo(repo)
