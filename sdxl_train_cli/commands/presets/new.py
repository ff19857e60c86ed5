"""`sdxl-train presets new`: create a commented preset from five questions."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from sdxl_train_cli import formatting, gpu
from sdxl_train_cli.commands import asking, values, workspace
from sdxl_train_cli.commands.presets import listing
from sdxl_train_cli.commands.workspace import KindFilter
from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.memory import preset_drafting
from sdxl_train_cli.memory.preset_drafting import CUSTOMS, DraftAnswers, Priority, TrainingSubject
from sdxl_train_cli.recipes import preset_folders
from sdxl_train_cli.ui import console

Name = Annotated[str | None, typer.Argument(metavar="NAME", help="The preset's name")]
What = Annotated[
    str | None,
    typer.Option("--what", metavar="SUBJECT", help="What you train: character, object, style, concept or several"),
]
GpuMemory = Annotated[float | None, values.gpu_memory("The GPU's memory in GB [default: the real one's]")]
Pictures = Annotated[int | None, values.whole("--pictures", about="Number of pictures you have")]
For = Annotated[str | None, typer.Option("--for", metavar="AIM", help="What matters more: speed or quality")]
To = Annotated[
    Path | None, typer.Option("--to", metavar="FOLDER", help="Folder for the preset [default: your own presets]")
]
Force = Annotated[bool, typer.Option("--force", help="Overwrite an existing preset")]


def new(
    name: Name = None, what: What = None, kind: KindFilter = None, gpu_memory: GpuMemory = None,
    pictures: Pictures = None, priority: For = None, to: To = None, force: Force = False,
) -> None:  # fmt: skip
    """Make a commented preset that fits your card, from five answers."""
    answers = _answers(name, what, kind, gpu_memory, pictures, priority)
    drafted = preset_drafting.draft(answers, workspace.user_presets())
    folder = to or workspace.user_presets() / answers.kind.value
    path = folder / f"{answers.name}.yaml"
    preset_folders.write(path, drafted.text, force=force)
    console.note(f"needs {drafted.need} of {answers.free_gib:.1f} GB free; read it, then:")
    shown = formatting.shell_word(answers.name if to is None else path)
    console.note(f"sdxl-train {answers.kind.value} --preset {shown} --data YOUR-PICTURES")
    console.out(str(path))


def _answers(
    name: str | None, what: str | None, kind: str | None, gpu: float | None, pictures: int | None, priority: str | None
) -> DraftAnswers:
    size = _real_gib() if gpu is None else gpu
    _require_askable({"--what": what, "--gpu-memory": size, "--pictures": pictures, "--for": priority, "NAME": name})
    subject = TrainingSubject(_one_of("What do you train?", "--what", [one.value for one in TrainingSubject], what))
    asks = name is None or pictures is None or priority is None or what is None
    card = size if size is not None and (gpu is not None or not asks) else _card(size)
    count = int(_asked("How many pictures do you have?", None, int, least=1)) if pictures is None else pictures
    wanted = Priority(_one_of("What matters more?", "--for", [one.value for one in Priority], priority))
    chosen = listing.find_kind(kind) or CUSTOMS[subject].kind
    called = asking.ask("What is the preset called?", f"my-{subject.value}", str) if name is None else name
    return DraftAnswers(subject, chosen, _free_gib(card), count, wanted, _safe(called))


def _card(real: float | None) -> float:
    return _asked("How many GB does the card have?", real, float, least=1.0)


def _require_askable(given: dict[str, object]) -> None:
    """Refuse to ask questions of a script, which could not answer."""
    missing = [flag for flag, value in given.items() if value is None]
    if missing and not asking.is_possible():
        raise UsageError(
            f"not answered: {', '.join(missing)}",
            "there is no terminal for the questions; answer with flags: "
            "sdxl-train presets new NAME --what character --gpu-memory 12 --pictures 30 --for quality",
        )


def _one_of(question: str, flag: str, choices: Sequence[str], typed: str | None) -> str:
    if typed is not None:
        return asking.require_one_of(flag, typed, choices)
    return asking.ask(f"{question} {', '.join(choices)}", choices[0], asking.one_of(choices))


def _asked(question: str, default: object, convert: Callable[[str], float], least: float) -> float:
    def number(text: str) -> float:
        try:
            value = convert(text)
        except ValueError as error:
            raise typer.BadParameter("a number") from error
        if not value >= least:
            raise typer.BadParameter(f"at least {least:g}")
        return value

    return asking.ask(question, default, number)


def _real_gib() -> float | None:
    return max((round(device.total_gib, 1) for device in gpu.devices()), default=None)


def _free_gib(size: float) -> float:
    """Free memory of a GPU of this size that also runs a desktop."""
    return gpu.hypothetical(size, gpu.usual_headroom_gib()).free_gib


def _safe(name: str) -> str:
    """A name valid on every file system and shown by `presets list`."""
    if not re.fullmatch(r"[^\W_][\w .+-]{0,99}", name) or name.endswith((".", " ")):
        raise UsageError(f"'{name}' is not a valid preset name", "use letters, digits, - and _, such as my-style")
    return name
