"""The full trainer's count: a run that goes on does as one that was never stopped; other sources are refused."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import sdxl_train_cli

SCRIPT = Path(sdxl_train_cli.__file__).with_name("inside") / "counted.py"
# A trainer that only counts and draws random numbers: its statements have the shapes of the real one's.
TRAINER = """
import json, math, random, sys, types
from multiprocessing import Value

import library.parts as parts_util

def tqdm(steps, desc):
    print(json.dumps({"bar": len(steps)}))

def train(args):
    random.seed(7)
    current_step = Value("i", 0)
    accelerator, train_dataloader = parts_util.Accelerator(), parts_util.Loader(args.pictures)
    parts_util.resume_from_local_or_hf_if_specified(accelerator, args)
    num_update_steps_per_epoch = math.ceil(len(train_dataloader) / args.gradient_accumulation_steps)
    num_train_epochs = math.ceil(args.max_train_steps / num_update_steps_per_epoch)
    progress_bar = tqdm(range(args.max_train_steps), desc="steps")
    global_step = 0
    parts_util.sample_images(accelerator, args, 0, global_step)
    loss_recorder = parts_util.LossRecorder()
    for epoch in range(num_train_epochs):
        for step, batch in enumerate(train_dataloader):
            current_step.value = global_step
            loss = parts_util.Loss(batch + random.random())
            accelerator.backward(loss)
            if (step + 1) % args.gradient_accumulation_steps == 0 or step + 1 == len(train_dataloader):
                global_step += 1
                accelerator.save_state(f"{args.output}/{global_step}")
            loss_recorder.add(epoch=epoch, step=step, loss=loss.item())
            mean = loss_recorder.loss_total / len(loss_recorder.loss_list)
            print(json.dumps({"epoch": epoch, "batch": step, "step": global_step, "loss": loss, "mean": mean}))
            if global_step >= args.max_train_steps:
                break

if __name__ == "__main__":
    train(types.SimpleNamespace(**json.loads(sys.argv[1])))
"""
LIBRARY = """
import json, os, random

import numpy

class Loss(float):
    def detach(self):
        return self
    def item(self):
        return float(self)

class LossRecorder:
    def __init__(self):
        self.loss_list, self.loss_total = [], 0.0
    def add(self, *, epoch, step, loss):
        if epoch == 0:
            self.loss_list.append(loss)
        else:
            self.loss_list += [0.0] * (step + 1 - len(self.loss_list))
            self.loss_total -= self.loss_list[step]
            self.loss_list[step] = loss
        self.loss_total += loss

class Pictures:
    # The order is shuffled once an epoch, from where the epochs before have left it.
    def __init__(self, count):
        self.current_epoch, self.order = 0, list(range(count))
    def set_current_epoch(self, epoch):
        while self.current_epoch < epoch:
            self.current_epoch += 1
            random.seed(self.current_epoch)
            random.shuffle(self.order)

class Loader:
    num_workers, persistent_workers = 0, False
    def __init__(self, count):
        self.dataset, self.count, self.epoch = Pictures(count), count, 0
    def __len__(self):
        return self.count
    def __iter__(self):
        numbers = random.sample(range(self.count), self.count)
        epoch = self.dataset.current_epoch + 1
        for number in numbers:
            picture = self.dataset.order[number]
            self.dataset.set_current_epoch(epoch)  # as upstream: once the epoch's first is fetched
            yield picture

class Accelerator:
    def __init__(self):
        self.hooks = []
    def register_save_state_pre_hook(self, hook):
        self.hooks.append(hook)
    def save_state(self, folder):
        os.makedirs(folder, exist_ok=True)
        for hook in self.hooks:
            hook([], [], folder)
        with open(f"{folder}/random.json", "w") as file:
            json.dump(random.getstate(), file)
    def backward(self, loss):
        pass

def resume_from_local_or_hf_if_specified(accelerator, args):
    if args.resume:
        with open(f"{args.resume}/random.json") as file:
            version, keys, gauss = json.load(file)
        random.setstate((version, tuple(keys), gauss))

def sample_images(accelerator, args, epoch, steps):
    print(json.dumps({"sampled at": steps}))
