"""Run sd-scripts' network trainer so that the validation loss of each picture is kept, and that of some trained ones.

    python validated.py SCRIPT [args...]     run in the sd-scripts checkout, by the training environment's Python

Unaided, the trainer logs one mean over the pictures that are held back. Here each validation adds a line to
validation.jsonl in the run's folder:

    {"step", "epoch", "timesteps", "held_back": {picture: [a loss for each timestep]}, "training": {the same}}

`training` is a fixed part of what is trained on: as many pictures as are held back, 16 at most, drawn with a fixed
seed. They are measured as the others are, with the same timesteps, with noise that is the same each time, without
flips, and with whole captions in order. The trainer's own mean is of the held-back pictures alone, as before.

Nothing of the training changes: random states are put back, and no weight has a gradient. SCRIPT may be another script
of this folder. What is relied upon and not found is told on stderr, and the run goes on without this file.

Relied upon, as they are in v0.10.1 and v0.11.1: config_util.generate_dataset_group_by_blueprint, which gives what is
trained on and what is held back; NetworkTrainer of train_network.py with the methods of METHODS, of
which process_batch gives a batch's loss for the timestep in `args`, and post_process_loss one loss for each picture;
BaseDataset with image_data, image_to_subset, bucket_manager.buckets, buckets_indices and shuffle_buckets. Of several
processes each validates on all pictures (accelerate's prepare_data_loader), as the first one's mean alone is told.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import importlib
import inspect
import json
import math
import random
import runpy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

TRAINER, LIBRARIES = "train_network", ("library.dataset", "library.train_util")
BLUEPRINTS, MAKE = "library.config_util", "generate_dataset_group_by_blueprint"
METHODS = (
    "process_batch",
    "post_process_loss",
    "on_step_start",
    "step_logging",
    "epoch_logging",
)
FILE = "validation.jsonl"
PICTURES = "validated_pictures"
"""The key of a batch under which its pictures' names stand."""
LOGGED = "loss/validation/"
MOST, SEED = 16, 42
PLAIN = {
    "flip_aug": False,
    "color_aug": False,
    "shuffle_caption": False,
    "caption_dropout_rate": 0.0,
    "caption_dropout_every_n_epochs": 0,
    "caption_tag_dropout_rate": 0.0,
    "token_warmup_step": 0,
}
"""What a subset is like whose pictures look the same each time."""

Losses = dict[str, list["float | None"]]


def main(argv: list[str]) -> int:
    """Change the trainer's class, then run the script in this process."""
    if not argv or argv[0] in {"-h", "--help"}:
        print("usage: validated.py SCRIPT [args...]", file=sys.stderr)
        return 0 if argv else 2
    sys.path[0] = str(Path.cwd())  # where SCRIPT's own folder would stand if it were run directly
    why = install()
    if why is not None:
        tell(f"only the mean is kept: {why}")
    sys.argv = argv
    runpy.run_path(argv[0], run_name="__main__")
    return 0


def tell(words: str) -> None:
    """Write a message of ours to the run's log."""
    print(f"validation: {words}", file=sys.stderr, flush=True)


def install() -> str | None:
    """Change the classes that the script will use. What is missing, if anything is; then nothing is changed."""
    try:
        trainer = importlib.import_module(TRAINER).NetworkTrainer
        dataset = found_dataset()
        blueprints = importlib.import_module(BLUEPRINTS)
        make = getattr(blueprints, MAKE)
    except (ImportError, AttributeError) as error:
        return str(error)
    missing = [name for name in METHODS if not hasattr(trainer, name)]
    missing += [name for name in ("__getitem__", "shuffle_buckets") if not hasattr(dataset, name)]
    if missing:
        return f"this sd-scripts has no {', '.join(missing)}"
    dataset.__getitem__ = naming(dataset.__getitem__)
    dataset.shuffle_buckets = shuffling_once(dataset.shuffle_buckets)
    kept = Kept()
    setattr(blueprints, MAKE, kept.knowing_datasets(make))
    accelerator = importlib.import_module("accelerate").Accelerator
    accelerator.prepare_data_loader = kept.undivided(accelerator.prepare_data_loader)
    trainer.process_batch = kept.noting(trainer.process_batch)
    trainer.post_process_loss = kept.catching(trainer.post_process_loss)
    for name in ("step_logging", "epoch_logging"):
        setattr(trainer, name, kept.writing(getattr(trainer, name)))
    return None


def found_dataset() -> Any:  # noqa: ANN401  sd-scripts' class
    """BaseDataset, which v0.11.0 has moved. AttributeError if there is none."""
    for name in LIBRARIES:
        with contextlib.suppress(ImportError, AttributeError):
            return importlib.import_module(name).BaseDataset
    raise AttributeError(f"no BaseDataset in {' or '.join(LIBRARIES)}")


