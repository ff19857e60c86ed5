"""Import a script that calls sdxl_train_network.py or sdxl_train.py: of sh, cmd, PowerShell, Python, or a notebook."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from sdxl_train_cli.errors import Problem, RecipeError
from sdxl_train_cli.importers import (
    option_translation,
    python_code,
    script_reading,
    script_variables,
    toml_config,
    values,
)
from sdxl_train_cli.importers.foreign_settings import (
    NOT_IMPORTED,
    ForeignKey,
    ForeignSettings,
    became,
    ignored,
    unknown,
)
from sdxl_train_cli.importers.python_code import PythonFindings
from sdxl_train_cli.importers.script_lines import WrittenFile
from sdxl_train_cli.importers.script_reading import OTHER_SCRIPT, SCRIPT, FollowedScript, TrainerCall
from sdxl_train_cli.sdscripts import shipped

FORMAT = "command line"
_CONDITION = re.compile(r"(?i)[\s}]*(?:el(?:se)?)?if\b(.{1,80})")
_THEN = re.compile(r"[;\s]*(?:then|\{)\s*$")
_NAMED_LATER = re.compile(r"(?m)^[^#\n]*\blaunch\b[^\n]*(?:[$%!{]\w+[}%!]?(?:\.py)?\b)")
"""A launch of a script whose name stands in a variable."""
_ENDS = frozenset({";", "&&", "||", "|", "&", ">", ">>", "<", "2>&1", "2>", "*>&1", "C-m", "Enter", "}", ")"})
_TRAINERS = "SDXL is trained by sdxl_train_network.py and sdxl_train.py"
_LAUNCH = "sdxl-train launches the trainer itself; several GPUs are given by --gpus"
_MOST_CALLS = 100
"""Calls reported, one row each."""
_LONGEST = 64 * 1024
"""Characters of one command line. The longest that any system accepts is half of it."""
_FAILED = re.compile(r"Traceback \(most recent call last\)|^steps: *\d+%", re.MULTILINE)


def is_one(text: str) -> bool:
    """Whether the text calls a training script."""
    return bool(SCRIPT.search(text) or OTHER_SCRIPT.search(text) or _NAMED_LATER.search(text))


def read(text: str, shown: str) -> ForeignSettings:
    """The options of the first call in the text. RecipeError if none is for SDXL."""
    found = python_code.find(text)
    followed = FollowedScript() if found is None else _of_python(found, shown)
    if not followed.calls:
        followed = _followed(text, shown) if found is None or not followed.written else followed
    if not followed.calls and not followed.written:
        raise RecipeError(_no_call(text, shown, followed.other_script))
    if not followed.calls:
        if SCRIPT.search(text) is None and (other := _of_another_model(text)) is not None:
            raise RecipeError(Problem(f"calls {other}, which does not train SDXL", _TRAINERS, shown))
        entries = [entry for file in followed.written for entry in _settings(file, shown)]
        is_network = "sdxl_train_network.py" in text or any(entry.key == "network_module" for entry in entries)
        return ForeignSettings(FORMAT, not is_network, tuple(entries))
    return _of_call(followed, text, shown)


def _of_another_model(text: str) -> str | None:
    """A script of another model that the text calls; None if it calls none, or one that is named as of SDXL."""
    names = [match[0] for match in OTHER_SCRIPT.finditer(text)]
    return None if any("xl" in name.lower() for name in names) else next(iter(names), None)


def _no_call(text: str, shown: str, called: str) -> Problem:
    if _FAILED.search(text):
        return Problem("is a log of a training, which names no settings", "sdxl-train runs explain FILE", shown)
    if called and SCRIPT.search(text):
        return Problem(f"calls {called} as it stands, which does not train SDXL", _chosen(text), shown)
    other = None if SCRIPT.search(text) else OTHER_SCRIPT.search(text)
    if other is not None and "textual_inversion" in other[0]:
        return Problem("trains a textual inversion", NOT_IMPORTED, shown)
    if other is not None:
        what = f"calls {other[0]}, which does not train SDXL"
    elif SCRIPT.search(text) is not None:
        what = "names the trainer, but holds no call of it with options"
    else:
        what = "does not call a training script"
    return Problem(what, _TRAINERS, shown)


def _chosen(text: str) -> str:
    """Where the script chooses SDXL's trainer."""
    lines = text.split("\n")
    at = next((at for at, line in enumerate(lines) if SCRIPT.search(line)), 0)
    above = ((number, _CONDITION.match(lines[number])) for number in range(at, max(-1, at - 5), -1))
    found = next(((number, match[1]) for number, match in above if match is not None), None)
    if found is None:
        return "make it call sdxl_train_network.py or sdxl_train.py, and import it again"
    return (
        f"line {found[0] + 1} chooses SDXL's script if {_THEN.sub('', found[1]).strip()}: set that, and import it again"
    )


