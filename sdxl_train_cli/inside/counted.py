"""Run sd-scripts' full training script so that a run resumed from one of its states counts on where that was saved.

    python counted.py --from STEP SCRIPT [args...]  run in the sd-scripts checkout, by the training environment's Python
    python counted.py --check                       only say whether it can: {"resumable": true, "reason": null}

STEP is 0 for a new run, else the number of optimizer steps in the state that the script is given with `--resume`.
SCRIPT may be another script of this folder, such as scaled.py, that runs sdxl_train.py in the end.

Unaided, v0.10.1 and v0.11.1 restore weights, optimizer, schedule and random numbers, and then begin again with step 0
of epoch 1: files of the first steps are overwritten, pictures come in another order, and the run ends too late. Here
each state gets two more files: train_state.json, as the network trainer writes it, and epoch_state.json, with the
random states at the start of its epoch and the losses so far. A resumed run draws the epoch's order from these random
states, fetches the batches before the state and drops them, and then goes on with the random numbers of the state.

The trainer's source stays as it is on disk. Statements of `train` in sdxl_train.py are replaced as it is run, each
found by its shape; exit code 87 where one has moved. Also relied upon: RELIED_UPON, and accelerate's
register_save_state_pre_hook.
"""

from __future__ import annotations

import ast
import base64
import functools
import importlib.machinery
import json
import math
import random
import re
import runpy
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

CANNOT_RESUME = 87
TRAINER = "sdxl_train.py"
COUNT, EPOCH = "train_state.json", "epoch_state.json"

STATEMENTS = {
    "current_step = Value('i', 0)": (r"current_step = Value\('i', 0\)", r"current_step = Value('i', count.step)"),
    "resume_from_local_or_hf_if_specified(accelerator, args)": (
        r"(?P<load>\w+\.resume_from_local_or_hf_if_specified)\(accelerator, args\)",
        r"count.resume(accelerator, args, \g<load>)",
    ),
    "num_update_steps_per_epoch = ...": (r"num_update_steps_per_epoch = .+", r"count.resume_groups(); \g<0>"),
    "progress_bar = tqdm(range(args.max_train_steps), ...)": (
        r"progress_bar = tqdm\(range\(args\.max_train_steps\), (?P<more>.+)\)",
        r"progress_bar = tqdm(range(args.max_train_steps - count.step), \g<more>)",
    ),
    "global_step = 0": (r"global_step = 0", r"global_step = count.step"),
    "sample_images(accelerator, args, 0, ...)": (
        r"\w+\.sample_images\(accelerator, args, 0, .+\)",
        "if global_step == 0:\n    \\g<0>",
    ),
    "loss_recorder = LossRecorder()": (
        r"loss_recorder = (?P<made>\w+\.LossRecorder\(\))",
        r"loss_recorder = count.recorder(\g<made>)",
    ),
    "accelerator.backward(loss)": (r"accelerator\.backward\(loss\)", r"\g<0>; count.note_loss(epoch, step, loss)"),
    "global_step += 1": (r"global_step \+= 1", r"\g<0>; count.step = global_step"),
}
"""A statement in `train`: its shape, and its replacement. `count` is the Count below."""
LOOPS = {
    "for epoch in range(num_train_epochs)": "range(count.step // num_update_steps_per_epoch, num_train_epochs)",
    "for step, batch in enumerate(train_dataloader)": (
        "count.batches(train_dataloader, epoch, args.gradient_accumulation_steps)"
    ),
}
"""Head of a loop in `train`, and what it goes over instead."""
RELIED_UPON = ("class LossRecorder", "loss_list", "loss_total", "def set_current_epoch")
"""Words of the library, in whichever module: v0.11.0 has moved them all."""


class CannotResumeError(Exception):
    """This sd-scripts does not count steps in the known way."""


class _Counting(ast.NodeTransformer):
    """Replaces the statements that count, save and fetch."""

    def __init__(self) -> None:
        self.found: Counter[str] = Counter()

    def visit(self, node: ast.AST) -> Any:  # noqa: ANN401  a node, or several
        if isinstance(node, ast.For):
            head = f"for {ast.unparse(node.target)} in {ast.unparse(node.iter)}".replace("(step, batch)", "step, batch")
            if head in LOOPS:
                self.found[head] += 1
                node.iter = _placed(ast.parse(LOOPS[head], mode="eval").body, node.iter)
        if not isinstance(node, ast.Assign | ast.AugAssign | ast.Expr):
            return self.generic_visit(node)
        text = ast.unparse(node)
        for name, (shape, new) in STATEMENTS.items():
            match = re.fullmatch(shape, text)
            if match:
                self.found[name] += 1
                return [_placed(each, node) for each in ast.parse(match.expand(new)).body]
        return node


def _placed(new: Any, old: ast.AST) -> Any:  # noqa: ANN401  any node
    """A node with all its parts on the line of the old one, for tracebacks."""
    for part in ast.walk(new):
        ast.copy_location(part, old)
    return new