"""

NUMPY = """
class Keys(list):
    def tolist(self):
        return list(self)

class random:
    keys = [1, 2]
    @staticmethod
    def get_state():
        return ("MT19937", Keys(random.keys), 1, 0, 0.0)
    @staticmethod
    def set_state(state):
        random.keys = list(state[1])
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "parts.py").write_text(LIBRARY, encoding="utf-8")
    (tmp_path / "numpy.py").write_text(NUMPY, encoding="utf-8")
    (tmp_path / "sdxl_train.py").write_text(TRAINER, encoding="utf-8")
    return tmp_path


def counted(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(argv, cwd=folder, capture_output=True, encoding="utf-8", check=False)


def run(checkout: Path, start: int = 0, script: str = "sdxl_train.py", **changes: object) -> list[dict[str, float]]:
    """What a run of 14 steps with 6 pictures prints; it goes on from its own state of step `start`."""
    args = {"pictures": 6, "gradient_accumulation_steps": 1, "max_train_steps": 14, "fused_optimizer_groups": None,
            "output": "states", "resume": f"states/{start}" if start else None, **changes}  # fmt: skip
    done = counted(checkout, "--from", start, script, json.dumps(args))
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


@pytest.mark.parametrize("parts", [1, 2, 4])
def test_from_any_state_a_run_goes_on_as_if_it_had_not_been_stopped(checkout: Path, parts: int) -> None:
    """The same pictures, random numbers and mean losses, to the last digit."""
    bar, sampled, *whole = run(checkout, gradient_accumulation_steps=parts)
    assert (bar, sampled) == ({"bar": 14}, {"sampled at": 0})
    assert [row["step"] for row in whole][-1] == 14

    for start in (2, 3, 5, 6, 9):
        bar, *rest = run(checkout, start, gradient_accumulation_steps=parts)
        made = max(number for number, row in enumerate(whole) if row["step"] == start and _ends(whole, number)) + 1

        assert bar == {"bar": 14 - start}
        assert rest == whole[made:], start


def _ends(rows: list[dict[str, float]], number: int) -> bool:
    """Whether a row is the one in which its step was counted."""
    return number == 0 or rows[number - 1]["step"] < rows[number]["step"]


def test_a_run_that_is_done_is_made_longer(checkout: Path) -> None:
    whole, shorter = run(checkout, max_train_steps=20), run(checkout, max_train_steps=9)

    assert [*shorter, *run(checkout, 9, max_train_steps=20)[1:]][2:] == whole[2:]


def test_left_alone_it_begins_again(checkout: Path) -> None:
    """What the whole script is for."""
    run(checkout, max_train_steps=8)
    given = {"pictures": 6, "gradient_accumulation_steps": 1, "max_train_steps": 14, "output": "states"}
    argv = [sys.executable, "sdxl_train.py", json.dumps({**given, "resume": "states/8"})]
    done = subprocess.run(argv, cwd=checkout, capture_output=True, encoding="utf-8", check=True)

    assert json.loads(done.stdout.splitlines()[2])["step"] == 1


@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_text('{"batches": 6, "losses": 1}')])
def test_a_state_that_does_not_tell_its_epoch_goes_on_in_another_order(
    checkout: Path, spoil: Callable[[Path], object]
) -> None:
    run(checkout, max_train_steps=8)
    spoil(checkout / "states" / "8" / "epoch_state.json")
    told = run(checkout, 8)

    assert [row["step"] for row in told[1:]] == list(range(9, 15))
    assert [row["batch"] for row in told[1:]] == [2, 3, 4, 5, 0, 1]


def test_with_other_pictures_the_count_goes_on_in_the_epoch_that_they_make(checkout: Path) -> None:
    run(checkout, max_train_steps=8)
    told = run(checkout, 8, pictures=5)

    assert [(row["step"], row["epoch"], row["batch"]) for row in told[1:3]] == [(9, 1, 3), (10, 1, 4)]


def test_a_state_behind_the_end_is_told(checkout: Path) -> None:
    run(checkout, max_train_steps=8)
    given = {"max_train_steps": 8, "pictures": 6, "gradient_accumulation_steps": 1, "resume": "states/8"}
    done = counted(checkout, "--from", 8, "sdxl_train.py", json.dumps(given))

    assert done.returncode == 1
    assert "the state has made 8 steps, and max_train_steps is 8" in done.stderr


