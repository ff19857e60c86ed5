"""The command table, and main(), the only place that turns errors into messages and exit codes.

A command's module is imported when the command is used: --help and a misspelled name must not wait for it.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple, cast

import typer
from typer.core import TyperCommand, TyperGroup

from sdxl_train_cli import __version__, signals
from sdxl_train_cli.errors import Problem, SdxlTrainError, UsageError
from sdxl_train_cli.ui import printing

_ClickUsageError = cast("type[typer.BadParameter]", typer.BadParameter.__bases__[0])
"""The usage error of click, or of typer's vendored copy of click. Typer has no public name for it."""


_NAME = "sdxl-train"
_OTHERS = "Other options"
_SHORT = 2
"""Characters of a short option: -s."""
_WIDEST_HELP = 160
"""Columns. Longer lines are hard to read on any terminal."""


class Command(NamedTuple):
    """One command: its help and the function that runs it."""

    help: str
    """One line for the list of commands."""
    function: str
    """`module.function` below sdxl_train_cli.commands."""
    more: str = ""
    """Paragraphs that only the command's own --help shows."""


class CommandGroup(NamedTuple):
    """A command that has subcommands."""

    help: str
    commands: Mapping[str, Command | CommandGroup]


_LARGE = (
    "With 24 GB the preset gc fits if little else is on the card; `--set fused_backward_pass=true` needs less. "
    "Smaller cards: `sdxl-train plan --kind dreambooth`."
)

_WORD = (
    "Textual inversion: the model stays as it is. --trigger names the word, which must be new to CLIP. "
    "`--set init_word=woman` begins with a known word, `--set num_vectors_per_token=4` gives it more to say."
)

_SHARED = (
    "What tells of you or this machine is left out, and listed. The same share is byte for byte the same each time."
)

_POINTS = (
    "`--set learning_rate=5e-5,1e-4 --set network_dim=16,32` are four runs, one for each combination. A value that "
    "holds a comma, as of optimizer_args, is given with a --set of its own. `1e-5..1e-3` is a range, for --random and "
    "--search."
)

_KINDS: Mapping[str, Command] = {
    "lora": Command("Train a LoRA: small, quick, the usual choice.", "train.train"),
    "locon": Command("Train a LoCon: convolutions too, for styles.", "train.train"),
    "loha": Command("Train a LoHa: two LoRAs multiplied, for many subjects.", "train.train"),
    "lokr": Command("Train a LoKr: the closest likeness for its size.", "train.train"),
    "dreambooth": Command("Train the whole U-Net: 24 GB of VRAM and up.", "train.train", _LARGE),
    "embedding": Command("Train an embedding: a new word, in a file of kilobytes.", "train.train", _WORD),
}

_SWEPT: Mapping[str, Command] = {
    kind: Command(f"Train {label} with several settings.", "sweep.adding.train", _POINTS)
    for kind, label in {"lora": "LoRAs", "locon": "LoCons", "loha": "LoHas", "lokr": "LoKrs",
                        "dreambooth": "whole U-Nets", "embedding": "embeddings"}.items()
}  # fmt: skip

