"""Run sd-scripts' network trainer so that a resumed run counts on where its state was saved.

    python resumed.py --from STEP SCRIPT [args...]   run in the sd-scripts checkout, by the training environment
    python resumed.py --check                        only say whether it can: {"resumable": true, "reason": null}

STEP is the number of optimizer steps that the state holds; the script is given `--resume STATE --initial_step STEP
--skip_until_initial_step`. Unaided, v0.9.0 to v0.10.1 lose count: the step number restarts at what is left of the
first epoch (at 0 for a state of an epoch's end), so that step files overwrite older ones, the metadata tells too few
steps and the run ends too late; and with gradient accumulation they skip the wrong number of batches.

The trainer's source stays as it is on disk. Five assignments of `train` in train_network.py are replaced as it is
imported, each found by its shape; exit code 87 where one of them has moved.
"""

from __future__ import annotations

import ast
import importlib.abc
import importlib.machinery
import json
import runpy
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import CodeType, ModuleType

CANNOT_RESUME = 87
TRAINER = "train_network"

# The names are the trainer's own. An epoch has as many steps as its batches make, the last of them perhaps short.
EPOCH_STEPS = "math.ceil(len(train_dataloader) / args.gradient_accumulation_steps)"
CHANGES = {
    "global_step = 0": "global_step = {step}",
    "global_step = initial_step": "global_step = {step}",
    "epoch_to_start = ...": "epoch_to_start = {step} // " + EPOCH_STEPS,
    "initial_step *= ...": "initial_step = {step} % " + EPOCH_STEPS + " * args.gradient_accumulation_steps",
    "initial_step -= len(...)": "pass",
}
"""Shape of an assignment in `train`, and its replacement."""


class CannotResumeError(Exception):
    """This sd-scripts does not count steps in the known way."""


class _Counting(ast.NodeTransformer):
    """Replaces the assignments that restart the count."""

    def __init__(self, step: int) -> None:
        self.step = step
        self.found: Counter[str] = Counter()

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        return self._replaced(node, _shape(node))

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:
        if isinstance(node.op, ast.Mult):
            return self._replaced(node, f"{ast.unparse(node.target)} *= ...")
        takes_length = isinstance(node.op, ast.Sub) and isinstance(node.value, ast.Call)
        return self._replaced(node, f"{ast.unparse(node.target)} -= len(...)" if takes_length else "")

    def _replaced(self, node: ast.stmt, shape: str) -> ast.AST:
        if shape not in CHANGES:
            return node
        self.found[shape] += 1
        (new,) = ast.parse(CHANGES[shape].format(step=self.step)).body
        return ast.copy_location(ast.fix_missing_locations(ast.copy_location(new, node)), node)


def _shape(node: ast.Assign) -> str:
    target = ast.unparse(node.targets[0])
    if target == "epoch_to_start" and isinstance(node.value, ast.BinOp):
        return "epoch_to_start = ..."
    return f"{target} = {ast.unparse(node.value)}" if isinstance(node.value, ast.Constant | ast.Name) else ""


def counting(source: str, step: int) -> ast.Module:
    """The trainer's source with a corrected step count. CannotResumeError if it is not as expected."""
    tree = ast.parse(source)
    trains = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == "train"]
    if len(trains) != 1:
        raise CannotResumeError(f"{TRAINER}.py has {len(trains)} functions named train")
    changed = _Counting(step)
    changed.visit(trains[0])
    # The epoch's number is reckoned in both branches: with skipping and without.
    expected = Counter({**dict.fromkeys(CHANGES, 1), "epoch_to_start = ...": 2})
    if changed.found != expected:
        odd = sorted(shape for shape in CHANGES if changed.found[shape] != expected[shape])
        raise CannotResumeError(f"{TRAINER}.py counts its steps in another way: {', '.join(odd)}")
    return ast.fix_missing_locations(tree)


class _Loader(importlib.machinery.SourceFileLoader):
    """Compiles the trainer with a corrected step count. Nothing is cached."""

    def __init__(self, name: str, path: str, step: int) -> None:
        super().__init__(name, path)
        self._step = step

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        tree = counting(Path(path).read_text(encoding="utf-8"), self._step)
        return compile(tree, path, "exec", dont_inherit=True)


class _Finder(importlib.abc.MetaPathFinder):
    """Routes the trainer's import to the loader above."""

    def __init__(self, step: int) -> None:
        self._step = step

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, _target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != TRAINER:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path)
        if spec is not None and spec.origin is not None:
            spec.loader = _Loader(fullname, spec.origin, self._step)
        return spec


def check() -> int:
    """Print whether this sd-scripts can be resumed with a correct step count."""
    reason = None
    try:
        counting((Path.cwd() / f"{TRAINER}.py").read_text(encoding="utf-8"), step=1)
    except (CannotResumeError, OSError, SyntaxError, ValueError) as error:
        reason = str(error)
    print(json.dumps({"resumable": reason is None, "reason": reason}))
    return 0


def main(argv: list[str]) -> int:
    """Correct the step count, then run the script in this process."""
    if argv == ["--check"]:
        return check()
    if len(argv) < 3 or argv[0] != "--from" or not argv[1].isdecimal():  # noqa: PLR2004
        print("usage: resumed.py (--check | --from STEP SCRIPT [args...])", file=sys.stderr)
        return 2
    sys.path[0] = str(Path.cwd())  # where SCRIPT's own folder would stand if it were run directly
    sys.meta_path.insert(0, _Finder(int(argv[1])))
    sys.argv = argv[2:]
    try:
        runpy.run_path(argv[2], run_name="__main__")
    except CannotResumeError as error:
        print(error, file=sys.stderr)
        return CANNOT_RESUME
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