def _followed(text: str, shown: str) -> FollowedScript:
    if any(len(line) > _LONGEST and SCRIPT.search(line) for line in text.split("\n")):
        raise RecipeError(_too_long(shown))
    try:
        return script_reading.follow(text)
    except ValueError as error:
        raise RecipeError(Problem(str(error), None, shown)) from error


def _too_long(shown: str) -> Problem:
    return Problem("holds a command line longer than any system accepts", None, shown)


def _of_call(followed: FollowedScript, text: str, shown: str) -> ForeignSettings:
    call, *more = followed.calls
    if sum(len(word) + 1 for word in call.words) > _LONGEST:
        raise RecipeError(_too_long(shown))
    place = next(place for place, word in enumerate(call.words) if SCRIPT.search(f" {word}"))
    is_full = call.words[place].endswith("sdxl_train.py")
    given = _until_end(call.words[place + 1 :])
    own = [_told(entry, text, call, followed) for entry in flags(given)]
    name = next((entry.shown for entry in own if entry.key == "--config_file"), None)
    written = _written(followed.written, name)
    entries = [
        *(ignored(key, value, _LAUNCH) for key, value in _launch(call.words[:place])),
        *(() if written is None else _settings(written, shown)),
        *(own if written is None else [_read_here(entry) for entry in own]),
        *(ignored(f"call {number}", other.text.strip()[:200], "a further call: only the first is imported")
          for number, other in enumerate(more[:_MOST_CALLS], 2)),
    ]  # fmt: skip
    return ForeignSettings(FORMAT, is_full, tuple(entries))


def _told(entry: ForeignKey, text: str, call: TrainerCall, followed: FollowedScript) -> ForeignKey:
    """The entry with the line of a variable that is not known."""
    if not script_variables.is_unknown(entry.shown) or entry.option is not None:
        return entry
    names = [name for groups in re.findall(r"\$\{?(\w+)|%~?(\w+)%?|\{(\w+)", entry.shown) for name in groups if name]
    doubtful = next((followed.variables.doubtful[name] for name in names if name in followed.variables.doubtful), None)
    if doubtful is not None:
        return replace(entry, note=f"line {doubtful} sets it under a condition that is not known here")
    lines = text.split("\n")
    flag = entry.key.partition(" ")[0]
    at = next((at for at in range(call.number - 1, len(lines)) if flag in lines[at]), call.number - 1)
    return replace(entry, note=f"line {at + 1}: {entry.note}")


def _written(files: Sequence[WrittenFile], name: str | None) -> WrittenFile | None:
    """The settings file that the script itself writes before it names it."""
    if name is None:
        return None
    settings = [
        file for file in files if re.search(r"(?m)^\s*(?:network_module|learning_rate|optimizer_type)\s*=", file.text)
    ]
    same = [file for file in settings if file.target and _last(file.target) == _last(name)]
    return next(iter(same or (settings if len(settings) == 1 else [])), None)


def _last(path: str) -> str:
    return path.replace("\\", "/").rpartition("/")[2]


def _settings(file: WrittenFile, shown: str) -> tuple[ForeignKey, ...]:
    text = re.sub(r"(?m)(=\s*)([$%{][\w${}%:-]*)\s*$", r'\1"\2"', file.text)
    return tuple(map(_certain, toml_config.entries_of_text(text, shown)))


def _certain(entry: ForeignKey) -> ForeignKey:
    """The entry without a value that is only known when the script runs."""
    if entry.option is None or entry.option in option_translation.STAYS or not script_variables.is_unknown(entry.shown):
        return entry
    return unknown(entry.key, entry.shown, _NOT_SET)


def _read_here(entry: ForeignKey) -> ForeignKey:
    is_config = entry.key == "--config_file"
    return (
        ignored("--config_file (written by the script)", entry.shown, "its settings are read") if is_config else entry
    )


