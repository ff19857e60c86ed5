"""Upload a share to the Hugging Face Hub by huggingface_hub in the training environment. The token stays there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sdxl_train_cli import files, formatting, process
from sdxl_train_cli.environment import environment
from sdxl_train_cli.environment.environment import INSIDE, Environment
from sdxl_train_cli.errors import Problem, SetupError, UsageError

SCRIPT = "upload.py"
_LONGEST_SECONDS = 24 * 3600.0
_TOKENS = "https://huggingface.co/settings/tokens"
_REPO = re.compile(r"(?:[\w.-]{1,96}/)?[\w.-]{1,96}")
_FAILURES: Mapping[str, tuple[str, str]] = {
    "missing": ("the training environment has no huggingface_hub", "sdxl-train setup"),
    "no_token": ("no token of Hugging Face is there", f"{{login}}, or set HF_TOKEN; tokens: {_TOKENS}"),
    "refused_token": ("the hub does not take the token", f"make a new one at {_TOKENS}, then: {{login}}"),
    "no_write": ("the token may not write to {repo}", f"make a token that may write at {_TOKENS}, or --repo YOU/NAME"),
    "conflict": ("{repo} is being changed by somebody else", "repeat the command in a minute"),
    "quota": ("the account has no room left for it", "without --private more fits; or delete old files on the hub"),
    "not_ours": ("{repo} holds files that are not of a share, and would be mixed with it", "--repo YOU/ANOTHER-NAME"),
    "bad_name": ("the hub takes no such name: {repo}", "--repo YOU/NAME, of letters, digits, - . and _"),
    "network": ("the connection to the hub was lost", "repeat the command: what has arrived is not sent again"),
    "server": ("the hub has trouble of its own ({status})", "repeat the command later: https://status.huggingface.co"),
    "other": ("the upload failed: {words}", "the share is whole on your disk: upload its files in a browser"),
}  # fmt: skip
"""What inside/upload.py tells, in words, and what to do."""

_OUTSIDE = ("missing", "no_token", "refused_token", "network", "server", "other")
"""Failures that no other way of typing it mends."""


@dataclass(frozen=True)
class Uploaded:
    """What is on the hub now."""

    repo: str
    url: str
    commit: str


def require_repo(repo: str | None) -> None:
    """UsageError for what can be no repository."""
    if repo is not None and not _REPO.fullmatch(repo):
        raise UsageError(f"--repo takes USER/NAME, not '{formatting.cut(repo)}'", "such as --repo me/my-lora")


def require_token(installed: Environment) -> None:
    """SetupError if the training environment has no token that the hub takes. Uploads nothing."""
    found = _asked(installed, ["--check"])
    if "failed" in found:
        problem = _problem(found, "the repository", _login(installed))
        is_known = found["failed"] in _FAILURES and found["failed"] != "other"
        raise SetupError(problem if is_known else Problem(problem.message, "leave out --to hub: the share stays here"))


def upload(installed: Environment, folder: Path, name: str, repo: str | None, *, private: bool) -> Uploaded:
    """Upload a folder. Blocks until all has arrived. UsageError or SetupError says what is in the way."""
    options = [str(folder), "--name", _repo_name(name)]
    options += [f"--repo={repo}"] if repo is not None else []
    options += ["--private"] if private else []
    found = _asked(installed, options)
    if "failed" in found:
        refused = SetupError if found["failed"] in _OUTSIDE else UsageError
        raise refused(_problem(found, repo or f"YOU/{_repo_name(name)}", _login(installed)))
    return Uploaded(str(found["repo"]), str(found["url"]), str(found["commit"]))


def _asked(installed: Environment, options: list[str]) -> dict[str, object]:
    """What the script answers."""
    argv = [str(installed.python), str(INSIDE / SCRIPT), *options]
    try:
        answer = process.run(argv, env=environment.training_variables(), timeout_seconds=_LONGEST_SECONDS)
        found = files.parse_json(answer.stdout)
    except (OSError, ValueError) as error:
        raise SetupError(f"the upload could not be started: {error}", "sdxl-train doctor") from error
    if not isinstance(found, dict) or not {"failed", "url", "user"} & found.keys():
        raise SetupError(
            f"the training environment does not work: {SCRIPT} printed something else", "sdxl-train doctor"
        )
    return found


def _login(installed: Environment) -> str:
    """What to type to leave a token here: the training environment brings the hub's own command along."""
    own = installed.python.with_name("hf.exe" if process.WINDOWS else "hf")
    return f"{formatting.shell_word(own) if files.is_file(own) else 'uvx --from huggingface_hub hf'} auth login"


def _problem(found: Mapping[str, object], repo: str, login: str) -> Problem:
    words, hint = _FAILURES.get(str(found["failed"]), _FAILURES["other"])
    values = {
        "repo": repo,
        "login": login,
        "status": found.get("status"),
        "words": formatting.cut(str(found.get("words", "")), 200),
    }
    return Problem(words.format(**values), hint.format(**values))


def _repo_name(name: str) -> str:
    """The share's name as the hub takes one."""
    return re.sub(r"[^A-Za-z0-9.-]+|--+|\.\.+", "-", name).strip("-.") or "share"