COMMANDS: Mapping[str, Command | CommandGroup] = {
    "setup": Command("Install sd-scripts and torch in their own environment.", "setup.setup"),
    "start": Command("Ask what to train, write the project file, and start.", "start.start",
                     "Every question is a flag too. A script is never asked: it gets the defaults, and --yes starts."),
    "smoke": Command("Prove that training works, on any machine.", "smoke.train_tiny"),
    "doctor": Command("Find what is broken in this installation, and mend it.", "doctor.examine",
                      "Exit code 5 if something is broken; warnings end with 0."),
    "init": Command("Write a project file for any kind, without a question.", "init.init"),
    **_KINDS,
    "best": Command("Tell which checkpoint of a training to keep, and why.", "best.best",
                    "Rests on the loss of held-back pictures where there is one, else on the files alone. "
                    "Drawn pictures choose among files that these can't tell apart, and show suspected copies."),
    "plan": Command("Suggest what to train on this GPU, with the command to type.", "vram.plan"),
    "fit": Command("Measure which settings train fastest, in real steps.", "fit.fit"),
    "vram": Command("Show the GPU memory that settings need: measured, estimated.", "vram.vram"),
    "dataset": CommandGroup("Check, show, repair and caption your pictures.", {
        "check": Command("Find what is wrong with pictures and captions.", "dataset.check.check",
                         "Exit code 4 if there are errors."),
        "show": Command("Show what SDXL will really see: buckets, crops, steps, tags.", "dataset.show.show"),
        "fix": Command("Make a repaired copy that is ready to train.", "dataset.fix.fix",
                       "The originals are never touched."),
        "caption": Command("Tag pictures that have no caption with sd-scripts' tagger.", "dataset.caption.caption"),
    }),
    "inspect": Command("Show what a LoRA or checkpoint is, and what it learned.",
                       "inspect_file.inspect", "Exit code 4 if the file is of no use."),
    "file": CommandGroup("Show, edit, resize, merge, extract and convert files.", {
        "show": Command("Show what a file says of itself: title, words, settings.", "file.show.show",
                        "`sdxl-train inspect` says whether a file is good, and which programs read it."),
        "edit": Command("Change what a file says of itself, or scrub it. The weights stay.", "file.edit.edit",
                        "Titles and the like are written as modelspec keys, which image programs show. "
                        "An empty text takes a key away."),
        "resize": Command("Give a LoRA or LoCon a smaller rank, and say what is lost.", "file.resize.resize",
                          "sd-scripts' networks/resize_lora.py decomposes each module and keeps its largest parts."),
        "merge": Command("Merge LoRAs into one, exactly, or into a checkpoint.", "file.merge.merge",
                         "`merge a.safetensors:0.8 b.safetensors:0.5` adds what both add at these strengths."),
        "extract": Command("Take what a checkpoint learned beside its base as a LoRA.", "file.extract.extract"),
        "convert": Command("Give a LoRA other programs' names, or a file another precision.", "file.convert.convert",
                           "Names: kohya (A1111, Forge, ComfyUI), diffusers (peft), comfyui. --dtype takes any file."),
    }),
    "share": Command("Make a trained file ready for others: card, previews, hashes.", "share.share", _SHARED),
    "presets": CommandGroup("List, show, check, import and export presets.", {
        "list": Command("List presets by what they are for, and what they need.", "presets.listing.list_"),
        "show": Command("Show a preset in full, and where each value comes from.", "presets.listing.show"),
        "check": Command("Find every problem in preset files.", "presets.listing.check",
                         "Shows line numbers; exit code 3 if there are any."),
        "new": Command("Make a commented preset that fits your card, from five answers.", "presets.new.new"),
        "diff": Command("Compare two presets, sd-scripts' defaults included.", "presets.diff.diff"),
        "schema": Command("Write a JSON Schema of presets, for editors.", "presets.schema.schema"),
        "import": Command("Make presets from other programs' settings.", "presets.import_export.import_"),
        "export": Command("Write a preset for another program.", "presets.import_export.export"),
    }),
    "runs": CommandGroup("List, show, compare and resume runs.", {
        "list": Command("List every run, newest first.", "runs.listing.list_"),
        "watch": Command("Watch every run: what trains and how far it is.", "runs.watching.watch",
                         "Until Ctrl-C. Runs on a cluster are among them, and what waits there."),
        "show": Command("Show one run: settings, results, how it ended.", "runs.showing.show"),
        "diff": Command("Compare two runs: settings, data, results.", "runs.showing.diff"),
        "explain": Command("Explain why a run failed and what to type next.", "runs.explain.explain",
                           "Reads any sd-scripts log."),
        "resume": Command("Resume a run that was stopped or cut off.", "runs.resume.resume"),
        "rerun": Command("Repeat a run under a new name.", "runs.rerun.rerun"),
        "report": Command("Write an HTML report of a run.", "runs.report.write_report",
                          "Curves, samples, settings and checkpoints on one page; works offline."),
        "export": Command("Write a run as a task for sbatch, SkyPilot or Kubernetes.", "runs.export.export",
                          "The task holds the settings, and resumes a run that was cut off."),
        "rm": Command("Delete runs and everything that they made.", "runs.rm.rm",
                      "Files that don't belong to the run are kept."),
        "tensorboard": Command("Show the logs of one run, or of all, in TensorBoard.", "runs.tensorboard.serve",
                               "Runs until Ctrl-C; prints its address to stdout."),
    }),
    "queue": CommandGroup("Run many trainings unattended, one after another.", {
        "add": CommandGroup("Put a training at the end of the queue.", {
            **_KINDS,
            "rerun": Command("Repeat a run under a new name.", "runs.rerun.rerun"),
        }),
        "list": Command("List the queue: what runs, what waits, what has ended.", "queue.listing.list_"),
        "start": Command("Work off the queue: one job on each GPU, until none is left.", "queue.working.start",
                         "Goes on after a failure and a closed terminal. What a crash or a reboot cut off is "
                         "resumed from its last state by the next start."),
        "stop": Command("Stop a job, or the worker with all that runs.", "queue.working.stop",
                        "What was stopped can be resumed: `queue start`, or `queue retry` for a single job."),
        "run": Command("Carry out one job now, in this terminal.", "queue.running.run"),
        "log": Command("Print what a job has printed.", "queue.listing.log"),
        "move": Command("Let a waiting job start earlier or later.", "queue.changing.move"),
        "retry": Command("Let jobs that failed or were stopped run again.", "queue.changing.retry"),
        "rm": Command("Take jobs out of the queue. Their runs stay.", "queue.changing.rm"),
        "service": Command("Write a service that starts the worker with the machine.", "queue.service.write_service",
                           "A systemd user unit on Linux; on Windows, the line for a scheduled task."),
    }),
    "cluster": CommandGroup("Train on a Slurm cluster: set up, list, retry.", {
        "init": Command("Ask how this cluster wants its jobs, and check it by a short job.",
                        "cluster.setting_up.init",
                        "Every question is a flag too. A script is never asked: it gets the defaults."),
        "list": Command("List what was submitted: what waits and why, what runs where.", "cluster.listing.list_"),
        "retry": Command("Submit again what failed, was cancelled or cut off.", "cluster.listing.retry",
                         "Runs are resumed from their states."),
        "run": Command("Carry out one training of a submission. Jobs type this.", "cluster.running.run"),
    }),
    "sweep": CommandGroup("Compare settings: queue a training for each, and rank them.", {
        **_SWEPT,
        "list": Command("List sweeps, newest first.", "sweep.listing.list_"),
        "show": Command("Show a sweep: its points, what came of them, which is best.", "sweep.listing.show",
                        "Ranked by the loss on held-back pictures, picture by picture, as `best` ranks checkpoints."),
        "stop": Command("Stop what runs of a sweep, and remove what waits.", "sweep.changing.stop"),
        "rm": Command("Forget a sweep that has ended. Its runs stay.", "sweep.changing.rm"),
    }),
}  # fmt: skip