def _of_python(found: PythonFindings, shown: str) -> FollowedScript:
    """The calls and settings that stand in Python code, in the form of a script's."""
    followed = FollowedScript()
    for line, parts in found.lists:
        words = [str(part) for part in parts if not isinstance(part, list | dict)]
        if any(SCRIPT.search(f" {word}") for word in words[:-1]):
            followed.calls = [call for call in followed.calls if call.words != words[: len(call.words)]]
            followed.calls.append(TrainerCall(line, " ".join(words), words))
    for line, text in found.texts:
        if SCRIPT.search(text) and " --" in text and not followed.calls:
            followed.calls += [replace(call, number=line) for call in _followed(text, shown).calls]
    tables = [table for table in _whole(found.tables) if toml_config.is_training(table) and "datasets" not in table]
    followed.written += [WrittenFile("", toml_config.text_of(table)) for table in _united(tables)[-1:]]
    if followed.written and not any(word.startswith("--") for call in followed.calls for word in call.words):
        followed.calls = []
    return followed


def _whole(tables: Sequence[Mapping[object, object]]) -> list[Mapping[str, object]]:
    """Each table once, without those that are a part of another."""
    inner = {id(value) for table in tables for value in table.values()}
    once = {id(table): table for table in tables if id(table) not in inner}
    return [{str(key): value for key, value in table.items()} for table in once.values()]


def _united(tables: Sequence[Mapping[str, object]]) -> list[Mapping[str, object]]:
    """The tables, with those of sections as one: a notebook makes some in each cell and writes one file of all."""
    parts = [table for table in tables if all(isinstance(value, dict) for value in table.values())]
    whole = {name: section for table in parts for name, section in table.items()}
    is_one_file = len(parts) > 1 and len(whole) == sum(map(len, parts))
    return [*tables, whole] if is_one_file else sorted(tables, key=toml_config.size)


def flags(words: Sequence[str], prefix: str = "") -> Iterator[ForeignKey]:
    """Options set by words such as `--seed 1 --sdpa`. Words before the first flag belong to no option."""
    for flag, given in _grouped(words):
        key = f"{prefix}{flag}"
        name, equals, first = flag.removeprefix("--").partition("=")
        raw = [first, *given] if equals else given
        text = " ".join(raw)
        option = name.replace("-", "_")
        if not flag.startswith("--"):
            reason = _NOT_SET if script_variables.is_unknown(text) else "does not belong to an option"
            yield unknown(f"{prefix}{text[:40]}", text, reason)
            continue
        yield _entry(key.partition("=")[0], option, raw)


_NOT_SET = "is a variable whose value is not in the text"


def _entry(key: str, option: str, raw: Sequence[str]) -> ForeignKey:
    text = " ".join(raw)
    if any(script_variables.is_unknown(part) for part in raw):
        stays = option_translation.STAYS.get(option) if option != "config_file" else None
        return unknown(key, text, _NOT_SET) if stays is None else ignored(key, text, stays)
    try:
        value = values.convert(list(raw) if option in shipped.lists() else _one(raw), option)
    except ValueError as error:
        return unknown(key, text, str(error))
    return became(key, "true" if value is True and not raw else text, option, value)


def _one(raw: Sequence[str]) -> object:
    if not raw:
        return True
    if len(raw) > 1:
        raise ValueError("has more than one value")
    return raw[0]


def _grouped(words: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    flag, given = "", list[str]()
    for word in words:
        if word.startswith("--") and len(word) > len("--"):
            if flag or given:
                yield flag, given
            flag, given = word, []
        elif (given or "=" in flag) and script_variables.is_unknown(word) and re.fullmatch(r"[$%@]\{?\w+\S*", word):
            yield flag, given
            flag, given = "", [word]
        else:
            given.append(word)
    if flag or given:
        yield flag, given


def _until_end(words: Sequence[str]) -> list[str]:
    found = []
    for word in words:
        if word in _ENDS:
            break
        found.append(word.removesuffix(";"))
        if word.endswith(";"):
            break
    return [word for word in found if word]


def _launch(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Flags of accelerate and anything else before the script."""
    for flag, given in _grouped(words):
        if flag:
            name, _, value = flag.partition("=")
            yield f"accelerate {name}", " ".join([value, *given]).strip()
