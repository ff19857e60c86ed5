"""Check files named by options other than model and VAE: prompts, initial weights, a state to resume from.

sd-scripts runs in its own folder, so relative paths must be made absolute first. A missing file, or one of another
network, would end the run late or be ignored silently.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from sdxl_train_cli import files, layout
from sdxl_train_cli.errors import ModelError, Problem, WayOut
from sdxl_train_cli.recipe import Recipe, Setting, Value
from sdxl_train_cli.sdscripts import checkpoint, lycoris, sample_prompts, states
from sdxl_train_cli.sdscripts.checkpoint import Header
from sdxl_train_cli.sdscripts.network_arguments import DEFAULT_DIM
from sdxl_train_cli.sdscripts.states import SavedState

_OPTIONS = (
    "sample_prompts", "network_weights", "base_weights", "weights", "resume", "log_tracker_config", "console_log_file",
)  # fmt: skip
_TEXTS = (
    # an option, what it names, what to do
    ("sample_prompts", "prompts", "a text file with one prompt a line"),
    ("log_tracker_config", "file", "--set log_tracker_config=null"),
)
_TORCH = (".pt", ".pth", ".ckpt", ".bin")
"""Suffixes of weights that torch loads. It also loads every other file but .safetensors (networks/lora.py)."""
_WORDS = ("clip_l", "clip_g")
"""An embedding's tensors, one for each text encoder."""
_NETWORK = ("lora_", "lycoris_")
"""Prefixes of a trained network's tensor names."""

_MARKS = {"lora": "lora_down", "loha": "hada_w1", "lokr": "lokr_w"}
"""What the names of a kind's tensors hold."""
_KINDS = {"lora": "LoRA or LoCon", "loha": "LoHa", "lokr": "LoKr"}
_DIFFUSERS = ("lora_unet_down_blocks_", "lora_unet_up_blocks_")
"""Names that load_weights in networks/lora.py does not translate."""


def resolve_paths(recipe: Recipe) -> Recipe:
    """The recipe with these paths absolute, resolved against the current folder."""
    found = {name: recipe.settings[name] for name in _OPTIONS if name in recipe.settings}
    if recipe.is_on("resume_from_huggingface"):
        found.pop("resume", None)  # an address on the hub
    return recipe.replaced(
        {name: Setting(value=_whole(setting.value), origin=setting.origin) for name, setting in found.items()}
    )


def _whole(value: Value) -> Value:
    if isinstance(value, tuple):
        return tuple(str(layout.expand(Path(str(part)))) for part in value)
    return str(layout.expand(Path(str(value))))


def require(recipe: Recipe) -> None:
    """Check each file of a recipe with absolute paths. ModelError lists every problem."""
    found = [*_texts(recipe), *_networks(recipe), *_embedding(recipe), *_state(recipe)]
    if found:
        raise ModelError(found)


def _texts(recipe: Recipe) -> Iterator[Problem]:
    for option, what, hint in _TEXTS:
        for path in _paths(recipe, option):
            if not files.is_file(path) and recipe.origin(option) != sample_prompts.ORIGIN:  # it is still to be written
                yield recipe.problem(option, f"no {what} at {path}", hint)


def _networks(recipe: Recipe) -> Iterator[Problem]:
    for option in ("network_weights", "base_weights"):
        for path in _paths(recipe, option):
            if not files.is_file(path):
                hint = f"{option} takes a trained LoRA's file"
                yield recipe.problem(option, f"no weights at {path}", hint)
            elif path.suffix == ".safetensors":
                yield from _weights(path, option, recipe)
            elif path.suffix not in _TORCH:
                known = f".safetensors, {', '.join(_TORCH)}"
                hint = (
                    f"sd-scripts goes by the suffix, in lower case only: rename the file to match its format, {known}"
                )
                yield recipe.problem(option, f"{path} does not have the suffix of a weights file", hint)


def _embedding(recipe: Recipe) -> Iterator[Problem]:
    """The embedding to begin with has as many vectors as the run's (train_textual_inversion.py: train)."""
    for path in _paths(recipe, "weights"):
        if not files.is_file(path):
            yield recipe.problem("weights", f"no embedding at {path}", "weights takes an embedding's file")
            continue
        if path.suffix != ".safetensors":
            yield recipe.problem("weights", f"{path} is not a .safetensors file", "sd-scripts loads others as pickles")
            continue
        try:
            shapes = checkpoint.read_header(path).shapes
        except ModelError as error:
            yield from (recipe.problem("weights", problem.message, problem.hint) for problem in error.problems)
            continue
        vectors = {shape[0] for name in _WORDS if (shape := shapes.get(name))}
        if vectors != {ours := int(recipe.number("num_vectors_per_token") or 1)} or not shapes.keys() >= set(_WORDS):
            yield _other_embedding(recipe, path, vectors, ours)