def each_command(
    rows: Mapping[str, Command | CommandGroup] = COMMANDS, above: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Command]]:
    """Every command with the words that call it, those within groups too."""
    for name, row in rows.items():
        if isinstance(row, CommandGroup):
            yield from each_command(row.commands, (*above, name))
        else:
            yield (*above, name), row


class CommandTable(TyperGroup):
    """A group that lists commands without importing them."""

    def __init__(self, *, rows: Mapping[str, Command | CommandGroup] = COMMANDS, **attrs: Any) -> None:  # noqa: ANN401 - typer's
        super().__init__(**{**attrs, "commands": {name: _placeholder(name, row) for name, row in rows.items()}})
        self._rows = rows

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401 - click's, or those of typer's own copy
        """Return the named command. Imports its module."""
        if args[0] not in self._rows and not args[0].startswith("-") and not ctx.resilient_parsing:
            from sdxl_train_cli.commands import misuse

            raise UsageError(misuse.unknown_command(args[0], ctx.command_path, _groups()))
        name, listed, rest = super().resolve_command(ctx, args)
        row = self._rows.get(name) if name else None
        return name, _load_command(name, row) if name and isinstance(row, Command) else listed, rest


class HelpfulCommand(TyperCommand):
    """A command whose help is in groups where it is long, and that answers words that it can't place."""

    def format_options(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401 - as above
        """Write the options, each group below its heading."""
        params = self.get_params(ctx)
        is_grouped = any(getattr(param, "rich_help_panel", None) for param in params)
        sections: dict[str, list[tuple[str, str]]] = {}
        for param in params:
            is_argument = param.param_type_name == "argument"
            words = str(getattr(param, "help", None) or "")
            record = (param.metavar or str(param.name), words) if is_argument else param.get_help_record(ctx)
            if record is not None:
                group = getattr(param, "rich_help_panel", None)
                heading = "Arguments" if is_argument else group or (_OTHERS if is_grouped else "Options")
                sections.setdefault(heading, []).append(record)
        for heading, records in sorted(sections.items(), key=lambda section: section[0] == _OTHERS):
            with formatter.section(heading):
                formatter.write_dl(records)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - as above
        """Read the command line. UsageError for words that belong to no option."""
        flags = {flag for param in self.params for flag in param.opts}
        single = next((word for word in args if len(word) > _SHORT and f"-{word}" in flags), None)
        if single is not None:
            raise UsageError(f"{single} begins with one dash", f"{ctx.command_path} -{single}")
        try:
            rest: list[str] = super().parse_args(ctx, args)
        except _ClickUsageError as error:
            error.ctx = error.ctx or ctx
            raise
        if ctx.args and not ctx.resilient_parsing:
            from sdxl_train_cli.commands import misuse

            raise UsageError(misuse.extra_words(ctx.args, ctx))
        return rest


def _groups(rows: Mapping[str, Command | CommandGroup] = COMMANDS, above: str = "") -> dict[str, list[str]]:
    """The commands, each with its subcommands. A group within a group is named after both."""
    found: dict[str, list[str]] = {}
    for name, row in rows.items():
        if isinstance(row, CommandGroup):
            found[f"{above}{name}"] = list(row.commands)
            found |= _groups(row.commands, f"{above}{name} ")
        elif not above:
            found[name] = []
    return found


def _placeholder(name: str, row: Command | CommandGroup) -> Any:  # noqa: ANN401 - as above
    if isinstance(row, CommandGroup):
        return CommandTable(name=name, rows=row.commands, help=row.help, no_args_is_help=True, rich_markup_mode=None)
    return TyperCommand(name, help=row.help, rich_markup_mode=None)


def _load_command(name: str, row: Command) -> Any:  # noqa: ANN401 - as above
    module, _, function = row.function.rpartition(".")
    command = getattr(importlib.import_module(f"sdxl_train_cli.commands.{module}"), function)
    single = typer.Typer(add_completion=False, rich_markup_mode=None)
    words = "\n\n".join(filter(None, (row.help, row.more)))
    single.command(name, cls=HelpfulCommand, help=words, context_settings={"allow_extra_args": True})(command)
    return typer.main.get_command(single)


def _dashed(token: str) -> str:
    """`--batch_size` is `--batch-size`: sd-scripts' spelling is understood."""
    return token.replace("_", "-")


app = typer.Typer(
    cls=CommandTable,
    no_args_is_help=True,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": _WIDEST_HELP,
        "token_normalize_func": _dashed,
    },
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help takes half the time
)


