"""Find a trainer's command line or settings in Python: launch scripts, notebooks, cells of Colab."""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from sdxl_train_cli.importers import python_calls, script_variables
from sdxl_train_cli.importers.python_calls import Unknown

_LONGEST = 512 * 1024
_LONGEST_TEXT = 64 * 1024
_MOST_PARTS = 5000
_SHELL = "__shell__"
_MAGIC = re.compile(r"^[ \t]*[!%]")
_WHOLE_CELL = re.compile(r"\s*%%(?:bash|sh|script bash|shell)\b.*\n")
_PYTHON = re.compile(r"(?m)^[ \t]*(?:import|from|def|class|with|try:|!|%)|\bsubprocess\b|^\w+ *= *[\[{\"'f\d(]")
_NAMES = {"True": True, "False": False, "None": None}


@dataclass
class PythonFindings:
    """What the code holds, after it has been followed to its end."""

    lists: list[tuple[int, list[object]]] = field(default_factory=list)
    """Lists and their lines."""
    texts: list[tuple[int, str]] = field(default_factory=list)
    """Texts and shell commands, and their lines."""
    tables: list[Mapping[object, object]] = field(default_factory=list)
    """Dictionaries."""


def cells(notebook: Mapping[str, object]) -> str:
    """The code of a notebook."""
    found = []
    listed = notebook.get("cells")
    for cell in listed if isinstance(listed, list) else []:
        if isinstance(cell, dict) and cell.get("cell_type") == "code":
            source = cell.get("source")
            text = "".join(map(str, source)) if isinstance(source, list) else str(source)
            found.append(f"!{_joined(text[match.end() :])}" if (match := _WHOLE_CELL.match(text)) else text)
    return "\n\n".join(found)


def _joined(text: str) -> str:
    """A cell of shell as one command: the last that has a continuation or calls Python."""
    lines = re.sub(r"\\[ \t]*\n", " ", text).split("\n")
    return next((line.strip() for line in reversed(lines) if ".py" in line), "true")


def find(text: str) -> PythonFindings | None:
    """What is in the code. None if the text is no Python."""
    if len(text) > _LONGEST or not _PYTHON.search(text):
        return None
    source, commands = _without_shell(textwrap.dedent(text.replace("\r\n", "\n")))
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    walk = _CodeWalk(commands)
    try:
        walk.follow(tree.body)
    except RecursionError:
        return None
    return walk.found


def _without_shell(text: str) -> tuple[str, list[str]]:
    """The code with each command of a shell as a call, and the commands."""
    lines, kept, commands = text.split("\n"), [], []
    place = 0
    while place < len(lines):
        line = lines[place]
        place += 1
        if not _MAGIC.match(line):
            kept.append(line)
            continue
        command, extra = line.strip(), 0
        while command.endswith("\\") and place < len(lines):
            command, place, extra = f"{command[:-1].rstrip()} {lines[place].strip()}", place + 1, extra + 1
        indent = line[: len(line) - len(line.lstrip())]
        commands.append(command.lstrip("!"))
        kept += [
            f"{indent}{_SHELL}({len(commands) - 1})" if command.startswith("!") else f"{indent}pass",
            *[""] * extra,
        ]
    return "\n".join(kept), commands


