"""The isolated environment is whole or absent, whatever goes wrong on the way."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from collections import namedtuple
from pathlib import Path

import pytest
import uv
from conftest import git
from standin.build import make_repository

from sdxl_train_cli import files, gpu, process
from sdxl_train_cli.environment import building, environment, installer, network, ownership, toolchain
from sdxl_train_cli.environment.environment import Abilities, Environment, SetupRequest
from sdxl_train_cli.environment.toolchain import InstallPlan, TorchBuild
from sdxl_train_cli.errors import SetupError
from sdxl_train_cli.gpu import Gpu
from sdxl_train_cli.layout import Home
from sdxl_train_cli.recipe import Kind

CARD = Gpu(0, "a card", 24.0, 20.0, (8, 6), "550.54.14")
GIB = 1024**3
Usage = namedtuple("Usage", "total used free")  # noqa: PYI024 - as shutil's own


@pytest.fixture
def place(tmp_path: Path) -> Home:
    """An empty home."""
    return Home(tmp_path / "home")


@pytest.fixture
def told() -> list[str]:
    """What was told to the person who waits."""
    return []


@pytest.fixture
def request_(repository: Path) -> SetupRequest:
    return SetupRequest(source=str(repository))


def refusal(place: Home, request: SetupRequest, told: list[str]) -> SetupError:
    """A setup that is refused: one line, a hint, and nothing half-made."""
    with pytest.raises(SetupError) as raised:
        building.create(place, request, recreate=False, report=told.append)
    (problem,) = raised.value.problems
    assert "\n" not in problem.message
    assert problem.hint
    assert not list(place.environments.glob("*"))
    assert environment.find(place) is None
    return raised.value


def test_an_environment_has_checkout_interpreter_options_and_lock(place: Home, request_: SetupRequest) -> None:
    made = building.create(place, request_, recreate=False, report=lambda _line: None)

    assert environment.require(place) == made
    assert made.lock.request == request_
    assert made.lock.ref == "v0.10.1"
    assert not made.trains
    assert (made.checkout / "sdxl_train.py").is_file()
    assert process.run([str(made.python), "-c", "import sys; print(sys.prefix)"]).stdout.strip() == str(
        made.folder / "venv"
    )
    assert "network_dim" in made.options().of(Kind.LORA)
    assert "network_dim" not in made.options().of(Kind.DREAMBOOTH)


def test_what_the_trainer_can_do_is_asked_once(installed: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = installed.lock.abilities
    assert recorded is not None
    assert recorded.not_resumed is None
    assert "cannot be scaled down" in (recorded.not_scaled or "")

    monkeypatch.setattr(environment, "run_script", lambda *_: pytest.fail("it was asked again"))
    assert environment.abilities(installed) == recorded


def test_what_other_scripts_of_ours_found_is_asked_again(installed: Environment) -> None:
    old = Abilities(not_scaled=None, not_resumed="it was too old", asked_by="0" * 64)
    for abilities in (old, None):
        lock = installed.lock.model_copy(update={"abilities": abilities})

        found = environment.abilities(installed.model_copy(update={"lock": lock}))

        assert found == installed.lock.abilities


def test_the_same_request_again_makes_nothing(place: Home, request_: SetupRequest, told: list[str]) -> None:
    first = building.create(place, request_, recreate=False, report=told.append)
    told.clear()

    assert building.create(place, request_, recreate=False, report=told.append) == first
    assert told == []


def test_another_request_makes_another_and_keeps_the_one_before(
    place: Home, request_: SetupRequest, told: list[str]
) -> None:
    other = request_.model_copy(update={"ref": "main"})
    first = building.create(place, request_, recreate=False, report=told.append)
    second = building.create(place, other, recreate=False, report=told.append)
    assert second.lock.ref == "main"
    assert {path.name for path in place.environments.iterdir()} == {first.folder.name, second.folder.name}
    told.clear()

    assert building.create(place, request_, recreate=False, report=told.append) == first
    assert told == [f"using environment {first.folder.name}, which is there already"]
    assert environment.find(place) == first


def test_a_damaged_environment_is_removed_by_the_next_that_is_built(place: Home, request_: SetupRequest) -> None:
    first = building.create(place, request_, recreate=False, report=lambda _line: None)
    (first.folder / "options.json").write_bytes(b"")

    other = request_.model_copy(update={"ref": "main"})
    second = building.create(place, other, recreate=False, report=lambda _line: None)

    assert list(place.environments.iterdir()) == [second.folder]


class RefusedError(Exception):
    """What a proof raises."""


def newer(source: Path) -> str:
    """Let the source have a newer known release."""
    git(source, "commit", "-q", "--allow-empty", "-m", "newer")
    git(source, "tag", "v0.11.1")
    return git(source, "rev-parse", "HEAD")


@pytest.fixture
def updatable(tmp_path: Path) -> SetupRequest:
    """A request for the newest release of a source that may get a newer one."""
    return SetupRequest(source=str(make_repository(tmp_path / "updatable", tags=("v0.10.1",))))


def test_an_update_is_proven_before_it_counts(place: Home, updatable: SetupRequest) -> None:
    first = building.create(place, updatable, recreate=False, report=lambda _line: None)
    commit = newer(Path(updatable.source))
    seen = list[tuple[str, bool]]()

    def prove(home: Home) -> None:
        seen.append((environment.require(home).lock.commit, environment.find(place) == first))

    update = building.Update(prove)
    second = building.create(place, updatable, recreate=False, report=lambda _line: None, update=update)

    assert seen == [(commit, True)]
    assert environment.find(place) == second
    assert second.lock.ref == "v0.11.1"
    assert list(environment.iter_whole(place)) == [second, first]


def test_an_update_that_is_not_proven_leaves_the_old_one(place: Home, updatable: SetupRequest) -> None:
    first = building.create(place, updatable, recreate=False, report=lambda _line: None)
    newer(Path(updatable.source))

    def prove(_home: Home) -> None:
        raise RefusedError

    with pytest.raises(RefusedError):
        building.create(place, updatable, recreate=False, report=lambda _line: None, update=building.Update(prove))

    assert environment.find(place) == first
    assert list(place.environments.iterdir()) == [first.folder]


def test_an_update_without_anything_newer_keeps_what_is_there(place: Home, updatable: SetupRequest) -> None:
    first = building.create(place, updatable, recreate=False, report=lambda _line: None)

    def prove(_home: Home) -> None:
        raise AssertionError

    update = building.Update(prove)
    again = building.create(place, updatable, recreate=False, report=lambda _line: None, update=update)

    assert again == first
    assert list(place.environments.iterdir()) == [first.folder]


def test_a_source_typed_in_another_folder_is_the_same_request(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once, a setup from `--source ./sd-scripts` could be repeated only in the same folder."""
    monkeypatch.chdir(repository.parent)

    assert SetupRequest(source="./sd-scripts") == SetupRequest(source=str(repository))