def test_another_script_may_run_the_trainer(checkout: Path) -> None:
    between = "import runpy, sys\nsys.argv.pop(0)\nrunpy.run_path(sys.argv[0], run_name='__main__')\n"
    (checkout / "between.py").write_text(between, encoding="utf-8")
    args = {"pictures": 6, "gradient_accumulation_steps": 1, "max_train_steps": 3, "fused_optimizer_groups": None,
            "output": "states", "resume": None}  # fmt: skip
    done = counted(checkout, "--from", 0, "between.py", "sdxl_train.py", json.dumps(args))

    assert done.returncode == 0, done.stderr
    assert (checkout / "states" / "3" / "train_state.json").is_file()


def test_an_error_of_the_trainer_is_told_with_its_own_line(checkout: Path) -> None:
    broken = TRAINER.replace("current_step.value = global_step", "raise RuntimeError('here')")
    (checkout / "sdxl_train.py").write_text(broken, encoding="utf-8")
    given = {"max_train_steps": 8, "pictures": 6, "gradient_accumulation_steps": 1, "resume": None,
             "fused_optimizer_groups": None}  # fmt: skip
    done = counted(checkout, "--from", 0, "sdxl_train.py", json.dumps(given))

    at = broken.splitlines().index("            raise RuntimeError('here')") + 1
    assert done.returncode == 1
    assert f'sdxl_train.py", line {at}, in train\n    raise RuntimeError' in done.stderr


def test_the_file_on_disk_stays_as_it_is_and_nothing_of_it_is_cached(checkout: Path) -> None:
    run(checkout, max_train_steps=1)

    assert (checkout / "sdxl_train.py").read_text(encoding="utf-8") == TRAINER
    assert not list(checkout.rglob("sdxl_train*.pyc"))


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("global_step = 0", "global_step = 1", "global_step = 0"),
        ("accelerator.backward(loss)", "loss.backward()", "accelerator.backward(loss)"),
        ("in enumerate(train_dataloader)", "in batches", "for step, batch in enumerate(train_dataloader)"),
        ("parts_util.resume_from", "parts_util.go_on_from", "resume_from_local_or_hf_if_specified(accelerator, args)"),
        ("def train(", "def fit(", "0 functions named train"),
    ],
)
def test_another_shape_is_refused_with_what_is_missing(checkout: Path, old: str, new: str, named: str) -> None:
    (checkout / "sdxl_train.py").write_text(TRAINER.replace(old, new), encoding="utf-8")

    told = json.loads(counted(checkout, "--check").stdout)
    done = counted(checkout, "--from", 3, "sdxl_train.py", "{}")

    assert told["resumable"] is False
    assert named in told["reason"]
    assert done.returncode == 87
    assert named in done.stderr


def test_a_library_without_what_is_relied_upon_is_told(checkout: Path) -> None:
    (checkout / "library" / "parts.py").write_text(LIBRARY.replace("loss_list", "losses"), encoding="utf-8")

    assert json.loads(counted(checkout, "--check").stdout)["reason"] == "its library has no loss_list"


def test_a_trainer_that_is_not_there_is_told(tmp_path: Path) -> None:
    assert json.loads(counted(tmp_path, "--check").stdout)["resumable"] is False


def test_the_known_shape_is_found(checkout: Path) -> None:
    assert json.loads(counted(checkout, "--check").stdout) == {"resumable": True, "reason": None}


def test_it_imports_the_standard_library_alone() -> None:
    tree = ast.parse(SCRIPT.read_text(encoding="utf-8"))
    names = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    names |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}

    assert {name.partition(".")[0] for name in names} <= {*sys.stdlib_module_names}


@pytest.mark.parametrize("arguments", [[], ["--from"], ["--from", "x", "sdxl_train.py"], ["sdxl_train.py"]])
def test_other_arguments_are_refused(checkout: Path, arguments: list[str]) -> None:
    assert counted(checkout, *arguments).returncode == 2
