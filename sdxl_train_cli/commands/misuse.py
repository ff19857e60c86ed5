"""What to type instead of a command line that can't be read: every answer names the next command."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sdxl_train_cli import files, formatting, visible
from sdxl_train_cli.commands import train_options, workspace
from sdxl_train_cli.environment import environment
from sdxl_train_cli.errors import Problem, SdxlTrainError
from sdxl_train_cli.recipe import Kind
from sdxl_train_cli.rules import value_rules
from sdxl_train_cli.sdscripts import options, other_names, shipped
from sdxl_train_cli.sdscripts.options import Option

Groups = Mapping[str, Sequence[str]]
"""The commands, each with its subcommands."""
_OTHER_COMMANDS: Mapping[str, str] = {
    "train": "lora",
    "finetune": "dreambooth",
    "fine-tune": "dreambooth",
    "full": "dreambooth",
    "ti": "embedding",
    "textual-inversion": "embedding",
    "embed": "embedding",
    "dora": "lora --preset dora",
    "lycoris": "loha",
    "install": "setup",
    "update": "setup --update",
    "upgrade": "setup --update",
    "rollback": "setup --rollback",
    "repair": "doctor --fix",
    "diagnose": "doctor",
    "test": "smoke",
    "new": "start",
    "create": "new",
    "begin": "start",
    "wizard": "start",
    "ls": "list",
    "history": "runs list",
    "delete": "rm",
    "remove": "rm",
    "continue": "resume",
    "retry": "runs rerun",
    "repeat": "runs rerun",
    "compare": "diff",
    "why": "runs explain",
    "log": "runs explain",
    "logs": "runs explain",
    "tag": "dataset caption",
    "captions": "dataset caption",
    "validate": "dataset check",
    "memory": "vram",
    "info": "inspect",
    "publish": "share",
    "package": "share",
    "upload": "share --to hub",
    "civitai": "share --civitai",
    "convert": "presets import",
    "help": "--help",
    "version": "--version",
}
"""What people call our commands."""
_MISSPELLED = ("train", "install")
"""Those whose misspellings are looked for. None that deletes anything is among them."""
_NUMBER = re.compile(r"-?[\d.][\d.e+-]*", re.IGNORECASE)


def unknown_command(name: str, path: str, groups: Groups) -> Problem:
    """The problem of a command that is not there, with the one that is meant."""
    group = path.partition(" ")[2]
    here = _below(path, groups)
    message = f"no command '{formatting.cut(name)}'" + (f" in `{path}`" if group else "")
    plain = name.lower().replace("_", "-")
    meant = [plain, _OTHER_COMMANDS.get(plain, plain)]
    near = formatting.close(plain, here, 1) if group and plain not in here else []
    found = [f"{path} {one}" for one in (*meant, *near) if one in here]
    found += [f"sdxl-train {one}" for one in meant if one.startswith("-") or one.split()[0] in groups]
    found += [f"sdxl-train {each} {one}" for one in meant for each, below in groups.items() if one in below]
    if not found:
        near = formatting.close(plain, here) or formatting.close(plain, () if group else _MISSPELLED, 1)
        found = [f"{path} {_OTHER_COMMANDS.get(one, one)}" for one in near]
    return Problem(message, _or(found) or f"`{path} --help` lists the commands")


def extra_words(words: Sequence[str], context: Any) -> Problem:  # noqa: ANN401 - click's, or typer's own copy's
    """The problem of words that belong to no option."""
    path, names = context.command_path, _params(context)
    shown = formatting.shell_word(words[0])
    message = f"'{formatting.cut(words[0])}' belongs to no option"
    row = other_names.find(words[0].partition("=")[0])
    if "=" in words[0] and "--set" in names:
        return Problem(message, f"{path} --set {shown}")
    if row is not None and f"--{words[0]}" in names:
        return Problem(message, f"an option begins with two dashes: {path} --{words[0]}")
    if "--kind" in names and words[0] in set(Kind):
        return Problem(message, f"{path} --kind {words[0]}")
    if "--data" in names and "--model" in names:
        return Problem(message, f"pictures are given with --data, the base with --model: {path} --data {shown}")
    if "--output" in names and files.is_folder(words[0]):
        return Problem(message, f"{path} --output {shown}")
    quotes = "text with spaces needs quotes; " if len(words) > 1 else ""
    return Problem(message, f"{quotes}`{path} --help` shows what it takes")


def explain(error: Any, typed: Sequence[str], groups: Groups) -> Problem:  # noqa: ANN401 - as above
    """The problem for an error of click, or of typer's own copy of it."""
    context = error.ctx
    path = "sdxl-train" if context is None else context.command_path
    if hasattr(error, "possibilities"):
        return _unknown_option(error.option_name, typed, context, groups)
    if hasattr(error, "option_name"):
        return _without_value(error.option_name, typed, context)
    param = getattr(error, "param", None)
    if param is not None and not error.message:
        name = param.metavar or param.name if param.param_type_name == "argument" else param.opts[0]
        what = f": {param.help[0].lower()}{param.help[1:]}" if param.help else ""
        return Problem(f"{name} is missing{what}", _line(context, param))
    where = "" if param is None else f"{param.opts[0]}: "
    return Problem(f"{where}{visible.line(error.message)}", f"`{path} --help` shows what it takes")