def _print_version(wanted: bool) -> None:
    if wanted:
        printing.out(f"sdxl-train {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version")
    ] = False,
) -> None:
    """Train SDXL with kohya-ss/sd-scripts: set up, checked before it starts, watched to its end."""


def main() -> None:
    """Run a command. Every error becomes one line with a hint, and has its own exit code."""
    _prepare_streams()
    signals.raise_stopped()
    try:
        sys.exit(_exit_code())
    except signals.Stopped as stop:
        printing.err("")
        printing.err("stopped")
        _tell_as_json([Problem("stopped")], 128 + stop.signum)
        sys.exit(128 + stop.signum)


def _exit_code() -> int:
    """Run a command and return its exit code."""
    try:
        _require_folder()
        code = app(standalone_mode=False, prog_name=_NAME)
    except SdxlTrainError as error:
        from sdxl_train_cli.ui import console

        console.errors(error.problems)
        _tell_as_json(error.problems, error.exit_code, error.facts)
        return error.exit_code
    except _ClickUsageError as error:
        return _report_misuse(error)
    except typer.Abort:
        printing.err("Aborted!")
        _tell_as_json([Problem("aborted")], 1)
        return 1
    except Exception as error:  # noqa: BLE001 - last resort: the user gets one line, not a traceback
        from sdxl_train_cli import crash_report

        problem, code = crash_report.explain(error, os.environ)
        printing.err_problem(problem)
        _tell_as_json([problem], code)
        return code
    return code if isinstance(code, int) else 0


def _report_misuse(error: typer.BadParameter) -> int:
    """Print what is wrong with the command line, in the style of every other error; the help if nothing was typed."""
    if error.ctx is not None and error.message == error.ctx.get_help():
        printing.err_document(error.message)
        return UsageError.exit_code
    from sdxl_train_cli.commands import misuse
    from sdxl_train_cli.ui import console

    problem = misuse.explain(error, sys.argv[1:], _groups())
    console.errors([problem])
    _tell_as_json([problem], UsageError.exit_code)
    return UsageError.exit_code


def _tell_as_json(problems: Sequence[Problem], code: int, facts: Mapping[str, object] | None = None) -> None:
    """Print what went wrong as the last line of JSON, where JSON was asked for."""
    if "--json" not in sys.argv[1:]:
        return
    told = [{"message": str(one), "hint": "\n".join(one.hint_lines) or None} for one in problems]
    with contextlib.suppress(SdxlTrainError, BrokenPipeError):
        printing.data({"event": "error", "exit_code": code, **(facts or {}), "problems": told}, indent=None)


def _require_folder() -> None:
    """Raise UsageError if the current folder is gone. Every relative path would fail later, each differently."""
    try:
        Path.cwd()
    except OSError as error:
        raise UsageError("the current folder no longer exists", "cd to a folder that exists") from error


def _prepare_streams() -> None:
    """Replace characters that the terminal's encoding lacks (a Windows code page, LANG=C) instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


if __name__ == "__main__":
    main()
