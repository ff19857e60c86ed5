"""Prepare the drawing of a run's grid: which pictures are missing, by which processes, in what memory and time.

sd-scripts' sdxl_gen_img.py draws (v0.10.1 and v0.11.1 alike). Checkpoints of a network are drawn by one process, which
exchanges the network's weights (inside/draw.py); a full checkpoint and an embedding take a process each.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sdxl_train_cli import files
from sdxl_train_cli.environment import environment, hub
from sdxl_train_cli.environment.environment import INSIDE, Environment
from sdxl_train_cli.errors import SetupError, UsageError
from sdxl_train_cli.gpu import Gpu
from sdxl_train_cli.importers import named_code
from sdxl_train_cli.layout import Home
from sdxl_train_cli.memory import cuda_context, drawing_need
from sdxl_train_cli.ranking import grid as grids
from sdxl_train_cli.ranking.grid import Grid, GridCell, GridCheckpoint, GridFolder, GridPrompt
from sdxl_train_cli.recipe import Kind, Recipe
from sdxl_train_cli.records import untrusted_run
from sdxl_train_cli.records.history import Loaded
from sdxl_train_cli.records.record import Inputs
from sdxl_train_cli.run import drawing_time, preparation
from sdxl_train_cli.run.drawing_time import Duration
from sdxl_train_cli.sdscripts import checkpoint, results, sample_prompts
from sdxl_train_cli.sdscripts.results import CheckpointFile

SCRIPT = "sdxl_gen_img.py"
_SAMPLER = "euler_a"
_WORDS_A_WINDOW = 75
PLAN, PROMPTS = "plan.json", "prompts.txt"
_NOT_IN_FILES = {"networks.lokr": ("factor",)}
"""Arguments of a network's module that decide the shapes, and that it doesn't read from the file (v0.11.1)."""
_NETWORKS = ("drawn_checkpoint", "drawn_strength")
"""The network modules that inside/draw.py offers."""


@dataclass(frozen=True)
class DrawingRequest:
    """What was asked for."""

    checkpoints: Sequence[CheckpointFile]
    strengths: tuple[float, ...]
    prompts: Sequence[GridPrompt]
    gpu_index: int | None = None
    check_vram: bool = True


@dataclass(frozen=True)
class DrawingJob:
    """One process and the pictures that it draws."""

    argv: tuple[str, ...]
    plan: Mapping[str, object]
    lines: tuple[str, ...]
    cells: tuple[GridCell, ...]
    link: tuple[Path, str] | None = None
    """An embedding, and the name it must have for its word."""


@dataclass(frozen=True)
class PreparedDrawing:
    """A drawing that can start. Nothing is written yet."""

    folder: GridFolder
    grid: Grid
    jobs: tuple[DrawingJob, ...]
    cwd: Path
    variables: Mapping[str, str]
    device: Gpu | None
    memory: str | None
    duration: Duration | None
    """None where nothing tells the pace: the first pictures do."""

    @property
    def missing(self) -> int:
        """Pictures that are drawn."""
        return sum(len(job.cells) for job in self.jobs)

    @property
    def total(self) -> int:
        """Pictures of the whole grid. Checkpoints with the same weights share theirs."""
        return len({cell.file for cell in self.grid.cells})

    @property
    def words(self) -> str:
        """How much is drawn, and how long that takes."""
        there = f" ({self.total - self.missing} of {self.total} are there)" if self.total > self.missing else ""
        loads = "once" if len(self.jobs) == 1 else f"{len(self.jobs)} times"
        time = "the time is known after the first pictures" if self.duration is None else f"about {self.duration}"
        return f"{self.missing} pictures{there}, the base model loaded {loads}: {time}"


def prepare(entry: Loaded, home: Home, request: DrawingRequest) -> PreparedDrawing:
    """Check everything and lay the grid out. Raises what is wrong, writes nothing."""
    installed = environment.require(home)
    recipe, inputs = _recorded(entry)
    _require_drawable(installed, recipe)
    untrusted_run.require_harmless_files(entry, recipe)
    named_code.require_harmless_recipe(recipe)
    if inputs.tokenizers is None:
        hub.require(inputs.model, home, os.environ)
    device = None if inputs.on_processor else preparation.choose_device(request.gpu_index)
    if device is None and not inputs.on_processor:
        words = "no NVIDIA GPU was found, and on a processor a picture takes many minutes"
        raise UsageError(words, "draw where the GPU is, or rank the files without --draw")
    scripted = _Scripted(installed, recipe, inputs, device, home)
    folder = GridFolder(entry.folder)
    laid = grids.lay_out(
        scripted.settings,
        [GridCheckpoint(file=one.path.name, moment=one.moment, step=one.step, sha256=results.weights_sha256(one.path))
         for one in request.checkpoints],
        request.strengths if recipe.kind.is_network else (grids.NO_STRENGTH,),
        request.prompts,
    )  # fmt: skip
    kept = folder.load()
    laid = laid.model_copy(update={"pace": None if kept is None else kept.pace})
    jobs = tuple(scripted.jobs(entry.folder, laid, folder.missing(laid)))
    return PreparedDrawing(
        folder=folder,
        grid=laid,
        jobs=jobs,
        cwd=installed.checkout,
        variables=scripted.variables,
        device=device,
        memory=_memory(scripted, request, device) if request.check_vram and jobs else None,
        duration=drawing_time.foretell(entry, recipe, laid, [job.cells for job in jobs], device),
    )


def _recorded(entry: Loaded) -> tuple[Recipe, Inputs]:
    recipe, inputs = entry.record.recipe, entry.record.inputs
    if recipe is None or inputs is None:
        raise UsageError(f"the record of {entry.folder} does not say what was run", "rank its files without --draw")
    return recipe, inputs


def _require_drawable(installed: Environment, recipe: Recipe) -> None:
    if not files.is_file(installed.checkout / SCRIPT):
        raise SetupError(f"this sd-scripts ({installed.lock.ref}) has no {SCRIPT}", "run `sdxl-train setup --update`")
    if not installed.trains:
        raise SetupError("this environment has no torch, so it draws nothing", environment.ANEW)
    if recipe.is_on("train_inpainting"):
        raise UsageError(f"{SCRIPT} can't draw with an inpainting model", "rank its files without --draw")


def _memory(scripted: _Scripted, request: DrawingRequest, device: Gpu | None) -> str | None:
    if device is None:
        return None
    pixels = max(prompt.width * prompt.height for prompt in request.prompts)
    network = max((one.size_bytes for one in request.checkpoints), default=0) if scripted.recipe.kind.is_network else 0
    context = cuda_context.of(device, scripted.installed)
    return drawing_need.require(drawing_need.of(pixels, network, context, half=scripted.precision != "no"), device)


@dataclass(frozen=True)
class _Scripted:
    """sdxl_gen_img.py with what is the same for all pictures of a run."""

    installed: Environment
    recipe: Recipe
    inputs: Inputs
    device: Gpu | None
    home: Home

    @property
    def precision(self) -> str:
        """As the run computed; on a processor in full, which is faster there."""
        return "no" if self.device is None else str(self.recipe.get("mixed_precision") or "no")

    @property
    def sampler(self) -> str:
        """The run's own."""
        return str(self.recipe.get(sample_prompts.SAMPLER) or _SAMPLER)

    @property
    def scheduler(self) -> dict[str, object]:
        """What the samplers must be told of the base, which sdxl_gen_img.py has no option for."""
        told: dict[str, object] = {}
        if self.recipe.is_on("v_parameterization"):
            told["prediction_type"] = "v_prediction"
        if self.recipe.is_on("zero_terminal_snr"):
            told |= {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
        return told

    @property
    def settings(self) -> dict[str, str]:
        """All that decides what a picture shows, beside its checkpoint, strength, prompt and seed."""
        return {
            "model": _identity(self.inputs.model),
            "vae": _identity(self.inputs.vae) if self.inputs.vae else "",
            "sampler": self.sampler,
            "precision": self.precision,
            "windows": self._windows,
            "scheduler": json.dumps(self.scheduler, sort_keys=True),
            "module": str(self.recipe.get("network_module") or ""),
            "sd-scripts": self.installed.lock.commit,
        }

    @property
    def _windows(self) -> str:
        tokens = self.recipe.number("max_token_length") or _WORDS_A_WINDOW
        return str(max(1, int(tokens) // _WORDS_A_WINDOW))

    @property
    def variables(self) -> dict[str, str]:
        """The script's environment variables. It takes the first GPU that it sees."""
        own = self.inputs.tokenizers is not None
        processes = preparation.processes_on(self.device)
        return preparation.variables(self.home, self.inputs.model, processes, self.recipe, own_tokenizers=own)

    def jobs(self, run: Path, laid: Grid, missing: Sequence[GridCell]) -> Iterator[DrawingJob]:
        """A process for each base model, each set of files with the same tensors, each embedding."""
        groups: dict[object, list[GridCell]] = {}
        for cell in missing:
            groups.setdefault(self._group(run, laid, cell), []).append(cell)
        for cells in groups.values():
            yield self._job(run, laid, cells)

    def _group(self, run: Path, laid: Grid, cell: GridCell) -> object:
        if self.recipe.kind.is_network:
            if cell.checkpoint is None and not str(self.recipe.get("network_module")).startswith("networks."):
                return None  # only sd-scripts' own networks are known to leave the base as it is at strength 0
            file = laid.checkpoints[cell.checkpoint or 0].file
            return frozenset(checkpoint.read_header(run / file).shapes.items())
        return cell.checkpoint

    def _job(self, run: Path, laid: Grid, cells: Sequence[GridCell]) -> DrawingJob:
        kind, first = self.recipe.kind, cells[0].checkpoint
        numbers = list(dict.fromkeys(cell.checkpoint or 0 for cell in cells))
        names = [str(run / laid.checkpoints[number].file) for number in numbers]
        bare = self._group(run, laid, cells[0]) is None
        switched = kind.is_network and not bare
        plan = {
            "module": str(self.recipe.get("network_module")) if switched else None,
            "arguments": self._arguments() if switched else {},
            "files": names if switched else [],
            "scheduler": self.scheduler,
        }
        base = names[0] if kind is Kind.DREAMBOOTH and first is not None else checkpoint.require_sdxl(self.inputs.model)
        lines = [laid.prompts[cell.prompt].line(cell.seed) for cell in cells]
        if switched:
            lines = [
                f"{line} --am {numbers.index(cell.checkpoint or 0)},{cell.strength:g}"
                for line, cell in zip(lines, cells, strict=True)
            ]
        drawing = GridFolder(run).drawing
        link = None
        if kind is Kind.EMBEDDING and first is not None:
            link = Path(names[0]), f"{self.recipe.get('token_string') or self.inputs.trigger}.safetensors"
        argv = [*self._script(drawing), "--ckpt", base, *self._given(drawing)]
        if switched:
            where = str(drawing / PLAN)
            argv += ["--network_module", *_NETWORKS, "--network_weights", where, where, "--network_mul", "0", "1"]
        if link is not None:
            argv += ["--textual_inversion_embeddings", str(drawing / link[1])]
        return DrawingJob(tuple(argv), plan, tuple(lines), tuple(cells), link)

    def _arguments(self) -> dict[str, str]:
        """What the network's module can't tell from a file."""
        given = self.recipe.arguments("network_args")
        wanted = _NOT_IN_FILES.get(str(self.recipe.get("network_module")), ())
        return {name: given[name] for name in wanted if name in given}

    def _script(self, drawing: Path) -> list[str]:
        shim = untrusted_run.own_script(self.inputs.shim)
        shims = [] if shim is None else [str(shim)]
        return [str(self.installed.python), *shims, str(INSIDE / "draw.py"), str(drawing / PLAN), SCRIPT]

    def _given(self, drawing: Path) -> list[str]:
        vae = ["--vae", checkpoint.require_vae(self.inputs.vae)] if self.inputs.vae else []
        half = [] if self.precision == "no" else [f"--{self.precision}"]
        return [
            *vae, *half, "--no_half_vae", "--sdpa", "--sampler", self.sampler, "--batch_size", "1",
            "--max_embeddings_multiples", self._windows, "--tokenizer_cache_dir",
            str(self.inputs.tokenizers or self.home.tokenizers), "--from_file", str(drawing / PROMPTS),
            "--outdir", str(drawing), "--sequential_file_name",
        ]  # fmt: skip


def _identity(model: str) -> str:
    """A model's name, with what changes where its file does. Hashing 7 GB would take as long as a picture."""
    try:
        found = Path(model).stat()
    except OSError:
        return model
    return f"{model} {found.st_size} {found.st_mtime_ns}"