def naming(get: Callable[..., Any]) -> Callable[..., Any]:
    """Let a batch say which pictures are in it: workers hand over nothing else."""

    @functools.wraps(get)
    def named(self: Any, index: int) -> Any:  # noqa: ANN401  sd-scripts'
        example = get(self, index)
        if isinstance(example, dict) and getattr(self, "caching_mode", None) is None:
            place = self.buckets_indices[index]
            first = place.batch_index * place.bucket_batch_size
            keys = self.bucket_manager.buckets[place.bucket_index][first : first + place.bucket_batch_size]
            example[PICTURES] = [str(self.image_data[key].absolute_path) for key in keys]
        return example

    return named


def shuffling_once(shuffle: Callable[..., None]) -> Callable[..., None]:
    """Leave held-back pictures in their first order: workers would shuffle them, and pair them with other noise."""

    @functools.wraps(shuffle)
    def shuffled(self: Any) -> None:  # noqa: ANN401  sd-scripts'
        if getattr(self, "is_training_dataset", True) or self.current_epoch == 0:
            shuffle(self)

    return shuffled


class Kept:
    """What is known of the validation under way."""

    def __init__(self) -> None:
        self.datasets: list[Any] = []
        """Those that are trained on."""
        self.group: Any = None
        """Of the datasets that are held back."""
        self.count = 0
        """Pictures that are held back."""
        self.batches: list[Any] | None = None
        """Of the training part; None until they are made."""
        self.caught: list[float | None] | None = None
        """Losses of the last batch, one for each picture."""
        self.held_back: Losses = {}
        self.timesteps: list[int] = []
        self.call: Any = None
        """The arguments of the last call that validated."""
        self.is_off = False

    def knowing_datasets(self, make: Callable[..., Any]) -> Callable[..., Any]:
        """Learn of the datasets, which the trainer then forgets."""

        @functools.wraps(make)
        def made(*given: Any, **named: Any) -> Any:  # noqa: ANN401
            found = make(*given, **named)
            if isinstance(found, tuple) and len(found) == 2:  # noqa: PLR2004  what is trained on, what is held back
                self.datasets, held = (list(getattr(group, "datasets", [])) for group in found)
                self.group = found[1]
                pictures = [info for dataset in held for info in dataset.image_data.values()]
                self.count = len({str(info.absolute_path) for info in pictures})
            return found

        return made

    def undivided(self, prepare: Callable[..., Any]) -> Callable[..., Any]:
        """Have each of several processes validate on all pictures: the mean is told by the first one alone."""

        @functools.wraps(prepare)
        def prepared(accelerator: Any, loader: Any, *given: Any, **named: Any) -> Any:  # noqa: ANN401
            if accelerator.num_processes == 1 or self.group is None or loader.dataset is not self.group:
                return prepare(accelerator, loader, *given, **named)
            self.is_off = not accelerator.is_main_process  # others log nothing
            make = importlib.import_module("accelerate.data_loader").prepare_data_loader
            return make(loader, accelerator.device, num_processes=1, process_index=0, put_on_device=True)

        return prepared

    def noting(self, process: Callable[..., Any]) -> Callable[..., Any]:
        """Keep the losses of a batch that is validated on."""
        shape = inspect.signature(process)

        @functools.wraps(process)
        def processed(*given: Any, **named: Any) -> Any:  # noqa: ANN401
            call = shape.bind(*given, **named)
            call.apply_defaults()
            if call.arguments.get("is_train", True) or self.is_off:
                return process(*given, **named)
            loss = process(*given, **named)
            self.note(call)
            return loss

        self.process = process
        return processed

    def note(self, call: inspect.BoundArguments) -> None:
        """Keep what was caught of a call."""
        self.call = call
        pictures, timestep = call.arguments["batch"].get(PICTURES), int(call.arguments["args"].min_timestep)
        if pictures is None or self.caught is None or len(pictures) != len(self.caught):
            self.step_aside("a batch does not say which pictures are in it")
            return
        if timestep not in self.timesteps:
            self.timesteps.append(timestep)
        add(self.held_back, pictures, self.caught)
        self.caught = None

    def catching(self, weigh: Callable[..., Any]) -> Callable[..., Any]:
        """Catch each picture's loss before the mean is taken."""

        @functools.wraps(weigh)
        def weighed(*given: Any, **named: Any) -> Any:  # noqa: ANN401
            losses = weigh(*given, **named)
            if not self.is_off and not losses.requires_grad:
                self.caught = [finite(loss) for loss in losses.detach().float().reshape(-1).tolist()]
            return losses

        return weighed

    def writing(self, log: Callable[..., Any]) -> Callable[..., Any]:
        """Add a line to the file once the trainer logs its mean."""

        @functools.wraps(log)
        def logged(trainer: Any, accelerator: Any, logs: Any, global_step: int, epoch: int) -> Any:  # noqa: ANN401
            if any(name.startswith(LOGGED) for name in logs) and self.held_back and not self.is_off:
                try:
                    self.write(accelerator, global_step, epoch)
                except Exception as error:  # noqa: BLE001  whatever it is, the training must go on
                    self.step_aside(" ".join(f"{type(error).__name__}: {error}".split())[:300])
            self.held_back, self.timesteps = {}, []
            return log(trainer, accelerator, logs, global_step, epoch)

        return logged

    def step_aside(self, why: str) -> None:
        """Do nothing more, and say so."""
        self.is_off, self.batches = True, None
        tell(f"only the mean is kept from here on: {why}")

    def write(self, accelerator: Any, step: int, epoch: int) -> None:  # noqa: ANN401
        """Measure the training part, and write the line."""
        row = {
            "step": step,
            "epoch": epoch,
            "timesteps": self.timesteps,
            "held_back": self.held_back,
            "training": self.measured(accelerator),
        }
        if accelerator.is_main_process:
            with (Path(self.call.arguments["args"].output_dir) / FILE).open("a", encoding="utf-8") as file:
                file.write(json.dumps(row, allow_nan=False) + "\n")

    def measured(self, accelerator: Any) -> Losses:  # noqa: ANN401
        """The losses of the training part, with the trainer's own function."""
        torch, send = importlib.import_module("torch"), importlib.import_module("accelerate.utils").send_to_device
        call, args, found = self.call, self.call.arguments["args"], Losses()
        names = list(inspect.signature(self.process).parameters)
        before, timesteps = (args.min_timestep, args.max_timestep), list(self.timesteps)
        noted = self.held_back
        with same_random_states(torch):
            try:
                self.batches = self.made() if self.batches is None else self.batches
                for number, example in enumerate(self.batches):
                    batch = send(example, accelerator.device)
                    for timestep in timesteps:
                        seed_all(torch, SEED + number * 10_000 + timestep)
                        args.min_timestep = args.max_timestep = timestep
                        values = {**call.arguments, "batch": batch}
                        trainer = values[names[0]]
                        trainer.on_step_start(
                            *(values[name] for name in ("args", "accelerator", "network", "text_encoders", "unet")),
                            batch,
                            values["weight_dtype"],
                            is_train=False,
                        )
                        self.process(**values)
                        add(found, batch[PICTURES], self.caught or [])
            finally:
                args.min_timestep, args.max_timestep = before
                self.held_back, self.caught = noted, None
        return found

    def made(self) -> list[Any]:
        """Batches of the training part, each the same every time."""
        seed_all(importlib.import_module("torch"), SEED)
        there: dict[str, tuple[int, Any]] = {}
        for number, dataset in enumerate(self.datasets):
            for key, info in dataset.image_data.items():
                if not info.is_reg:
                    there.setdefault(str(info.absolute_path), (number, key))
        names = sorted(there)
        chosen = random.Random(SEED).sample(names, min(len(names), self.count, MOST))  # noqa: S311  not for secrets
        batches = []
        for number, dataset in enumerate(self.datasets):
            keys = [there[name][1] for name in sorted(chosen) if there[name][0] == number]
            part = plain_part(dataset, keys)
            batches += [part[index] for index in range(len(part.buckets_indices))]
        return batches