class _CodeWalk:
    """The statements in their order, with the values of names."""

    def __init__(self, commands: list[str]) -> None:
        self.found = PythonFindings()
        self._commands = commands
        self._names: dict[str, object] = {}

    def follow(self, body: list[ast.stmt]) -> None:
        for statement in body:
            self._statement(statement)

    def _statement(self, node: ast.stmt) -> None:
        if isinstance(node, ast.Assign) or (isinstance(node, ast.AnnAssign) and node.value is not None):
            value = self._value(node.value)  # type: ignore[arg-type]
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                self._set(target, value)
        elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            self._add(node.target.id, self._value(node.value))
        elif isinstance(node, ast.Expr):
            self._expression(node.value)
        elif isinstance(node, ast.If):
            self._branch(node)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            names = [argument.arg for argument in node.args.args][-len(node.args.defaults) or None :]
            defaults = map(self._value, node.args.defaults)
            self._names |= dict(zip(names if node.args.defaults else [], defaults, strict=False))
            self.follow(node.body)
        else:
            for part in ("body", "orelse", "finalbody"):
                inner = getattr(node, part, None)
                self.follow(inner if isinstance(inner, list) else [])
            if isinstance(node, ast.Return) and node.value is not None:
                self._value(node.value)

    def _branch(self, node: ast.If) -> None:
        held = self._value(node.test)
        if isinstance(held, Unknown):
            held = _is_main(node.test)
        self.follow(node.body if held else node.orelse)

    def _set(self, target: ast.expr, value: object) -> None:
        if isinstance(target, ast.Name):
            self._names[target.id] = value
        elif isinstance(target, ast.Subscript):
            table, key = self._value(target.value), self._value(target.slice)
            if isinstance(table, dict) and isinstance(key, str) and len(table) < _MOST_PARTS:
                table[key] = value

    def _add(self, name: str, value: object) -> None:
        held = self._names.get(name)
        if isinstance(held, list) and isinstance(value, list):
            held += value[: max(0, _MOST_PARTS - len(held))]
        elif isinstance(held, str) and isinstance(value, str | Unknown):
            self._names[name] = self._text(f"{held}{value}", 0)

    def _expression(self, node: ast.expr) -> None:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == _SHELL:
            number = self._value(node.args[0])
            command = self._commands[number] if isinstance(number, int) else ""
            self.found.texts.append((node.lineno, self._filled(command)))
        elif (
            isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
            and isinstance(node.func.value, ast.Name) and node.func.attr in {"append", "extend", "update"} and node.args
        ):  # fmt: skip
            held, value = self._names.get(node.func.value.id), self._value(node.args[0])
            if isinstance(held, list) and len(held) < _MOST_PARTS:
                held += [value] if node.func.attr == "append" else value if isinstance(value, list) else []
            elif isinstance(held, dict) and isinstance(value, dict):
                held |= value
        else:
            self._value(node)

    def _filled(self, command: str) -> str:
        def value(match: re.Match[str]) -> str:
            name = match[1] or match[2]
            held = self._names.get(name, match[0])
            return " ".join(map(str, held)) if isinstance(held, list) else str(held)

        return re.sub(r"\{(\w+)\}|\$(\w+)", value, command)

    def _value(self, node: ast.expr) -> object:
        made = self._made(node)
        if isinstance(made, list):
            self.found.lists.append((node.lineno, made))
        elif isinstance(made, dict):
            self.found.tables.append(made)
        return made

    def _made(self, node: ast.expr) -> object:  # noqa: C901, PLR0911 - one line for each form of an expression
        if isinstance(node, ast.Constant):
            return self._text(node.value, node.lineno) if isinstance(node.value, str) else node.value
        if isinstance(node, ast.Name):
            return self._names.get(node.id, _NAMES.get(node.id, Unknown(node.id)))
        if isinstance(node, ast.JoinedStr):
            return self._text("".join(str(self._joined(part)) for part in node.values), node.lineno)
        if isinstance(node, ast.List | ast.Tuple | ast.Set):
            return list(self._parts(node.elts))
        if isinstance(node, ast.Dict):
            return {
                self._value(key): self._value(value)
                for key, value in zip(node.keys, node.values, strict=True)
                if isinstance(key, ast.Constant)
            }
        if isinstance(node, ast.BinOp):
            return self._sum(node)
        if isinstance(node, ast.BoolOp):
            return self._either(node)
        if isinstance(node, ast.IfExp):
            held = self._value(node.test)
            return held if isinstance(held, Unknown) else self._value(node.body if held else node.orelse)
        if isinstance(node, ast.UnaryOp):
            return self._turned(node)
        if isinstance(node, ast.Compare):
            return self._compared(node)
        if isinstance(node, ast.Call):
            return self._called(node)
        if isinstance(node, ast.Subscript):
            held, key = self._value(node.value), self._value(node.slice)
            return (
                held.get(key, Unknown(str(key))) if isinstance(held, dict) and isinstance(key, str) else Unknown("...")
            )
        return Unknown(_source(node))

    def _text(self, text: str, line: int) -> str:
        text = text[:_LONGEST_TEXT]
        if ".py" in text and line:
            self.found.texts.append((line, text))
        return text

    def _joined(self, node: ast.expr) -> object:
        if isinstance(node, ast.FormattedValue):
            return self._value(node.value)
        return node.value if isinstance(node, ast.Constant) else Unknown("...")

    def _parts(self, nodes: list[ast.expr]) -> Iterator[object]:
        for node in nodes[:_MOST_PARTS]:
            if isinstance(node, ast.Starred):
                held = self._value(node.value)
                yield from held if isinstance(held, list) else [held]
            else:
                yield self._value(node)

    def _sum(self, node: ast.BinOp) -> object:
        one, other = self._value(node.left), self._value(node.right)
        if isinstance(node.op, ast.Add) and isinstance(one, list) and isinstance(other, list):
            return (one + other)[:_MOST_PARTS]
        if isinstance(node.op, ast.Add) and isinstance(one, str | Unknown) and isinstance(other, str | Unknown):
            return self._text(f"{one}{other}", node.lineno)
        if isinstance(one, int | float) and isinstance(other, int | float):
            text = script_variables.computed(f"({one}){_SIGNS.get(type(node.op), '?')}({other})")
            found = None if text is None else float(text)
            return Unknown("...") if found is None else int(found) if found.is_integer() else found
        return Unknown(_source(node))

    def _either(self, node: ast.BoolOp) -> object:
        held: object = None
        for part in node.values:
            held = self._value(part)
            if isinstance(held, Unknown) or bool(held) is isinstance(node.op, ast.Or):
                return held
        return held

    def _turned(self, node: ast.UnaryOp) -> object:
        held = self._value(node.operand)
        if isinstance(held, Unknown):
            return held
        if isinstance(node.op, ast.Not):
            return not held
        return -held if isinstance(node.op, ast.USub) and isinstance(held, int | float) else Unknown(_source(node))

    def _compared(self, node: ast.Compare) -> object:
        one, other = self._value(node.left), self._value(node.comparators[0])
        if len(node.ops) > 1 or isinstance(one, Unknown) or isinstance(other, Unknown):
            return Unknown(_source(node))
        operation = node.ops[0]
        if isinstance(operation, ast.Eq | ast.Is):
            return one == other
        if isinstance(operation, ast.NotEq | ast.IsNot):
            return one != other
        if isinstance(operation, ast.In) and isinstance(other, list | dict | str) and isinstance(one, str):
            return one in other
        if isinstance(one, int | float) and isinstance(other, int | float):
            signs = {ast.Gt: one > other, ast.Lt: one < other, ast.GtE: one >= other, ast.LtE: one <= other}
            return signs.get(type(operation), Unknown(_source(node)))
        return Unknown(_source(node))

    def _called(self, node: ast.Call) -> object:
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        given = list(self._parts(node.args))
        for keyword in node.keywords:
            self._value(keyword.value)
        if name == "isinstance" and given:
            wanted = {getattr(part, "id", "") for part in ast.walk(node.args[-1])}
            return Unknown(name) if isinstance(given[0], Unknown) else type(given[0]).__name__ in wanted
        held = self._value(node.func.value) if isinstance(node.func, ast.Attribute) else None
        return python_calls.result(name, held, given, Unknown(_source(node)))


_SIGNS: Mapping[type[ast.operator], str] = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.FloorDiv: "//"}


def _is_main(test: ast.expr) -> bool:
    return isinstance(test, ast.Compare) and isinstance(test.left, ast.Name) and test.left.id == "__name__"


def _source(node: ast.expr) -> str:
    if not isinstance(node, ast.Call):
        return ast.unparse(node)[:40]
    return str(getattr(node.func, "attr", None) or getattr(node.func, "id", "..."))
