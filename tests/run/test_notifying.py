"""A command or a web address is told when a run ends; what goes wrong with it changes nothing else."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
from conftest import Cli, Result, write_pictures, write_safetensors

from sdxl_train_cli.environment import network
from sdxl_train_cli.errors import RecipeError
from sdxl_train_cli.recipes import user_config
from sdxl_train_cli.records.run_end import RunEnd
from sdxl_train_cli.run import notifying

END = RunEnd("cat", "done", 30, 0.08, 61.0, "/runs/cat/cat.safetensors", "looks well", None, None, None)
NOTE = "import os, pathlib; pathlib.Path('told').write_text(os.environ['SDXL_TRAIN_MESSAGE'])"


@pytest.fixture
def ready(cli: Cli) -> Cli:
    write_pictures(cli.folder / "data")
    write_safetensors(cli.folder / "base.safetensors")
    return cli


def configure(cli: Cli, notify: object) -> None:
    (cli.folder / "config").mkdir()
    (cli.folder / "config" / "config.yaml").write_text(f"notify: {json.dumps(notify)}\n", encoding="utf-8")


def train(cli: Cli, **environ: str) -> Result:
    return cli("lora", "-m", "base.safetensors", "--no-vram-check", "--steps", "3", **environ)


@contextmanager
def server(status: int = 200) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A web address, and what it was sent."""
    heard: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:  # type: ignore[override]
            return

    with HTTPServer(("127.0.0.1", 0), Handler) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{listening.server_port}/secret-key", heard
        listening.shutdown()


def test_a_command_is_told_of_a_run_that_is_done(ready: Cli) -> None:
    configure(ready, [sys.executable, "-c", NOTE])

    assert train(ready).code == 0
    told = (ready.folder / "told").read_text(encoding="utf-8")
    assert told.startswith("data is done, 3 steps, ")
    assert told.endswith(str(Path("output", "data", "data.safetensors")))


def test_a_web_address_is_told_of_a_run_that_fails(ready: Cli) -> None:
    with server() as (address, heard):
        configure(ready, address)
        result = train(ready, STANDIN_FAIL="oom", no_proxy="127.0.0.1")

    (told,) = heard
    assert result.code == 7
    assert (told["run"], told["state"], told["path"]) == ("data", "failed", None)
    assert "memory" in told["cause"]
    assert told["message"] == told["content"] == told["text"]


def test_a_refused_run_tells_nobody(ready: Cli) -> None:
    configure(ready, [sys.executable, "-c", NOTE])

    assert ready("lora", "-m", "absent.safetensors", "--no-vram-check").code == 4
    assert not (ready.folder / "told").exists()


def test_an_address_that_refuses_is_a_warning_without_its_key(ready: Cli) -> None:
    with server(500) as (address, _):
        configure(ready, address)
        result = train(ready, no_proxy="127.0.0.1")

    assert result.code == 0
    assert "warning: notify: 127.0.0.1 was not told of the end: status 500" in result.stderr
    assert "secret-key" not in result.stderr


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ([sys.executable, "-c", "import sys; sys.exit('no such phone')"], "ended with 1: no such phone"),
        (["/absent/program"], "notify: the command"),
        ("exit 3", "ended with 3"),
    ],
)
def test_a_command_that_fails_is_a_problem_with_its_words(command: str | list[str], told: str) -> None:
    assert told in str(notifying.send(command, END))


def test_a_command_that_never_ends_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifying, "_COMMAND_SECONDS", 0.2)

    assert "has not ended in 0.2 s" in str(notifying.send([sys.executable, "-c", "import time; time.sleep(60)"], END))


def test_a_list_has_the_message_where_it_says_so_and_no_shell_reads_it(tmp_path: Path) -> None:
    write = "import sys, pathlib; pathlib.Path(sys.argv[1]).write_text('|'.join(sys.argv[2:]))"
    file = tmp_path / "told"

    assert notifying.send([sys.executable, "-c", write, str(file), "{state}: {message}", "$HOME"], END) is None
    assert file.read_text(encoding="utf-8") == (
        "done: cat is done, 30 steps, 1:01, loss 0.0800: /runs/cat/cat.safetensors|$HOME"
    )


@pytest.mark.parametrize(
    ("text", "notify"),
    [
        ("notify: [notify-send, '{message}']\n", ("notify-send", "{message}")),
        ("notify: https://ntfy.sh/mine\nhome: ~/big\n", "https://ntfy.sh/mine"),
        ("notify:\n", None),
    ],
)
def test_the_config_takes_a_list_or_a_text(tmp_path: Path, text: str, notify: object) -> None:
    (tmp_path / "config.yaml").write_text(text, encoding="utf-8")

    assert user_config.load(tmp_path).notify == notify


def test_anything_else_is_refused_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("notify: 5\n", encoding="utf-8")

    with pytest.raises(RecipeError, match=r"config\.yaml:1: notify takes text"):
        user_config.load(tmp_path)


def test_an_address_that_nothing_is_sent_to_is_refused_without_its_key(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("notify: htps://ntfy.sh/secret-key\n", encoding="utf-8")

    with pytest.raises(RecipeError, match=r"config\.yaml:1: notify takes an address") as told:
        user_config.load(tmp_path)
    assert "secret-key" not in str(told.value)


def test_why_an_address_was_not_told_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(_url: str, _found: object) -> None:
        raise URLError(ConnectionRefusedError(111, "Connection refused"))

    monkeypatch.setattr(network, "post_json", refuses)
    problem = notifying.send("http://127.0.0.1:1/secret-key", END)

    assert problem is not None
    assert "Connection refused" in problem.message
