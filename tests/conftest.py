"""A world for each test: a home, a user and a temp folder of its own, no network, and a stand-in sd-scripts."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import upstream_source
import warm_start
from hypothesis import settings
from patience import PATIENCE_SECONDS, until
from PIL import Image
from standin.build import make_repository
from warm_start import WarmProcess
from web_browser import Listener

from sdxl_train_cli import cli as command_line
from sdxl_train_cli import gpu, signals
from sdxl_train_cli.environment import environment, hub
from sdxl_train_cli.environment.environment import Environment
from sdxl_train_cli.layout import Home

# No deadline: a busy machine is no fault. In CI the same figures each time: new ones would fail changes at random.
settings.register_profile("sdxl-train", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("sdxl-train")

NOWHERE = "http://127.0.0.1:9"
"""The port named discard, where nothing listens: a request ends at once and leaves the machine never."""
KEPT = ("PATH", "PATHEXT", "SYSTEMROOT", "COMSPEC", "NUMBER_OF_PROCESSORS")
SDXL_TENSORS = (
    "model.diffusion_model.input_blocks.0.0.weight",
    "conditioner.embedders.0.transformer.text_model.final_layer_norm.weight",
    "conditioner.embedders.1.model.ln_final.weight",
    "first_stage_model.decoder.conv_in.bias",
)


def pytest_configure() -> None:
    os.environ.setdefault(upstream_source.SHARED, tempfile.mkdtemp(prefix="sdxl-train-tests-"))


def pytest_unconfigure() -> None:
    if "PYTEST_XDIST_WORKER" not in os.environ:
        shutil.rmtree(os.environ.pop(upstream_source.SHARED), ignore_errors=True)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-snapshots", action="store_true", help="write the snapshots anew instead of comparing")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # The longest first, so that no core waits for them at the end.
    items.sort(key=lambda item: item.get_closest_marker("upstream") is None)
    if os.environ.get("SDXL_TRAIN_SLOW_TESTS") != "1":
        for item in items:
            if item.get_closest_marker("slow") is not None:
                item.add_marker(pytest.mark.skip(reason="slow: set SDXL_TRAIN_SLOW_TESTS=1 to run it"))


@pytest.fixture(scope="session", autouse=True)
def _signals_as_in_a_terminal() -> None:
    """Undo what nohup or a background job has set, which every child would inherit."""
    for name, usual in (("SIGINT", signal.default_int_handler), ("SIGHUP", signal.SIG_DFL)):
        signum = getattr(signal, name, None)
        if signum is not None and signal.getsignal(signum) is signal.SIG_IGN:
            signal.signal(signum, usual)


def variables(folder: Path) -> dict[str, str]:
    """The whole environment of a process in a test's world: nothing of the real user's is in it."""
    (folder / "tmp").mkdir(parents=True, exist_ok=True)
    user, temporary = str(folder / "user"), str(folder / "tmp")
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    places = dict.fromkeys(("HOME", "USERPROFILE", "APPDATA", "LOCALAPPDATA"), user)
    places |= {f"XDG_{name}_HOME": f"{user}/{name.lower()}" for name in ("CONFIG", "DATA", "CACHE", "STATE")}
    places |= dict.fromkeys(("TMPDIR", "TMP", "TEMP"), temporary)
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), NOWHERE)
    return {
        **kept,
        **places,
        **proxies,
        "LANG": "C.UTF-8",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "UV_OFFLINE": "1",
        "HF_ENDPOINT": NOWHERE,
        "SDXL_TRAIN_HOME": str(folder / "home"),
        "SDXL_TRAIN_CONFIG": str(folder / "config"),
        "STANDIN_STEP_SECONDS": "0.005",
        "STANDIN_WAIT_SECONDS": str(PATIENCE_SECONDS),
    }


@pytest.fixture(autouse=True)
def _world(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Let no test reach the real home or the network, but those that run the real sd-scripts."""
    if request.node.get_closest_marker("upstream"):
        monkeypatch.setenv("SDXL_TRAIN_LANG", "en")
        return
    ours = variables(tmp_path_factory.getbasetemp() / "world")
    for name in (*os.environ, *ours):
        if name not in KEPT and not name.startswith(("PYTEST", "HYPOTHESIS", "COV")):
            monkeypatch.delenv(name, raising=False)
    for name, text in ours.items():
        monkeypatch.setenv(name, text)

    def refuse(_self: socket.socket, address: object) -> None:
        pytest.fail(f"a test asked the network for {address}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)


def write_safetensors(path: Path, names: Sequence[str] = SDXL_TENSORS, dim: int = 1) -> Path:
    """Write a small valid safetensors file with these tensors, of `dim` numbers each."""
    header = {
        name: {"dtype": "F16", "shape": [dim, 1], "data_offsets": [2 * dim * number, 2 * dim * (number + 1)]}
        for number, name in enumerate(names)
    }
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(2 * dim * len(names)))
    return path


