"""The choices for a run: from the command line, else the project file, else defaults."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sdxl_train_cli import files, formatting, language, layout
from sdxl_train_cli.dataset import checking
from sdxl_train_cli.errors import Problem, UsageError
from sdxl_train_cli.gpu import Gpu
from sdxl_train_cli.origin import Origin
from sdxl_train_cli.recipe import Kind
from sdxl_train_cli.recipes.presets import Override
from sdxl_train_cli.recipes.project import USUAL_SHARE, Project
from sdxl_train_cli.records.record import Inputs
from sdxl_train_cli.sdscripts import checkpoint, sample_prompts
from sdxl_train_cli.sdscripts.base_model import Prediction

DEFAULT_PRESETS = {
    Kind.LORA: "dim32-gc",
    Kind.LOCON: "dim64-conv32-gc",
    Kind.LOHA: "dim16-gc",
    Kind.LOKR: "factor8-gc",
    Kind.DREAMBOOTH: "gc",
    Kind.EMBEDDING: "word-gc",
}
DEFAULT_DATA = "data"
DEFAULT_OUTPUT = "output"
_PROMPT_FILES = (".txt", ".toml", ".json")
"""Suffixes of files of prompts that sd-scripts reads."""
NAMELESS = "run"
"""The name of a run whose pictures' folder has no name that every file system takes."""


@dataclass(frozen=True)
class Elsewhere:
    """Another computer that a run is checked for."""

    gpu: Gpu | None = None
    """One of its GPUs. None if it is not known."""
    has_gpu: bool = True

    def devices(self, count: int) -> tuple[Gpu, ...]:
        """`count` copies of its GPU. Empty if the GPU is not known."""
        return () if self.gpu is None else tuple(replace(self.gpu, index=index) for index in range(count))


@dataclass(frozen=True, kw_only=True)
class Choices(Inputs):
    """The complete choices, with project file and defaults applied."""

    kind: Kind
    name: str
    overrides: tuple[Override, ...] = ()
    gpu_memory_gib: float | None = None
    """Check as if the GPU had this much memory. None asks the real one."""
    elsewhere: Elsewhere | None = None
    """Check as if it trained there: nothing counts of this computer's GPUs and memory."""
    starts_later: bool = False
    """Check as if nothing but a desktop were on the GPU: the run waits until others have ended."""

    @property
    def source(self) -> checking.DatasetSource:
        """The dataset."""
        return checking.DatasetSource(self.data, self.regularisation, self.repeats, self.trigger)


def name_for(data: Path) -> str:
    """A run name derived from the data folder or file, valid on every file system."""
    path = layout.expand(data)
    called = path.name if files.is_folder(path) else path.stem
    return re.sub(r"[^\w.-]+", "-", called, flags=re.ASCII).strip("-.") or NAMELESS


def fill_in(kind: Kind, project: Project, typed: Mapping[str, str | None]) -> dict[str, str | None]:
    """Fill in untyped values from the project file. Its preset applies to its own kind only."""
    same_kind = project.kind in {None, kind}
    from_project = {
        "preset": project.preset if same_kind else None,
        "model": project.model,
        "vae": project.vae,
        "data": project.data,
        "reg": project.reg,
        "output": project.output,
        "name": project.name,
        "trigger": project.trigger,
        "prediction": project.prediction,
    }
    return {key: text if typed.get(key) is None else typed[key] for key, text in from_project.items()}


def overrides(kind: Kind, project: Project) -> tuple[Override, ...]:
    """The project file's options. If it names a kind, they apply to that kind only."""
    return project.overrides if project.kind in {None, kind} else ()


def samples(project: Project, typed: Sequence[str] | None, *, no_samples: bool) -> tuple[str, ...] | None:
    """Prompts from the command line, else the project file; none where none are wanted, None where nobody says."""
    if no_samples and typed:
        raise UsageError("--sample and --no-samples contradict each other", "leave out one of them")
    if no_samples:
        return ()
    return prompts(typed) if typed else project.samples


