"""Take a statement that sets a variable: of sh, cmd or PowerShell."""

from __future__ import annotations

import re

from sdxl_train_cli.importers.script_variables import Held, Variables, computed, flags_of

_SH = re.compile(
    r"(?:(?:export|local|readonly|typeset|declare(?:\s+-\w+)*)\s+)?(?P<name>[A-Za-z_]\w*)(?P<how>\+?=)(?P<value>.*)",
    re.DOTALL,
)
_BATCH = re.compile(r"(?is)@?set\s+(?P<sum>/a\s+)?(?P<quote>\"?)(?P<name>\w+)\s*=(?P<value>.*)")
_POWERSHELL = re.compile(
    r"(?:\[[\w.\[\]]+\]\s*)?\$(?:env:|script:|global:)?(?P<name>\w+)"
    r"(?:\[[\"']?(?P<key>\w+)[\"']?\])?\s*(?P<how>\+?=)(?!=)\s*(?P<value>.+)",
    re.IGNORECASE | re.DOTALL,
)
_ADDED = re.compile(
    r"(?:\[void\]\s*)?\$(?P<name>\w+)\.Add(?:Range)?\((?P<value>.*)\)(?:\s*\|.*)?", re.IGNORECASE | re.DOTALL
)
_PREFIX = re.compile(r"[A-Za-z_]\w*=(?:\"[^\"]*\"|'[^']*'|[^\s\"'()]+)\s+(?=\S)")
_PARTS = re.compile(r"\"(?:[^\"`\\]|[`\\].)*\"|'[^']*'|(?:[^\s,;\"']|=\"[^\"]*\"|='[^']*')+")
_ITEM = re.compile(r"[\"']?(?P<key>[\w-]+)[\"']?\s*=\s*(?P<value>\"[^\"]*\"|'[^']*'|[^;\n]+)")
_COMMENT = re.compile(r"\s#[^\"']*$")
_JOINED = re.compile(r"(?P<word>Join-Path|Resolve-Path)\s.+", re.IGNORECASE)
_SUM = re.compile(r"(?:\"[^\"]*\"|'[^']*'|\$[\w:.]+)(?:\s*\+\s*(?:\"[^\"]*\"|'[^']*'|\$[\w:.]+))+")
"""Texts and variables of PowerShell that are put together."""
_SUMMAND = re.compile(r"\"[^\"]*\"|'[^']*'|\$[\w:.]+")
_MOST_PARTS = 500


def assign(text: str, variables: Variables, number: int, *, is_certain: bool, table: str = "") -> bool:
    """Set what the statement sets, and say whether it sets anything.

    Where it is not certain that the statement is reached, a variable keeps what it has, and counts as doubtful.
    `table` is the one whose keys a loop goes through.
    """
    exported = re.match(r"(?:export|readonly|declare(?:\s+-\w+)*)\s+(?=\w+=)", text)
    if exported is not None:
        text = text[exported.end() :]
        while (more := _PREFIX.match(text)) is not None:
            assign(more[0].strip(), variables, number, is_certain=is_certain)
            text = text[more.end() :]
    added = _ADDED.fullmatch(text)
    found = (
        None
        if added is not None
        else (_of_batch(text, variables) or _of_powershell(text, variables) or _of_sh(text, variables))
    )
    if added is None and found is None:
        return False
    name, value, is_more = (
        (added["name"], _value(added["value"], variables), True) if added is not None else found or ("", "", False)
    )
    if not is_certain:
        variables.doubtful.setdefault(name, number)
        return True
    if is_more and table and isinstance(held := variables.get(table), dict):
        value = tuple(flags_of(held))
    variables.set(name, _more(variables.get(name), value) if is_more else value)
    return True


def without_prefix(text: str, variables: Variables) -> str:
    """A call without the variables that are set for it alone, which are set."""
    while (match := _PREFIX.match(text)) is not None:
        assign(match[0].strip(), variables, 0, is_certain=True)
        text = text[match.end() :]
    return text