@pytest.mark.parametrize(
    "broken",
    [b"", bytes(40), b"\xff\xfe", b"nowhere", b"..", b"{}", b'{"request": {"nope": 1}}', b"20", b"/"],
    ids=["empty", "zeros", "no text", "a word", "above", "nothing", "another", "number", "root"],
)
@pytest.mark.parametrize("name", ["current", "lock.json", "options.json"])
def test_a_broken_file_makes_the_environment_absent_and_the_next_setup_whole(
    place: Home, home: Path, request_: SetupRequest, broken: bytes, name: str
) -> None:
    """Once, the NUL bytes that a power cut leaves in `current` ended every command with a traceback."""
    shutil.copytree(home, place.path, symlinks=True)
    there = environment.require(place)
    (place.current if name == "current" else there.folder / name).write_bytes(broken)

    assert environment.find(place) is None
    words = "does not say which environment to use" if name == "current" else f"damaged: .*{name} can't be read"
    with pytest.raises(SetupError, match=words):
        environment.require(place)

    building.create(place, request_, recreate=False, report=lambda _line: None)
    assert environment.require(place).options()
    assert len(list(place.environments.iterdir())) == 1


PARTS = ["venv", "sd-scripts", "options.json", "lock.json", "sd-scripts/sdxl_train.py",
         "sd-scripts/sdxl_train_network.py", "sd-scripts/library", "venv/bin/python"]  # fmt: skip