def _other_embedding(recipe: Recipe, path: Path, vectors: set[int], ours: int) -> Problem:
    if len(vectors) != 1:
        return recipe.problem("weights", f"{path} is no embedding for SDXL: it has no clip_l and clip_g")
    (theirs,) = vectors
    words = f"{path} has {theirs} vectors, but this run has {ours}"
    return replace(recipe.problem("weights", words), ways=(WayOut((f"num_vectors_per_token={theirs}",)),))


def _paths(recipe: Recipe, option: str) -> list[Path]:
    value = recipe.get(option)
    parts = value if isinstance(value, tuple) else () if value is None else (value,)
    return [Path(str(part)) for part in parts]


def _weights(path: Path, option: str, recipe: Recipe) -> Iterator[Problem]:
    hint = "give a trained LoRA's file"
    try:
        header = checkpoint.read_header(path)
    except ModelError as error:
        yield from (recipe.problem(option, problem.message, problem.hint) for problem in error.problems)
        return
    if not any(map(header.has, _NETWORK)):
        yield recipe.problem(option, f"{path} holds no LoRA: sd-scripts would load nothing from it", hint)
    elif option == "network_weights" and (other := _passed_over(header, recipe)):
        words = f"{path} {other}: sd-scripts would load nothing from it, without a word"
        yield recipe.problem_of_setting(option, words, "or give a file of this kind")
    elif option == "network_weights" and not recipe.is_on("dim_from_weights"):
        yield from _other_dim(header, recipe, str(path), option, WayOut(("dim_from_weights=true",)))


def _passed_over(header: Header, recipe: Recipe) -> str | None:
    """Why none of the file's tensors has a name of this run's network; None where some have."""
    module = str(recipe.get("network_module") or "")
    algorithm = lycoris.algorithm(recipe) if module != "networks.lora" else "lora"
    mark = _MARKS.get("lora" if algorithm in lycoris.PLAIN else algorithm)
    if mark and not any(mark in name for name in header.shapes):
        kind = next((kind for kind, other in _MARKS.items() if any(other in name for name in header.shapes)), "other")
        return f"is of another kind ({_KINDS.get(kind, kind)})"
    if any(map(header.has, _DIFFUSERS)):
        return "names its layers as diffusers does (lora_unet_down_blocks)"
    return None


def _other_dim(header: Header, recipe: Recipe, what: str, option: str, *ways: WayOut) -> Iterator[Problem]:
    """Compare the dim of linear layers if all are equal. With per-block dims, or LyCORIS, it means less."""
    if recipe.get("network_module") != "networks.lora" or "block_dims" in recipe.arguments("network_args"):
        return
    ours = int(recipe.number("network_dim") or DEFAULT_DIM)
    theirs = {
        shape[0]
        for name, shape in header.shapes.items()
        if name.endswith("lora_down.weight") and shape and set(shape[2:]) <= {1}
    }
    if theirs and theirs != {ours}:
        dims = " and ".join(map(str, sorted(theirs)))
        problem = recipe.problem(option, f"{what} has dim {dims}, but this run has {ours}")
        if len(theirs) == 1:
            yield replace(problem, ways=(*ways, WayOut((f"network_dim={dims}",))))
        else:
            yield replace(problem, ways=ways, hint="a preset of the same dims")


def _state(recipe: Recipe) -> Iterator[Problem]:
    value = recipe.get("resume")
    if value is None or recipe.is_on("resume_from_huggingface"):
        return
    folder = Path(str(value))
    state = states.read(folder)
    if state is None:
        is_there = files.is_folder(folder)
        hint = "`sdxl-train runs resume RUN` finds it by itself"
        known = "writing it was cut off, or it is a different folder" if is_there else "it is the folder NAME-state"
        yield recipe.problem("resume", f"no complete state at {folder}: {known}", hint)
        return
    if recipe.kind.is_network:
        yield from _too_short(state, recipe)
        for weights in folder.glob("*.safetensors"):
            yield from _other_dim(checkpoint.read_header(weights), recipe, f"the state {folder}", "resume")


def _too_short(state: SavedState, recipe: Recipe) -> Iterator[Problem]:
    steps = None if recipe.get("max_train_epochs") else recipe.number("max_train_steps")
    if steps is not None and steps <= state.step:
        message = f"the state has made {state.step} steps, but max_train_steps, which includes them, is {steps:g}"
        yield recipe.problem("resume", message, f"--steps {state.step + int(steps)}")
