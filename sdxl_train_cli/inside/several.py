"""Run one of sd-scripts' training scripts as one of several processes.

    python several.py SCRIPT [args...]     started by accelerate, in the sd-scripts checkout

SCRIPT may be another script of this folder, such as scaled.py. Three things are mended, with sd-scripts' files as they
are:

- each process draws noise and timesteps of its own. Unaided, all begin with the same seed, so that the pictures of a
  step would get the same ones on every GPU. The first process draws as it would alone; what has to be alike has been
  drawn when accelerate prepares the models, or comes from the first process (weights, the order of batches).
- a state has the random numbers of every process. Unaided, the first process saves its own alone, and a resumed run's
  others would train with other noise. They are fetched wherever all processes wait for each other, which sd-scripts has
  them do before the first one saves.
- on a processor, accelerate wraps frozen models too in DistributedDataParallel, which refuses them.

Relied upon: accelerate's Accelerator with wait_for_everyone, save_state, prepare and prepare_model, and its names and
contents of the files random_states_N.pkl (1.6). What is missing is told on stderr, and the run goes on without it.
"""

from __future__ import annotations

import functools
import importlib
import random
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

NEEDED = ("wait_for_everyone", "save_state", "prepare_model", "prepare")
FILE = "random_states_{}.pkl"


def main(argv: list[str]) -> int:
    """Change accelerate's class, then become the script."""
    if not argv or argv[0] in {"-h", "--help"}:
        print("usage: several.py SCRIPT [args...]", file=sys.stderr)
        return 0 if argv else 2
    sys.path[0] = str(Path.cwd())  # where SCRIPT's own folder would stand if it were run directly
    accelerator = importlib.import_module("accelerate").Accelerator
    missing = [name for name in NEEDED if not hasattr(accelerator, name)]
    if missing:
        tell(f"nothing is mended: accelerate has no {', '.join(missing)}")
    else:
        install(accelerator)
    sys.argv = argv
    runpy.run_path(argv[0], run_name="__main__")
    return 0


def tell(words: str) -> None:
    """Write a message of ours to the run's log."""
    print(f"processes: {words}", file=sys.stderr, flush=True)


def install(accelerator: Any) -> None:  # noqa: ANN401  accelerate's class
    """Change what waits, what saves, and what wraps models."""
    states = States()
    accelerator.wait_for_everyone = states.fetching(accelerator.wait_for_everyone)
    accelerator.save_state = states.writing(accelerator.save_state)
    accelerator.prepare = drawing_apart(accelerator.prepare)
    accelerator.prepare_model = leaving_frozen(accelerator.prepare_model)


class States:
    """The random states of all processes, as they were when these last waited for each other."""

    def __init__(self) -> None:
        self.found: list[dict[str, Any]] = []

    def fetching(self, wait: Callable[[Any], None]) -> Callable[[Any], None]:
        """Have all processes tell their random states once they have waited for each other."""

        @functools.wraps(wait)
        def waited(accelerator: Any) -> None:  # noqa: ANN401
            wait(accelerator)
            if accelerator.num_processes > 1:
                gather = importlib.import_module("accelerate.utils").gather_object
                self.found = gather([random_states(accelerator)])

        return waited

    def writing(self, save: Callable[..., Any]) -> Callable[..., Any]:
        """Have the first process write the others' random states into the state that it has saved."""

        @functools.wraps(save)
        def saved(accelerator: Any, *given: Any, **named: Any) -> Any:  # noqa: ANN401
            found = save(accelerator, *given, **named)
            folder = given[0] if given else named.get("output_dir")
            if accelerator.is_main_process and folder is not None:
                torch = importlib.import_module("torch")
                for number, state in enumerate(self.found):
                    if number:
                        torch.save(state, Path(folder, FILE.format(number)))
            return found

        return saved


def random_states(accelerator: Any) -> dict[str, Any]:  # noqa: ANN401
    """This process's random states, by accelerate's names (save_accelerator_state)."""
    numpy, torch = (importlib.import_module(name) for name in ("numpy", "torch"))
    states = {
        "step": getattr(accelerator, "step", 0),
        "random_state": random.getstate(),
        "numpy_random_seed": numpy.random.get_state(),
        "torch_manual_seed": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        states["torch_cuda_manual_seed"] = torch.cuda.get_rng_state_all()
    return states


def drawing_apart(prepare: Callable[..., Any]) -> Callable[..., Any]:
    """Have each process draw random numbers of its own from the first preparation on."""
    done: list[bool] = []

    @functools.wraps(prepare)
    def prepared(accelerator: Any, *given: Any, **named: Any) -> Any:  # noqa: ANN401
        found = prepare(accelerator, *given, **named)
        if not done and accelerator.process_index > 0:
            torch = importlib.import_module("torch")
            own = (torch.initial_seed() + accelerator.process_index) % 2**63
            torch.manual_seed(own)
            random.seed(own)
        done.append(True)
        return found

    return prepared


def leaving_frozen(prepare: Callable[..., Any]) -> Callable[..., Any]:
    """Leave a model without anything to train unwrapped, as accelerate itself does on GPUs."""

    @functools.wraps(prepare)
    def prepared(
        accelerator: Any,  # noqa: ANN401
        model: Any,  # noqa: ANN401
        device_placement: bool | None = None,
        evaluation_mode: bool = False,
    ) -> Any:  # noqa: ANN401
        frozen = not any(weight.requires_grad for weight in model.parameters())
        return prepare(accelerator, model, device_placement, evaluation_mode or frozen)

    return prepared


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