def plain_part(dataset: Any, keys: list[Any]) -> Any:  # noqa: ANN401  sd-scripts'
    """A dataset of these pictures alone, without anything that is drawn at random."""
    part = copy.copy(dataset)
    changes = dict(PLAIN)
    if dataset.enable_bucket:
        changes["random_crop"] = False
    part.image_to_subset = {key: changed(dataset.image_to_subset[key], changes) for key in keys}
    buckets: dict[Any, list[Any]] = {}
    for key in keys:
        buckets.setdefault(dataset.image_data[key].bucket_reso, []).append(key)
    part.bucket_manager = SimpleNamespace(buckets=list(buckets.values()))
    size = max(1, int(dataset.batch_size))
    part.buckets_indices = [
        SimpleNamespace(bucket_index=number, bucket_batch_size=size, batch_index=batch)
        for number, bucket in enumerate(buckets.values())
        for batch in range(math.ceil(len(bucket) / size))
    ]
    return part


def changed(subset: Any, changes: dict[str, Any]) -> Any:  # noqa: ANN401  sd-scripts'
    """A copy of a subset with other values where it has them."""
    found = copy.copy(subset)
    for name, value in changes.items():
        if hasattr(found, name):
            setattr(found, name, value)
    return found


def add(losses: Losses, pictures: list[str], found: list[float | None]) -> None:
    """Add a loss of each picture; one that is there twice in a batch counts once."""
    for picture, loss in dict(zip(pictures, found, strict=True)).items():
        losses.setdefault(picture, []).append(loss)


def finite(loss: float) -> float | None:
    """A loss as JSON can hold it."""
    return round(loss, 7) if math.isfinite(loss) else None


def seed_all(torch: Any, seed: int) -> None:  # noqa: ANN401
    """Begin the same random numbers everywhere."""
    torch.manual_seed(seed)
    random.seed(seed)


@contextlib.contextmanager
def same_random_states(torch: Any) -> Iterator[None]:  # noqa: ANN401
    """Put back every random state afterwards."""
    numpy = sys.modules.get("numpy")
    python, processor = random.getstate(), torch.get_rng_state()
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    arrays = numpy.random.get_state() if numpy is not None else None
    try:
        yield
    finally:
        random.setstate(python)
        torch.set_rng_state(processor)
        if devices:
            torch.cuda.set_rng_state_all(devices)
        if numpy is not None:
            numpy.random.set_state(arrays)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
