"""The pages of the site that are made when it is built: front pages, and the references of commands and options."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Sequence
from typing import Any

from project_venv import ROOT

from sdxl_train_cli import cli
from sdxl_train_cli.cli import Command
from sdxl_train_cli.recipe import Kind
from sdxl_train_cli.sdscripts import shipped
from sdxl_train_cli.sdscripts.options import Option

WRITTEN = {
    "README.md": "index.md",
    "README.ru.md": "ru/index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
"""Pages that stand at the top of the project, and where the site has them."""
RELEASES = tuple(sorted((path.stem for path in shipped.RELEASES.glob("*.json")), reverse=True))
_LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)(#[^)\s]*)?\)")
_WIDEST = 100
"""Columns for a command's usage."""
_HOW_TO_SET = (
    "Set one with `--set OPTION=VALUE`, in a preset or in `sdxl-train.yaml`; the most used have "
    "[flags](commands.md#sdxl-train-lora-locon-loha-lokr-dreambooth-embedding). "
    "Networks are LoRA, LoCon, LoHa and LoKr."
)
_TRAINED = {
    Kind.LORA.script: "networks",
    Kind.DREAMBOOTH.script: "Dreambooth",
    Kind.EMBEDDING.script: "embeddings",
}
"""What each script of sd-scripts trains."""


def pages() -> dict[str, str]:
    """Every page that is made, by its place in the site."""
    written = {place: moved((ROOT / name).read_text(encoding="utf-8"), place) for name, place in WRITTEN.items()}
    options = {f"reference/options-{release}.md": options_page(release) for release in RELEASES}
    return {**written, "reference/commands.md": commands_page(), **options}


def moved(text: str, place: str) -> str:
    """A page's text with the links that it needs at its place in the site."""

    def link(found: re.Match[str]) -> str:
        target = WRITTEN.get(found[1], found[1].removeprefix("docs/"))
        return f"]({posixpath.relpath(target, posixpath.dirname(place) or '.')}{found[2] or ''})"

    return _LINK.sub(link, text)


def commands_page() -> str:
    """Every command with all that it takes, as its --help says."""
    parts = ["# Commands", "Made from the program's own help; `-h` shows it for each command."]
    for names, row in _commands():
        here = [name for name in names if name[:-1] == names[0][:-1]]
        shown = [f"sdxl-train {' '.join(name)}" for name in here]
        parts.append(f"## {', '.join([shown[0], *(name[-1] for name in here[1:])])}")
        parts += [*(_text(_row(name).help) for name in here), *([_text(row.more)] if row.more else [])]
        groups = dict.fromkeys(" ".join(name[:-1]) for name in names if name not in here)
        parts += [f"The same after `sdxl-train {group}`." for group in groups]
        parts += _options_of(names[0], row)
    return "\n\n".join(parts) + "\n"


def _commands() -> Iterator[tuple[list[tuple[str, ...]], Command]]:
    """Each command with its names; those that one function carries out stand together."""
    together: dict[str, list[tuple[str, ...]]] = {}
    rows = list(cli.each_command())
    for words, row in rows:
        together.setdefault(row.function, []).append(words)
    for words, row in rows:
        if together[row.function][0] == words:
            yield together[row.function], row


def _row(names: Sequence[str]) -> Command:
    found: Any = cli.COMMANDS[names[0]]
    for name in names[1:]:
        found = found.commands[name]
    return found


def _options_of(names: Sequence[str], row: Command) -> Iterator[str]:
    command = cli._load_command(names[-1], row)  # noqa: SLF001 - as main() does
    context = command.context_class(command, info_name=f"sdxl-train {' '.join(names)}", terminal_width=_WIDEST)
    usage = " ".join(command.get_usage(context).removeprefix("Usage: ").split())
    yield f"```text\n{usage}\n```"
    panels: dict[str, list[tuple[str, str]]] = {}
    for param in command.get_params(context):
        is_argument = param.param_type_name == "argument"
        record = (param.metavar or param.name, param.help or "") if is_argument else param.get_help_record(context)
        heading = "argument" if is_argument else getattr(param, "rich_help_panel", None) or "option"
        if record is not None and "--help" not in param.opts:
            panels.setdefault(heading, []).append(record)
    for heading, records in panels.items():
        yield _table([heading[0].upper() + heading[1:], ""], [[f"`{name}`", _text(words)] for name, words in records])


def options_page(release: str) -> str:
    """Every option of a release of sd-scripts, and what optimizers take."""
    table = shipped.table(release)
    taking: dict[str, list[str]] = {}
    rows: dict[str, Option] = {}
    for script, trained in _TRAINED.items():
        for option in table.scripts[script]:
            taking.setdefault(option.name, []).append(trained)
            rows.setdefault(option.name, option)
    shown = [_option(rows[name], _trains(taking[name])) for name in sorted(rows)]
    optimizers = [
        [f"`{name}`", ", ".join(f"`{argument}` ({takes})" for argument, takes in taken.items())]
        for name, taken in sorted(table.optimizers.items())
        if taken
    ]
    parts = [
        f"# Options of sd-scripts {release}",
        f"{len(rows)} options, asked of sd-scripts' own command line. {_HOW_TO_SET}",
        _table(["Option", "Takes", "Default", "For"], shown),
        "## Arguments of optimizers",
        "Set with `--set optimizer_args=...`.",
        _table(["Optimizer", "Arguments"], optimizers),
    ]
    return "\n\n".join(parts) + "\n"


def _option(option: Option, trains: str) -> list[str]:
    takes = ", ".join(f"`{choice}`" for choice in option.choices or ()) or option.type
    many = ", several" if option.many else ""
    is_plain = option.default is None or option.default is False or option.default == ""
    return [f"`{option.name}`", f"{takes}{many}", "" if is_plain else f"`{option.default}`", trains]


def _trains(taking: Sequence[str]) -> str:
    return "all" if len(taking) == len(_TRAINED) else " and ".join(taking)


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [list(headings), ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def _text(words: str) -> str:
    """Help as Markdown: what stands in angle brackets is no tag."""
    return " ".join(words.split()).replace("<", "&lt;").replace("[", "\\[")
