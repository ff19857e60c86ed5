"""Preview pictures: drawn anew as PNG, with a prompt as image programs read it, and nothing else of the original."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image, ImageOps, PngImagePlugin, UnidentifiedImageError

from sdxl_train_cli import files, formatting
from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.ranking import drawn_pictures
from sdxl_train_cli.ranking.grid import Grid, GridFolder
from sdxl_train_cli.ranking.picture_scores import DrawnPicture
from sdxl_train_cli.records import recorded_prompts
from sdxl_train_cli.records.history import Loaded
from sdxl_train_cli.sdscripts import results, sample_prompts
from sdxl_train_cli.sdscripts.results import CheckpointFile, SampleFile
from sdxl_train_cli.sharing import drawing, image_programs, told_drawing
from sdxl_train_cli.sharing.drawing import Drawing
from sdxl_train_cli.sharing.image_programs import SharedModel
from sdxl_train_cli.sharing.private import Cleaner

MOST = 12
"""Pictures of a share. More are a gallery, which a person puts together."""
_MOST_PIXELS = 32_000_000
_LARGEST_FILE = 100_000_000
_COMPRESSION = 6


@dataclass(frozen=True)
class Preview:
    """One picture of the share."""

    name: str
    content: bytes
    size: tuple[int, int]
    drawn: Drawing | None
    """None where nothing tells how it was drawn."""
    moment: str | None
    """Of the training: `step 300`. None for a picture that was given."""


@dataclass(frozen=True)
class PreviewSource:
    """A picture to take."""

    path: Path
    drawn: Drawing | None
    moment: str | None = None


def of_grid(entry: Loaded, file: Path, strength: float) -> list[PreviewSource]:
    """Pictures that `sdxl-train best --draw` has drawn with this very file, at the strength next to this one."""
    folder = GridFolder(entry.folder)
    grid = folder.load()
    if grid is None:
        return []
    found = [each for each in drawn_pictures.of_grid(folder, grid).pictures if each.checkpoint == file]
    nearest = min((each.strength for each in found), key=lambda one: abs(one - strength), default=strength)
    shown = {each.prompt: each for each in reversed(found) if each.strength == nearest}  # the first seed of each prompt
    return [PreviewSource(each.path, _of_cell(grid, each)) for _, each in sorted(shown.items())][:MOST]


def _of_cell(grid: Grid, cell: DrawnPicture) -> Drawing:
    prompt, sampler = grid.prompts[cell.prompt], drawing.samplers().get(grid.settings.get("sampler", ""))
    return Drawing(
        prompt.words, prompt.negative, prompt.steps, prompt.scale, cell.seed, sampler, strength=cell.strength
    )


def of_run(entry: Loaded, saved: CheckpointFile | None) -> list[PreviewSource]:
    """The samples that show the file best: of its own moment, or of the last one before it."""
    found = results.samples(entry.folder, entry.name)
    moment = _moment(found, saved)
    setting = entry.record.settings.get(sample_prompts.SAMPLER)
    sampler = None if setting is None else str(setting.value)
    lines, since = recorded_prompts.lines(entry), recorded_prompts.changed_at(entry)
    return [
        PreviewSource(
            each.path, _drawn(lines if _is_older(since, each) else (), each.prompt, sampler), each.moment
        )
        for each in found
        if each.moment == moment
    ][:MOST]  # fmt: skip


def _is_older(changed_at: float | None, sample: SampleFile) -> bool:
    """Whether the prompts have not changed since the sample was drawn."""
    return changed_at is None or changed_at <= sample.path.stat().st_mtime


def _drawn(lines: Sequence[str], number: int, sampler: str | None) -> Drawing | None:
    return drawing.of_sample(sample_prompts.parse(lines[number], sampler)) if number < len(lines) else None


def _moment(found: Sequence[SampleFile], saved: CheckpointFile | None) -> str | None:
    """The last moment that is not after the file's. Epochs and steps can't be compared with each other."""
    moments = list(dict.fromkeys(each.moment for each in found))
    if saved is None or saved.moment == results.FINAL:
        return moments[-1] if moments else None
    unit, number = _counted(saved.moment)
    earlier = [each for each in moments if _counted(each)[0] == unit and _counted(each)[1] <= number]
    return earlier[-1] if earlier else None


def _counted(moment: str) -> tuple[str, int]:
    match = re.fullmatch(r"(step|epoch) (\d+)", moment)
    return (match[1], int(match[2])) if match else ("", 0)


def given(paths: Sequence[Path], strength: float) -> list[PreviewSource]:
    """Pictures of a person's own, with what they say of how they were drawn. UsageError if one can't be read."""
    if len(paths) > MOST:
        raise UsageError(f"--preview takes {MOST} pictures at most, not {len(paths)}", "choose the best ones")
    return [PreviewSource(path, told_drawing.read(_open(path), strength)) for path in paths]


def make(sources: Sequence[PreviewSource], model: SharedModel, cleaner: Cleaner) -> list[Preview]:
    """Draw every picture anew. UsageError if one can't be read."""
    digits = len(str(len(sources)))
    return [_make(source, f"previews/{at:0{digits}}.png", model, cleaner) for at, source in enumerate(sources, start=1)]