def prompts(typed: Sequence[str]) -> tuple[str, ...]:
    """Prompts without spaces around them. UsageError for what is no prompt, which sd-scripts would pass over."""
    for prompt in typed:
        if not prompt.strip() or not prompt.isprintable() or prompt.startswith("#"):
            words = "has several lines" if prompt.strip() and not prompt.isprintable() else "is no prompt"
            raise UsageError(f"--sample {words}: {prompt!r}", '--sample "ohwx woman, portrait"')
        if not sample_prompts.has_words(prompt):
            words = f"--sample has flags of sd-scripts and no words to draw: {prompt}"
            raise UsageError(words, f"--sample {formatting.shell_word(f'ohwx woman, portrait {prompt.strip()}')}")
        if prompt.endswith(_PROMPT_FILES) and files.is_file(Path(prompt)):
            hint = f"--set sample_prompts={formatting.shell_word(prompt)} --set sample_every_n_steps=250"
            raise UsageError(f"--sample takes a prompt, and {prompt} is a file", hint)
    return tuple(prompt.strip() for prompt in typed)


def validation(project: Project, *, typed: bool | None) -> float | None:
    """The share of pictures to validate on; 0 for none, None where nobody says."""
    if typed is None:
        return project.validate
    kept = project.validate or USUAL_SHARE
    return kept if typed else 0.0


def choose(  # noqa: PLR0913 - keyword-only, one per flag
    kind: Kind,
    texts: Mapping[str, str | None],
    changes: Sequence[Override],
    *,
    repeats: int | None,
    gpu_index: int | None = None,
    gpu_indices: tuple[int, ...] = (),
    processes: int | None = None,
    gpu_memory_gib: float | None,
    check_vram: bool,
    fast: bool = False,
    samples: tuple[str, ...] | None = None,
    validation: float | None = None,
    keep_best: bool = False,
) -> Choices:
    """Apply the defaults. UsageError if a value without default is missing, or the kind does not support an option."""
    if fast and not kind.is_network:
        raise UsageError("--fast is for LoRA, LoCon, LoHa and LoKr", "leave out --fast")
    if processes is not None and gpu_indices and processes != len(gpu_indices):
        named = ",".join(map(str, gpu_indices))
        raise UsageError(f"--gpus {processes} and --gpu {named} contradict each other", "give one of them")
    trigger, changes = _word(kind, texts, changes)
    data = Path(texts["data"] or DEFAULT_DATA)
    if not texts["data"] and not files.is_folder(data):
        raise UsageError(_no_folder(kind))
    return Choices(
        kind=kind,
        preset=texts["preset"] or DEFAULT_PRESETS[kind],
        model=texts["model"] or checkpoint.SDXL_BASE,
        data=data,
        output=Path(texts["output"] or DEFAULT_OUTPUT),
        name=texts["name"] or name_for(data),
        vae=texts["vae"] or None,  # --vae "" removes the project file's VAE
        regularisation=Path(texts["reg"]) if texts["reg"] else None,
        trigger=trigger,
        repeats=repeats,
        overrides=tuple(changes),
        gpu_index=gpu_indices[0] if len(gpu_indices) == 1 else gpu_index,
        gpu_indices=gpu_indices if len(gpu_indices) > 1 else (),
        processes=processes or max(1, len(gpu_indices)),
        gpu_memory_gib=gpu_memory_gib,
        check_vram=check_vram,
        fast=fast,
        prediction=_prediction(texts.get("prediction")),
        samples=samples,
        validation=validation,
        keep_best=keep_best,
    )


def _no_folder(kind: Kind) -> Problem:
    return language.problem(
        "no-folder",
        "no pictures are given, and there is no folder ./data",
        "sdxl-train {kind} --data FOLDER, or `sdxl-train start FOLDER`, which asks what to train",
        kind=kind.value,
    )


def _word(
    kind: Kind, texts: Mapping[str, str | None], changes: Sequence[Override]
) -> tuple[str | None, Sequence[Override]]:
    """The trigger, which is an option too where it is an embedding's word. UsageError if the two differ."""
    trigger = texts["trigger"] or None
    if kind is not Kind.EMBEDDING:
        return trigger, changes
    if texts["reg"]:
        words = "regularization pictures teach an embedding nothing: their captions don't have its word"
        raise UsageError(words, "leave out --reg")
    set_to = next((str(one.value) for one in reversed(changes) if one.option == "token_string" and one.value), None)
    if trigger is not None and set_to is None:
        return trigger, (*changes, Override("token_string", trigger, Origin("--trigger")))
    if trigger is not None and set_to != trigger:
        raise UsageError(
            f"--trigger is '{trigger}' and token_string is '{set_to}', but both are the embedding's word",
            "leave out token_string",
        )
    return set_to, changes


def _prediction(text: str | None) -> Prediction | None:
    known = {each.value: each for each in Prediction}
    if text and text not in known:
        raise UsageError(f"no prediction '{text}'", f"one of: {', '.join(known)}")
    return known[text] if text else None