@pytest.mark.parametrize("gone", PARTS)
def test_an_environment_that_lacks_a_part_is_told_and_made_anew(
    place: Home, home: Path, request_: SetupRequest, gone: str
) -> None:
    """Once, `setup` said "ready" with the trainer's scripts deleted, and the first run failed."""
    shutil.copytree(home, place.path, symlinks=True)
    part = environment.require(place).folder / gone
    shutil.rmtree(part) if part.is_dir() and not part.is_symlink() else part.unlink()

    assert environment.find(place) is None
    with pytest.raises(SetupError, match="damaged") as raised:
        environment.require(place)
    assert str(raised.value.problems[0].hint).endswith("`sdxl-train setup --recreate`")
    building.create(place, request_, recreate=False, report=lambda _line: None)
    assert environment.find(place) is not None


@pytest.mark.skipif(process.WINDOWS, reason="Windows tells programs by their names")
def test_a_python_that_may_not_be_run_is_told_and_made_anew(place: Home, home: Path, request_: SetupRequest) -> None:
    shutil.copytree(home, place.path, symlinks=True)
    there = environment.require(place)
    there.python.unlink()
    there.python.write_text("#!/bin/sh\n", encoding="utf-8")
    there.python.chmod(0o644)

    with pytest.raises(SetupError, match=r"damaged: .* can't be run"):
        environment.require(place)
    building.create(place, request_, recreate=False, report=lambda _line: None)
    assert environment.find(place) is not None


@pytest.mark.skipif(process.WINDOWS, reason="the Python is a shell script")
@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("no program at all", "can't be started: Exec format error"),
        ("#!/nowhere/python\n", "can't be started: No such file or directory"),
        ("#!/bin/sh\necho '{'\n", "weights.py: Expecting"),
        ("#!/bin/sh\necho '[1]'\n", "weights.py printed no JSON object"),
        ("#!/bin/sh\necho '%s'\n" % ("[" * 100_000), "nested too deeply"),
        ("#!/bin/sh\nexit 3\n", "exit code 3"),
    ],
    ids=["no program", "no interpreter", "half", "a list", "deep", "silent"],
)
def test_a_python_that_answers_nonsense_is_told_in_one_line(place: Home, home: Path, program: str, words: str) -> None:
    """Once, a Python that could not be started ended with a traceback."""
    shutil.copytree(home, place.path, symlinks=True)
    there = environment.require(place)
    there.python.unlink()
    there.python.write_text(program, encoding="utf-8")
    there.python.chmod(0o755)

    with pytest.raises(SetupError) as raised:
        environment.run_script(there, "weights.py")

    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "content",
    ["[" * 100_000, '{"scripts": {}}', '{"scripts": ' + "[" * 5000 + "]" * 5000 + "}", '{"scripts": 1e999}'],
    ids=["deep", "no script", "deep inside", "a number"],
)
@pytest.mark.parametrize("name", ["options.json", "lock.json"])
def test_an_absurd_file_of_the_environment_is_told(place: Home, home: Path, name: str, content: str) -> None:
    """Once, every command ended with a traceback where options.json was nested too deeply."""
    shutil.copytree(home, place.path, symlinks=True)
    (environment.require(place).folder / name).write_text(content, encoding="utf-8")

    with pytest.raises(SetupError, match=f"damaged: .*{name} can't be read"):
        environment.require(place)


def test_where_the_pointer_is_lost_setup_takes_the_newest_whole_environment_and_fetches_nothing(
    place: Home, request_: SetupRequest, told: list[str]
) -> None:
    """Once, a torn `current` and a setup without network took the good environment away."""
    made = building.create(place, request_, recreate=False, report=told.append)
    broken = place.environments / "20991231-235959-ffff"
    shutil.copytree(made.folder, broken, symlinks=True)
    (broken / "options.json").unlink()
    place.current.write_bytes(bytes(30))
    told.clear()

    again = building.create(place, request_, recreate=False, report=told.append)

    assert again == made == environment.require(place)
    assert told == [f"{place.current} was unreadable: using environment {made.folder.name}"]


@pytest.mark.parametrize("torn", ["current", "options.json"])
def test_a_build_that_fails_takes_nothing_away(place: Home, request_: SetupRequest, told: list[str], torn: str) -> None:
    made = building.create(place, request_, recreate=False, report=told.append)
    (place.current if torn == "current" else made.folder / torn).write_bytes(b"")
    elsewhere = request_.model_copy(update={"source": "http://127.0.0.1:9/x"})

    with pytest.raises(SetupError, match="can't be reached"):
        building.create(place, elsewhere, recreate=False, report=told.append)

    assert list(place.environments.iterdir()) == [made.folder]
    assert (environment.find(place) == made) is (torn == "current")