def counting(source: str) -> ast.Module:
    """The trainer's source with its count corrected. CannotResumeError if it is not as expected."""
    tree = ast.parse(source)
    trains = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "train"]
    if len(trains) != 1:
        raise CannotResumeError(f"{TRAINER} has {len(trains)} functions named train")
    changed = _Counting()
    changed.visit(trains[0])
    odd = [name for name in (*STATEMENTS, *LOOPS) if changed.found[name] != 1]
    if odd:
        raise CannotResumeError(f"{TRAINER} counts its steps in another way: {', '.join(odd)}")
    return ast.fix_missing_locations(tree)


class _Loader(importlib.machinery.SourceFileLoader):
    """Compiles the trainer with its count corrected. Nothing is cached."""

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        return compile(counting(Path(path).read_text(encoding="utf-8")), path, "exec", dont_inherit=True)


@dataclass(frozen=True)
class EpochState:
    """How far an epoch was when a state was saved."""

    batches: int
    """Of the whole epoch."""
    began: dict[str, Any]
    """The random states at its start."""
    losses: list[float]
    total: float


class Count:
    """The count of steps, from the first of this process to the last."""

    def __init__(self, step: int) -> None:
        self.step = step
        self._resumed = step
        """Steps in the state, until the first epoch has begun."""
        self._saved: EpochState | None = None
        self._load: Callable[[], None] | None = None
        self._recorder: Any = None
        self._unrecorded: tuple[int, int, Any] | None = None
        """Epoch, number of batch and loss, between its backward pass and the recorder: states are saved meanwhile."""
        self._epoch = self._batches = 0
        self._began: dict[str, Any] = {}

    def resume(self, accelerator: Any, args: Any, load: Callable[..., None]) -> None:  # noqa: ANN401  sd-scripts' own
        """Load the state, if one is given, and have each one that is saved say how far it is."""
        if self.step and self.step >= args.max_train_steps:
            raise ValueError(f"the state has made {self.step} steps, and max_train_steps is {args.max_train_steps}")
        accelerator.register_save_state_pre_hook(self._save)
        self._saved = _epoch_state(Path(args.resume)) if self.step else None
        self._load = functools.partial(load, accelerator, args)
        if not args.fused_optimizer_groups:
            self.resume_groups()

    def resume_groups(self) -> None:
        """Load the state if that is left to do: of fused groups, accelerate knows all but the first late."""
        if self._load is not None:
            self._load()
        self._load = None

    def recorder(self, made: Any) -> Any:  # noqa: ANN401  sd-scripts' LossRecorder
        """Let the mean loss go on, and know what has been recorded."""
        add = made.add

        def added(**named: Any) -> None:  # noqa: ANN401
            self._unrecorded = None
            add(**named)

        if self._saved is not None:
            made.loss_list, made.loss_total = list(self._saved.losses), self._saved.total
        made.add = added
        self._recorder = made
        return made

    def note_loss(self, epoch: int, batch: int, loss: Any) -> None:  # noqa: ANN401  a tensor
        """Keep a batch's loss until it is recorded."""
        self._unrecorded = (epoch, batch, loss.detach())

    def batches(self, loader: Any, epoch: int, parts: int) -> Iterator[tuple[int, Any]]:  # noqa: ANN401  accelerate's
        """Yield an epoch's batches with their numbers. The first epoch begins where the state was saved."""
        dropped = self._resumed % math.ceil(len(loader) / parts) * parts
        after = began = random_states()
        if self._resumed:
            _advance(loader, epoch)
        if dropped and self._saved is not None and self._saved.batches == len(loader):
            began = self._saved.began
        elif dropped:
            print("counted.py: the state does not tell the epoch's order of pictures; it is drawn anew", flush=True)
        self._resumed = 0
        set_random_states(began)
        self._epoch, self._batches, self._began = epoch, len(loader), began
        for number, batch in enumerate(loader):
            if number >= dropped:
                yield number, batch
            elif number == dropped - 1:  # accelerate has fetched the next one too, as when the state was saved
                set_random_states(after)

    def _save(self, _models: object, _weights: object, folder: str) -> None:
        """Write our two files into a state that is being saved."""
        losses, total = list(self._recorder.loss_list), self._recorder.loss_total
        if self._unrecorded is not None:
            epoch, batch, loss = self._unrecorded
            losses, total = _recorded(losses, total, epoch, batch, loss.item())
        state = {"batches": self._batches, "began": as_json(self._began), "losses": losses, "total": total}
        Path(folder, EPOCH).write_text(json.dumps(state), encoding="utf-8")
        count = {"current_epoch": self._epoch + 1, "current_step": self.step}
        Path(folder, COUNT).write_text(json.dumps(count), encoding="utf-8")


def _recorded(losses: list[float], total: float, epoch: int, batch: int, loss: float) -> tuple[list[float], float]:
    """What the recorder will hold once it has the loss: one for each batch of an epoch, the newest."""
    if epoch == 0:
        return [*losses, loss], total + loss
    losses += [0.0] * (batch + 1 - len(losses))
    total -= losses[batch]
    losses[batch] = loss
    return losses, total + loss