def _unknown_option(name: str, typed: Sequence[str], context: Any, groups: Groups) -> Problem:  # noqa: ANN401
    word, value = _typed(name, typed)
    message = f"no option {formatting.cut(word)}"
    path = context.command_path
    if path in {"sdxl-train", *(f"sdxl-train {group}" for group, below in groups.items() if below)}:
        command = next((each for each in typed if each in _below(path, groups)), None)
        if command is not None:
            shown = word if value is None else f"{word} {formatting.shell_word(value.removesuffix(f' {command}'))}"
            return Problem(message, f"options stand after the command: {path} {command} {shown}")
        return Problem(
            message, f"options stand after the command: {path} COMMAND {word}; `{path} --help` lists commands"
        )
    names = _params(context)
    answer = _answer(other_names.plain(word), value, context, names)
    return Problem(message, answer or f"`{path} --help` lists the options")


def _answer(plain: str, value: str | None, context: Any, names: Mapping[str, Any]) -> str | None:  # noqa: ANN401
    """The option of this command that is meant, or `--set`. None where none is."""
    row = other_names.find(plain)
    option, given = (plain, value) if row is None else row.setting(value or "VALUE") or ("", value)
    flag = f"--{plain.replace('_', '-')}"
    if row is not None and row.flag is not None and row.flag in names:
        return row.flags(value or names[row.flag].metavar or "")
    begun = [one for one in names if one.startswith(f"{flag}-")]
    for one in (flag, train_options.FLAGS.get(option, ""), *(begun if len(begun) == 1 else ())):
        if one in names:
            return _flagged(one, given, names)
    if "--set" not in names:
        return formatting.did_you_mean(formatting.close(flag, names, 2))
    known, owner = _options(str(context.command.name))
    if row is None and owner(plain) in known:
        option, given = str(owner(plain)), f"{plain}={value or 'VALUE'}"
    why = row.why if row is not None else value_rules.OWNED.get(option, "")
    if option in known and option not in value_rules.OWNED:
        return f"--set {_setting(known[option], given)}" + (f" ({why})" if why else "")
    if why:
        return why
    settings = [f"--set {one}=..." for one in formatting.close(plain, known, 2)]
    return formatting.did_you_mean(formatting.close(flag, names, 2) or settings)


def _without_value(name: str, typed: Sequence[str], context: Any) -> Problem:  # noqa: ANN401 - as above
    """An option at the end of the line, or a switch with a value."""
    word = next((word for word in typed if word.partition("=")[0].replace("_", "-") == name and "=" in word), None)
    names = _params(context)
    if word is not None or name not in names:
        return Problem(f"{name} is a switch and takes no value", f"{context.command_path} {name}")
    return Problem(f"{name} needs a value", _line(context, names[name]))


def _typed(name: str, typed: Sequence[str]) -> tuple[str, str | None]:
    """The option as it was typed, and its value. None without one."""
    for at, word in enumerate(typed):
        head, equals, value = word.partition("=")
        is_it = head.replace("_", "-") == name or (len(name) == 2 and re.match(r"-[a-z]*" + re.escape(name[1]), head))  # noqa: PLR2004
        if is_it and (head.startswith("--") or not name.startswith("--")):
            more: list[str] = []
            for other in typed[at + 1 :]:
                if other.startswith("-") and not _NUMBER.fullmatch(other):
                    break
                more.append(other)
            return head, value if equals else " ".join(more) or None
    return name, None


def _flagged(flag: str, value: str | None, names: Mapping[str, Any]) -> str:
    """A flag of the command with the value that was typed."""
    if names[flag].is_flag:
        return flag
    return f"{flag} {formatting.shell_word(value or names[flag].metavar)}"


def _line(context: Any, param: Any) -> str:  # noqa: ANN401 - as above
    """The command with the arguments that it must have, and this option if it is one."""
    needed = [one for one in context.command.params if one.param_type_name == "argument" and one.required]
    words = [one.metavar or str(one.name) for one in needed]
    own = param.metavar or str(param.name)
    if param.param_type_name != "argument":
        words.append(_usage(param))
    elif own not in words:
        words.append(own)
    return " ".join([context.command_path, *words])


def _usage(param: Any) -> str:  # noqa: ANN401 - click's, or typer's own copy's
    return f"{param.opts[0]} {param.metavar or 'VALUE'}"


def _setting(option: Option, value: str | None) -> str:
    if option.type == "switch":
        return f"{option.name}=true"
    return formatting.shell_word(f"{option.name}={value or 'VALUE'}")


def _below(path: str, groups: Groups) -> Sequence[str]:
    """The commands of a group, or all."""
    return groups[path.partition(" ")[2]] if " " in path else list(groups)


def _params(context: Any) -> dict[str, Any]:  # noqa: ANN401 - as above
    """The command's options by flag."""
    return {flag: param for param in context.command.params for flag in (*param.opts, *param.secondary_opts)}


def _options(command: str) -> tuple[dict[str, Option], Callable[[str], str | None]]:
    """The options of the installed sd-scripts that `--set` takes in this command, and which has a list with a key."""
    try:
        table = environment.option_table(workspace.home(None))
    except (SdxlTrainError, OSError):
        table = shipped.table()
    kinds = [kind for kind in Kind if kind.value == command] or list(Kind)
    found = {name: option for kind in kinds for name, option in table.of(kind).items()}
    return found, lambda key: options.list_with(key, table)


def _or(commands: Sequence[str]) -> str | None:
    return " or ".join(dict.fromkeys(commands)) or None