def test_what_counts_and_what_is_known_of_it_are_on_disk_before_the_one_before_goes(
    place: Home, request_: SetupRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    building.create(place, request_, recreate=False, report=lambda _line: None)
    story = list[str]()
    write, remove = files.write, ownership.remove
    monkeypatch.setattr(files, "write", lambda path, text: (story.append(path.name), write(path, text)))
    monkeypatch.setattr(ownership, "remove", lambda folder: (story.append("removed"), remove(folder)))

    building.create(place, request_, recreate=True, report=lambda _line: None)

    assert story == [ownership.MARKER, "options.json", "lock.json", "previous", "current", "removed"]


def test_too_little_disk_is_told_before_anything_is_fetched(
    place: Home, real_looking: Path, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "devices", lambda: ())
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(100 * GIB, 99 * GIB, 1 * GIB))

    error = refusal(place, SetupRequest(source=str(real_looking)), told)

    assert str(error) == f"{place.path} has 1.0 GB free; torch and its libraries need 8"
    assert not any(line.startswith("making") for line in told)


@pytest.fixture
def ample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(100 * GIB, 1 * GIB, 99 * GIB))
    monkeypatch.setattr(network, "is_reachable", lambda _url: False)
    monkeypatch.setattr(toolchain, "MACOS", False)
    monkeypatch.setattr(gpu, "devices", lambda: ())


@pytest.mark.usefixtures("ample")
@pytest.mark.parametrize("torch", [TorchBuild.CU124, TorchBuild.CPU])
def test_a_build_that_was_named_is_not_exchanged_where_its_index_is_out_of_reach(
    place: Home, real_looking: Path, told: list[str], torch: TorchBuild
) -> None:
    error = refusal(place, SetupRequest(source=str(real_looking), torch=torch), told)

    assert str(error) == f"PyTorch's package index can't be reached, and only it has the {torch.value} build"
    assert "--torch default" in str(error.problems[0].hint)


@pytest.mark.usefixtures("ample")
def test_on_windows_a_gpu_never_gets_the_default_indexs_build_which_knows_none(
    place: Home, real_looking: Path, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "devices", lambda: (CARD,))
    monkeypatch.setattr(process, "WINDOWS", True)

    assert "only it has the cu124 build" in str(refusal(place, SetupRequest(source=str(real_looking)), told))


class FakeUv:
    """A program in uv's place: `venv` makes a real one, `pip` says its words and ends with 1 or 0."""

    def __init__(self, folder: Path, words: str, code: int) -> None:
        self.program, self.calls = folder / "uv", folder / "calls"
        folder.mkdir()
        real = uv.find_uv_bin()
        self.program.write_text(
            f"#!/bin/sh\n"
            f'echo "$@" >> {self.calls}\n'
            f'[ "$1" = venv ] && exec {real} venv --no-project --python {sys.executable} "$5"\n'
            f"printf '%s\\n' '{words}'\nexit {code}\n",
            encoding="utf-8",
        )
        self.program.chmod(0o755)


@pytest.mark.usefixtures("ample")
@pytest.mark.skipif(process.WINDOWS, reason="the program in uv's place is a shell script")
@pytest.mark.parametrize(
    ("words", "told_words"),
    [
        ("error: No space left on device (os error 28)", "the disk is full"),
        ("error: Failed to fetch: https://pypi.org/simple/torch/", "the package index can't be reached"),
        ("error: invalid peer certificate: UnknownIssuer", "certificate is not trusted"),
        ("  No solution found when resolving dependencies", "the requirements conflict with each other"),
        ("error: failed to remove file: Permission denied (os error 13)", "a file can't be written"),
        ("error: something else", "packages could not be installed: error: something else"),
    ],
)
def test_a_failed_installation_is_told_in_one_line_and_logged_whole(  # noqa: PLR0913, PLR0917 - a row of the table
    place: Home,
    real_looking: Path,
    told: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: str,
    told_words: str,
) -> None:
    fake = FakeUv(tmp_path / "fake", words, 1)
    monkeypatch.setattr(installer, "find_uv_bin", lambda: str(fake.program))

    error = refusal(place, SetupRequest(source=str(real_looking)), told)

    assert told_words in str(error)
    assert words in place.setup_log.read_text(encoding="utf-8")
    assert str(place.setup_log) in f"{error} {error.problems[0].hint}"
    assert "PyTorch's package index can't be reached: using the default index's build, not cpu" in told
    assert "pip install" in fake.calls.read_text(encoding="utf-8")
    assert "--torch-backend" not in fake.calls.read_text(encoding="utf-8")