def _epoch_state(folder: Path) -> EpochState | None:
    """What a state tells of its epoch. None if it was saved without this script, or can't be read."""
    try:
        found = json.loads((folder / EPOCH).read_text(encoding="utf-8"))
        losses = [float(loss) for loss in found["losses"]]
        return EpochState(int(found["batches"]), from_json(found["began"]), losses, float(found["total"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _advance(loader: Any, epoch: int) -> None:  # noqa: ANN401  accelerate's
    """Bring a resumed run's pictures to where the epochs before, counted from 0, would have left them."""
    plain = getattr(loader, "base_dataloader", loader)
    if plain.num_workers == 0 or plain.persistent_workers:  # other workers start each epoch from the first one's order
        plain.dataset.set_current_epoch(epoch)
    if epoch and plain.persistent_workers:
        # Such workers draw their seed once, in the first epoch: this one must leave the order's random numbers alone.
        plain.generator = sys.modules["torch"].Generator()


def random_states() -> dict[str, Any]:
    """The random states of what the trainer has imported. Those of the GPU have no part in fetching."""
    states: dict[str, Any] = {"python": random.getstate()}
    if numpy := sys.modules.get("numpy"):
        states["numpy"] = numpy.random.get_state()
    if torch := sys.modules.get("torch"):
        states["torch"] = torch.get_rng_state()
    return states


def set_random_states(states: dict[str, Any]) -> None:
    """Go on with these random numbers."""
    random.setstate(states["python"])
    if "numpy" in states:
        sys.modules["numpy"].random.set_state(states["numpy"])
    if "torch" in states:
        sys.modules["torch"].set_rng_state(states["torch"])


def as_json(states: dict[str, Any]) -> dict[str, Any]:
    """Random states as they are written."""
    written = dict(states)
    if "numpy" in states:
        name, keys, *rest = states["numpy"]
        written["numpy"] = [name, [int(key) for key in keys], *rest]  # numpy's own, or a list that was read
    if "torch" in states:
        written["torch"] = base64.b64encode(bytes(states["torch"].tolist())).decode()
    return written


def from_json(written: dict[str, Any]) -> dict[str, Any]:
    """Random states as they were before they were written."""
    version, keys, gauss = written["python"]
    states: dict[str, Any] = {"python": (version, tuple(keys), gauss)}
    if "numpy" in written:
        states["numpy"] = tuple(written["numpy"])
    if "torch" in written:
        torch = sys.modules["torch"]
        states["torch"] = torch.tensor(list(base64.b64decode(written["torch"])), dtype=torch.uint8)
    return states


def run_trainer(path: str, step: int) -> None:
    """Become the trainer, with its count corrected."""
    ours, trainer = sys.modules["__main__"], ModuleType("__main__")
    trainer.__file__ = path  # without a spec, as runpy leaves it: workers that are spawned look here
    vars(trainer)["count"] = Count(step)
    sys.modules["__main__"] = trainer
    try:
        _Loader("__main__", path).exec_module(trainer)
    finally:
        sys.modules["__main__"] = ours


def require_library(checkout: Path) -> None:
    """CannotResumeError if the library lacks what is relied upon."""
    texts = [path.read_text(encoding="utf-8") for path in checkout.glob("library/*.py")]
    missing = [words for words in RELIED_UPON if not any(words in text for text in texts)]
    if missing:
        raise CannotResumeError(f"its library has no {', '.join(missing)}")


def check() -> int:
    """Print whether this sd-scripts can be resumed with a correct count."""
    reason = None
    try:
        counting((Path.cwd() / TRAINER).read_text(encoding="utf-8"))
        require_library(Path.cwd())
    except (CannotResumeError, OSError, SyntaxError, ValueError) as error:
        reason = str(error)
    print(json.dumps({"resumable": reason is None, "reason": reason}))
    return 0


def main(argv: list[str]) -> int:
    """Run the script in this process; what it runs as the trainer counts on."""
    if argv == ["--check"]:
        return check()
    if len(argv) < 3 or argv[0] != "--from" or not argv[1].isdecimal():  # noqa: PLR2004
        print("usage: counted.py (--check | --from STEP SCRIPT [args...])", file=sys.stderr)
        return 2
    sys.path[0] = str(Path.cwd())  # where SCRIPT's own folder would stand if it were run directly
    step, run_path = int(argv[1]), runpy.run_path

    def run(path: str, init_globals: dict[str, Any] | None = None, run_name: str | None = None) -> dict[str, Any]:
        if Path(path).name != TRAINER:
            return run_path(path, init_globals, run_name)
        run_trainer(path, step)
        return {}

    vars(runpy)["run_path"] = run  # the other scripts of this folder call it for theirs
    sys.argv = argv[2:]
    try:
        run(sys.argv[0], run_name="__main__")
    except CannotResumeError as error:
        print(error, file=sys.stderr)
        return CANNOT_RESUME
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