def write_pictures(
    folder: Path, count: int = 3, caption: str | None = "a photo of a cat", size: tuple[int, int] = (64, 48)
) -> Path:
    """Fill a folder with small real pictures and their captions."""
    folder.mkdir(parents=True)
    for number in range(count):
        Image.new("RGB", size, (40 * number, 90, 120)).save(folder / f"{number}.png")
        if caption is not None:
            (folder / f"{number}.txt").write_text(caption + "\n", encoding="utf-8")
    return folder


@pytest.fixture
def listener() -> Iterator[Listener]:
    """A port of this machine that counts who asks it."""
    listening = Listener()
    yield listening
    listening.close()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A file that looks like an SDXL checkpoint."""
    return write_safetensors(tmp_path / "base.safetensors")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Three captioned pictures."""
    return write_pictures(tmp_path / "pictures")


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stand-in's repository: the tag v0.10.1 and no branch sdxl, as upstream."""
    return make_repository(tmp_path_factory.mktemp("repository") / "sd-scripts")


@pytest.fixture(scope="session")
def real_looking(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository that asks for a real toolchain: it pins transformers and brings no accelerate."""
    source = make_repository(tmp_path_factory.mktemp("real-looking") / "sd-scripts")
    shutil.rmtree(source / "accelerate")
    (source / "requirements.txt").write_text("transformers==4.54.1\n", encoding="utf-8")
    git(source, "commit", "-q", "-a", "-m", "real-looking")
    git(source, "tag", "-f", "v0.10.1")
    return source


def git(folder: Path, *arguments: str) -> str:
    """Run git in a folder, with an identity of its own."""
    identity = ("-c", "user.name=test", "-c", "user.email=test@example.invalid")
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, capture_output=True, encoding="utf-8", check=True)
    return done.stdout.strip()


@dataclass(frozen=True)
class Result:
    """How a command ended and what it printed."""

    code: int
    stdout: str
    stderr: str

    @property
    def path(self) -> Path:
        """The one path that stdout holds."""
        (line,) = self.stdout.splitlines()
        return Path(line)


class Running:
    """A command that is going on."""

    def __init__(self, process: subprocess.Popen[bytes] | WarmProcess, stdout: Path, stderr: Path) -> None:
        self.process, self._stdout, self._stderr = process, stdout, stderr

    @property
    def stderr(self) -> str:
        """What it has told so far."""
        return self._stderr.read_text(encoding="utf-8", errors="replace")

    def until_told(self, words: str) -> None:
        """Wait for words on stderr; it must not have ended before them."""
        until(lambda: words in self.stderr or self.process.poll() is not None)
        assert words in self.stderr, self.stderr

    def send(self, signum: int) -> None:
        """Send a signal to the command alone."""
        self.process.send_signal(signum)

    def end(self) -> Result:
        """Wait for its end."""
        code = self.process.wait(PATIENCE_SECONDS)
        return Result(code, self._stdout.read_text(encoding="utf-8", errors="replace"), self.stderr)


class Cli:
    """`sdxl-train` as a real process in a world of its own."""

    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        self.folder, self.environ = folder, environ
        self._count = 0

    def __call__(
        self, *arguments: object, cwd: Path | None = None, through: Sequence[str] = (), **environ: str
    ) -> Result:
        """Run a command to its end."""
        with self.start(*arguments, cwd=cwd, through=through, **environ) as running:
            return running.end()

    @contextmanager
    def start(
        self, *arguments: object, cwd: Path | None = None, through: Sequence[str] = (), **environ: str
    ) -> Iterator[Running]:
        """Start a command, perhaps through another; it does not outlive the block."""
        self._count += 1
        logs = self.folder / "tmp"
        stdout, stderr = logs / f"{self._count}.stdout", logs / f"{self._count}.stderr"
        argv, cwd = [*through, sys.executable, "-m", "sdxl_train_cli.cli", *map(str, arguments)], cwd or self.folder
        is_warm = not through and all(name.startswith(("SDXL_TRAIN_", "STANDIN_")) for name in environ)
        process: subprocess.Popen[bytes] | WarmProcess
        with stdout.open("wb") as out, stderr.open("wb") as err:
            if warm_start.IS_POSSIBLE and is_warm:
                words = [str(word) for word in arguments]
                process = warm_start.start(words, cwd, {**self.environ, **environ}, stdout, stderr)
            else:
                process = subprocess.Popen(
                    argv, cwd=cwd, env={**self.environ, **environ}, stdin=subprocess.DEVNULL, stdout=out, stderr=err
                )
        with process:
            try:
                yield Running(process, stdout, stderr)
            finally:
                process.kill()


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Path:
    """A home with the stand-in installed and the tokenizers there; tests don't change it."""
    folder = tmp_path_factory.mktemp("installed")
    result = Cli(folder, variables(folder))("setup", "--source", repository)
    assert result.code == 0, result.stderr
    for name in hub.TOKENIZERS:
        (folder / "home" / "tokenizers" / name).mkdir(parents=True)
        (folder / "home" / "tokenizers" / name / "vocab.json").write_text("{}", encoding="utf-8")
    return folder / "home"


def own_home(folder: Path, home: Path) -> Path:
    """A new home that a test may change, with what is installed in another, and nothing that was queued there."""
    folder.mkdir(parents=True)
    queued = {Home(home).queue, Home(home).sweeps, Home(home).cluster}
    for part in set(home.iterdir()) - queued:
        (folder / part.name).symlink_to(part)
    return folder


@pytest.fixture(scope="session")
def installed(home: Path) -> Environment:
    """The environment in that home."""
    return environment.require(Home(home))


@pytest.fixture
def cli(tmp_path: Path, home: Path) -> Cli:
    """`sdxl-train` with the stand-in installed."""
    return Cli(tmp_path, {**variables(tmp_path), "SDXL_TRAIN_HOME": str(home)})


@pytest.fixture
def fresh(tmp_path: Path, repository: Path) -> Cli:
    """`sdxl-train` with an empty home, which takes sd-scripts from the stand-in's repository."""
    return Cli(tmp_path, {**variables(tmp_path), "SDXL_TRAIN_SOURCE": str(repository)})


@pytest.fixture
def main(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., Result]:
    """`sdxl-train` in this very process, for tests that replace a part of it, such as the GPUs: here there is none."""
    monkeypatch.setenv("SDXL_TRAIN_HOME", str(home))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(gpu, "devices", lambda: ())
    monkeypatch.setattr(signals, "raise_stopped", lambda: None)

    def run(*arguments: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["sdxl-train", *map(str, arguments)])
        with pytest.raises(SystemExit) as raised:
            command_line.main()
        printed = capfd.readouterr()
        return Result(int(raised.value.code or 0), printed.out, printed.err)

    return run