@pytest.mark.usefixtures("ample")
@pytest.mark.skipif(process.WINDOWS, reason="the program in uv's place is a shell script")
def test_an_environment_whose_torch_does_not_import_is_not_kept(
    place: Home, real_looking: Path, told: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeUv(tmp_path / "fake", "Installed 1 package", 0)
    monkeypatch.setattr(installer, "find_uv_bin", lambda: str(fake.program))

    error = refusal(place, SetupRequest(source=str(real_looking)), told)

    assert str(error).startswith("the environment does not work: torch: ModuleNotFoundError")


def test_a_python_that_is_nowhere_is_told(place: Home, request_: SetupRequest, told: list[str]) -> None:
    error = refusal(place, request_.model_copy(update={"python": "2.1"}), told)

    assert str(error) == "no Python 2.1 was found, and none could be fetched"


def test_a_disk_that_fills_up_on_the_way_is_told(
    place: Home, request_: SetupRequest, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(folder: Path, *_others: object) -> None:
        folder.mkdir()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder / "x"))

    monkeypatch.setattr(installer, "make_venv", full)

    error = refusal(place, request_, told)

    assert "can't be written: No space left on device" in str(error)
    assert "--home" in str(error.problems[0].hint)


def test_a_home_that_cannot_be_locked_is_told(place: Home, request_: SetupRequest, told: list[str]) -> None:
    """Once, a home in which setup.lock can't be made ended with a traceback."""
    place.setup_lock.mkdir(parents=True)

    assert "can't be written" in str(refusal(place, request_, told))


def test_a_current_that_is_a_folder_is_told_before_anything_is_made(
    place: Home, request_: SetupRequest, told: list[str]
) -> None:
    """Once, it was noticed after the whole build, which takes minutes."""
    (place.current / "in the way").mkdir(parents=True)

    assert "current can't be written: it is a folder" in str(refusal(place, request_, told))
    assert told == []


def test_a_home_that_is_a_file_is_told(place: Home, request_: SetupRequest, told: list[str]) -> None:
    place.path.touch()

    assert "can't be made" in str(refusal(place, request_, told))


@pytest.mark.skipif(process.WINDOWS, reason="Windows' read-only folders can be written")
def test_a_read_only_home_is_told(place: Home, request_: SetupRequest, told: list[str]) -> None:
    if os.geteuid() == 0:
        pytest.skip("root writes into read-only folders too")
    place.path.mkdir()
    place.path.chmod(0o555)

    assert "can't be made: Permission denied" in str(refusal(place, request_, told))


def test_a_stop_leaves_nothing_half_made(place: Home, request_: SetupRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(folder: Path, *_others: object) -> None:
        folder.mkdir()
        raise KeyboardInterrupt

    monkeypatch.setattr(installer, "make_venv", stop)

    with pytest.raises(KeyboardInterrupt):
        building.create(place, request_, recreate=False, report=lambda _line: None)
    assert not list(place.environments.iterdir())


def test_what_misleads_python_does_not_reach_the_training_side(monkeypatch: pytest.MonkeyPatch) -> None:
    harmful = ("PYTHONPATH", "PYTHONHOME", "PYTHONSAFEPATH", "PYTHONIOENCODING", "VIRTUAL_ENV")
    for name in harmful:
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("HF_HOME", "kept")

    variables = environment.training_variables()

    assert not set(harmful) & set(variables)
    assert variables["HF_HOME"] == "kept"
    assert variables["PYTHONUTF8"] == "1"


def test_nothing_to_install_starts_nothing(place: Home, told: list[str]) -> None:
    installer.install(
        place.path / "no-python",
        InstallPlan(None, TorchBuild.DEFAULT, (), None),
        None,
        installer.Installer(sys.stderr.buffer, place.setup_log, told.append),
    )
    assert told == []