def _of_batch(text: str, variables: Variables) -> tuple[str, Held, bool] | None:
    match = _BATCH.fullmatch(text)
    if match is None:
        return None
    value = match["value"].strip()
    if match["quote"]:
        value = value.partition('"')[0] if value.count('"') == 1 else value.removesuffix('"')
    value = variables.filled(value).replace('"', "").strip()
    if match["sum"]:
        value = computed(re.sub(r"[A-Za-z_]\w*", lambda name: str(variables.get(name[0]) or name[0]), value)) or value
    return match["name"], _not_itself(match["name"], value), False


def _of_powershell(text: str, variables: Variables) -> tuple[str, Held, bool] | None:
    match = _POWERSHELL.fullmatch(text)
    if match is None:
        return None
    value = _value(match["value"].strip().rstrip(","), variables)
    if match["key"]:
        held = variables.get(match["name"])
        return match["name"], {**(held if isinstance(held, dict) else {}), match["key"]: str(value)}, False
    return match["name"], value, match["how"] == "+="


def _of_sh(text: str, variables: Variables) -> tuple[str, Held, bool] | None:
    match = _SH.fullmatch(text)
    if match is None or _PREFIX.match(text) is not None:
        return None
    value = match["value"]
    if value.startswith("("):
        return match["name"], _array(value, variables), match["how"] == "+="
    plain = _COMMENT.sub("", value).strip()
    return match["name"], _not_itself(match["name"], _text(plain, variables)), match["how"] == "+="


def _value(text: str, variables: Variables) -> Held:
    """A value of PowerShell."""
    text = _COMMENT.sub("", text).strip()
    if text.startswith("@{"):
        items = (match for match in _ITEM.finditer(text[2:-1]))
        return {match["key"]: _text(match["value"].strip(), variables) for match in items}
    if re.fullmatch(r"\[[\w.]+\]::new\(\)|@\(\)|New-Object .*", text):
        return ()
    if text.startswith("@(") or re.fullmatch(r"(?:\"[^\"]*\"|'[^']*')(?:\s*,\s*(?:\"[^\"]*\"|'[^']*'))+", text):
        return _array(text, variables)
    whole = re.fullmatch(r"\$(\w+)", text)
    held = None if whole is None else variables.get(whole[1])
    if isinstance(held, tuple | dict):
        return held
    if text.lower() in {"$true", "$false", "$null"}:
        return "" if text.lower() == "$null" else text[1:].lower()
    if _JOINED.fullmatch(text):
        text = f"({text})"
    is_sum = _SUM.fullmatch(text) and ("'" in text or '"' in text)
    filled = "".join(_text(part, variables) for part in _SUMMAND.findall(text)) if is_sum else _text(text, variables)
    return computed(filled) or filled if re.search(r"\s[-+*/]\s", text) else filled


def _text(text: str, variables: Variables) -> str:
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" and text[0] not in text[1:-1]:
        return text[1:-1] if text[0] == "'" else variables.filled(variables.with_paths(text[1:-1]))
    return variables.filled(
        variables.with_paths(text).replace('\\"', "\0").replace('"', "").replace("\0", '"').strip("'")
    )


def _array(text: str, variables: Variables) -> tuple[str, ...]:
    inner = text.lstrip("@").strip().removeprefix("(").removesuffix(")")
    found: list[str] = []
    for match in list(_PARTS.finditer(inner))[:_MOST_PARTS]:
        found += (
            variables.words(match[0])
            if match[0][0] in '$@"' and re.fullmatch(r"[\"@$\w{}\[\]*]+", match[0])
            else [_text(match[0], variables)]
        )
    return tuple(found)


def _more(held: Held | None, value: Held) -> Held:
    if isinstance(held, tuple):
        return (*held, *value)[:_MOST_PARTS] if isinstance(value, tuple) else (*held, str(value))[:_MOST_PARTS]
    if isinstance(value, tuple):
        return value if not held else (str(held), *value)
    return f"{held or ''}{value}"


def _not_itself(name: str, value: str) -> str:
    """The value without a variable's own name, which was not set before."""
    return re.sub(rf"\$\{{{name}\}}|\${name}\b|%{name}%|!{name}!", "", value, flags=re.IGNORECASE)