def _make(source: PreviewSource, name: str, model: SharedModel, cleaner: Cleaner) -> Preview:
    original = _open(source.path)
    for what in told_drawing.kinds(original):
        cleaner.note(f"{what} of the picture for {name}", "metadata of pictures")
    picture = ImageOps.exif_transpose(original).convert("RGB")
    drawn = None if source.drawn is None else _clean(source.drawn, name, cleaner)
    info = PngImagePlugin.PngInfo()
    if drawn is not None:
        for key, text in _chunks(drawn, model, picture.size).items():
            info.add_text(key, text)
    plain = Image.frombytes("RGB", picture.size, picture.tobytes())  # what the original brought along stays behind
    into = io.BytesIO()
    plain.save(into, "PNG", pnginfo=info, compress_level=_COMPRESSION)
    return Preview(name, into.getvalue(), picture.size, drawn, source.moment)


def _chunks(drawn: Drawing, model: SharedModel, size: tuple[int, int]) -> Mapping[str, str]:
    return {
        "parameters": image_programs.a1111(drawn, model, size),
        "prompt": image_programs.comfy_prompt(drawn, model, size),
        "workflow": image_programs.comfy_workflow(drawn, model, size),
    }


def _clean(drawn: Drawing, name: str, cleaner: Cleaner) -> Drawing:
    bare = drawing.without_network(drawn)
    return replace(
        bare,
        prompt=cleaner.text(f"the prompt of {name}", bare.prompt),
        negative=cleaner.text(f"the negative prompt of {name}", bare.negative),
    )


def _open(path: Path) -> Image.Image:
    try:
        content = files.read_bytes(path, _LARGEST_FILE)
    except FileNotFoundError as error:
        raise UsageError(f"no picture at {path}", "give --preview a PNG, JPEG or WebP file") from error
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from error
    except ValueError as error:
        raise _unreadable(path, str(error)) from error
    try:
        picture = Image.open(io.BytesIO(content))
        if picture.width * picture.height > _MOST_PIXELS:
            raise UsageError(f"{path} has {picture.width}x{picture.height} pixels", "give --preview a smaller one")
        picture.load()
    except UnidentifiedImageError as error:
        raise _unreadable(path, "it is none") from error
    except Image.DecompressionBombError as error:
        raise _unreadable(path, "it has too many pixels") from error
    except (OSError, ValueError, SyntaxError) as error:  # the library's words name its own objects
        raise _unreadable(path, "it is cut off or damaged") from error
    return picture


def _unreadable(path: Path, why: str) -> UsageError:
    return UsageError(f"{path} can't be read as a picture: {formatting.cut(why)}", "give PNG, JPEG or WebP files")
