"""Tag pictures without captions using sd-scripts' own tagger (finetune/tag_images_by_wd14_tagger.py).

The tagger overwrites captions, ignores suffixes in mixed case and stops at the first broken picture. So it gets links
to exactly the pictures to tag, and each caption is moved into place once it is complete.
"""

from __future__ import annotations

import contextlib
import csv
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from sdxl_train_cli import files, layout, process
from sdxl_train_cli.dataset import caption_text
from sdxl_train_cli.dataset.picture_names import PICTURE_SUFFIXES
from sdxl_train_cli.dataset.untagged import TaggingJob
from sdxl_train_cli.environment import environment, hub
from sdxl_train_cli.environment.environment import Environment
from sdxl_train_cli.errors import DatasetError, ModelError, SetupError
from sdxl_train_cli.layout import Home

USUAL_MODEL = "SmilingWolf/wd-swinv2-tagger-v3"
SCRIPT = Path("finetune", "tag_images_by_wd14_tagger.py")
_TAGS, _GENERAL, _CHARACTER = "selected_tags.csv", "0", "4"
"""The tagger's list of tags, and its categories."""
NEEDED = ("model.onnx", _TAGS)
"""Files of a tagger's folder."""
_ALWAYS = ("--onnx", "--remove_underscore", "--batch_size=1", "--caption_extension=.txt")
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")

Tell = Callable[[int, int], None]
"""Called with the number of finished pictures and the total."""


@dataclass(frozen=True)
class Tagger:
    """A tagger model as the script expects it: in MODEL_DIR/NAME, with each / of the name replaced by _."""

    model_dir: Path
    name: str
    must_be_fetched: bool


@dataclass(frozen=True)
class TaggingOptions:
    """Options for the captions."""

    threshold: float
    """Minimum confidence of a tag, 0 to 1."""
    trigger: str | None


@dataclass(frozen=True)
class TaggingResult:
    """Result of tagging."""

    written: tuple[Path, ...]
    empty: tuple[Path, ...]
    """Pictures for which no tag reached the threshold."""
    kept: tuple[Path, ...] = ()
    """Captions that somebody wrote while the tagger was running. They are kept."""


def find_tagger(model: str, home: Home, environ: Mapping[str, str]) -> Tagger:
    """Find a tagger by folder or hub name. ModelError if there is none, or if it can't be downloaded."""
    folder = layout.expand(Path(model))
    if files.is_folder(folder):
        missing = [name for name in NEEDED if not (folder / name).is_file()]
        if missing:
            raise ModelError(
                f"{folder} is not a tagger: it has no {' and no '.join(missing)}", f"--model {USUAL_MODEL}"
            )
        return Tagger(folder.parent, folder.name, must_be_fetched=False)
    if not _HUB_ID.fullmatch(model):
        raise ModelError(f"no folder {folder}, and '{model}' is not a name on the hub either", f"--model {USUAL_MODEL}")
    fetched = home.taggers / model.replace("/", "_")
    if all((fetched / name).is_file() for name in NEEDED):
        return Tagger(home.taggers, model, must_be_fetched=False)
    hub.require_tagger(model, environ)
    return Tagger(home.taggers, model, must_be_fetched=True)


def require_script(installed: Environment) -> None:
    """SetupError if this sd-scripts has no tagger."""
    if not (installed.checkout / SCRIPT).is_file():
        raise SetupError(
            f"this sd-scripts has no {SCRIPT.as_posix()}", "install a newer one: `sdxl-train setup --ref sdxl`"
        )


def tag(  # noqa: PLR0913, PLR0917 - one story
    installed: Environment, home: Home, tagger: Tagger, jobs: Sequence[TaggingJob], options: TaggingOptions, tell: Tell
) -> TaggingResult:
    """Run the tagger. Each caption is in place once it is complete, even if the run is interrupted.

    Raises ModelError if the tagger fails, DatasetError if a caption can't be written.
    """
    with _disk_errors(), tempfile.TemporaryDirectory(prefix="sdxl-train-tags-") as temporary:
        links, model = Path(temporary, "pictures"), Path(temporary, "model")
        links.mkdir()
        with files.open_new(home.tagger_log) as log:
            script = _Script(installed, log, home.tagger_log)
            if tagger.must_be_fetched:
                script.run([*_named(tagger), "--force_download"], links, lambda: None)
            _level(tagger, model)
            links_folder = _LinkFolder(links, jobs, options.trigger)
            tell(0, len(jobs))
            named = _named(Tagger(model.parent, model.name, must_be_fetched=False))
            try:
                script.run(
                    [*named, f"--thresh={options.threshold}"], links, lambda: tell(links_folder.collect(), len(jobs))
                )
            finally:
                tell(links_folder.collect(), len(jobs))
    return TaggingResult(tuple(links_folder.written), tuple(links_folder.empty), tuple(links_folder.kept))


@dataclass(frozen=True)
class _Script:
    """sd-scripts' tagger, ready to run."""

    installed: Environment
    log: BinaryIO
    log_path: Path

    def run(self, options: Sequence[str], pictures: Path, collect: Callable[[], None]) -> None:
        """Run the tagger to its end, calling `collect` about four times a second. ModelError if it fails."""
        checkout, last = self.installed.checkout, "it said nothing"
        argv = [str(self.installed.python), str(checkout / SCRIPT), *_ALWAYS, *options, str(pictures)]
        # The script is in a subfolder, from which sd-scripts' `library` can't be imported.
        variables = {**environment.training_variables(), "PYTHONPATH": str(checkout)}
        if "--force_download" not in options:
            variables["HF_HUB_OFFLINE"] = "1"
        with process.Child(argv, cwd=checkout, env=variables) as child:
            for line in child.lines(self.log):
                last = line.strip() if line and line.strip() else last
                collect()
            code = child.wait()
        if code != 0:
            raise ModelError(f"the tagger failed: {last}", f"full log: {self.log_path}")


def _named(tagger: Tagger) -> list[str]:
    return [f"--model_dir={tagger.model_dir}", f"--repo_id={tagger.name}"]


def _level(tagger: Tagger, folder: Path) -> None:
    """Copy the tagger with character tags turned into general ones.

    For a known character, the script of v0.10.0 and v0.10.1 fails with an UnboundLocalError.
    """
    folder.mkdir()
    source = tagger.model_dir / tagger.name.replace("/", "_")
    for file in source.iterdir():
        if file.name != _TAGS and file.is_file():
            _link(file, folder / file.name)
    try:
        with (source / _TAGS).open(encoding="utf-8-sig", newline="") as tags:
            head, *rows = csv.reader(tags)
        at = head.index("category")
    except (ValueError, csv.Error) as error:
        raise ModelError(f"{source / _TAGS} is not a tagger's list of tags", f"--model {USUAL_MODEL}") from error
    levelled = ([*row[:at], _GENERAL if row[at] == _CHARACTER else row[at], *row[at + 1 :]] for row in rows if row[at:])
    with (folder / _TAGS).open("w", encoding="utf-8", newline="") as tags:
        csv.writer(tags).writerows([head, *levelled])


class _LinkFolder:
    """A folder of links to pictures, where the script writes their captions."""

    def __init__(self, folder: Path, jobs: Sequence[TaggingJob], trigger: str | None) -> None:
        self.folder = folder
        self.written: list[Path] = []
        self.empty: list[Path] = []
        self.kept: list[Path] = []
        self._trigger = trigger
        self._waiting = {f"{number:06}.txt": job for number, job in enumerate(jobs)}
        for name, job in self._waiting.items():
            suffix = job.picture.suffix.lower()
            _link(job.picture, folder / Path(name).with_suffix(suffix if suffix in PICTURE_SUFFIXES else ".png"))

    def collect(self) -> int:
        """Move every complete caption into place. Returns the total so far."""
        for file in [file for file in self.folder.iterdir() if file.name in self._waiting]:
            text = file.read_text(encoding="utf-8", errors="replace")
            if text.endswith("\n"):  # written last by the script
                self._place(file.name, caption_text.clean(text))
        return len(self.written) + len(self.empty) + len(self.kept)

    def _place(self, name: str, tags: str) -> None:
        job = self._waiting[name]
        caption = caption_text.put_trigger_first(tags, self._trigger) if self._trigger else tags
        if not job.replaces_words and _says_something(job.caption):
            self.kept.append(job.caption)  # somebody wrote it while the tagger was running
        elif caption:
            files.write(job.caption, f"{caption}\n")
            self.written.append(job.caption)
        else:
            self.empty.append(job.picture)
        del self._waiting[name]  # only now, so that captions of an interrupted run are moved at the end


def _says_something(caption: Path) -> bool:
    return files.is_file(caption) and bool(files.read_bytes(caption).strip())


def _link(picture: Path, link: Path) -> None:
    try:
        link.symlink_to(picture)
    except OSError:  # most Windows users may not create links
        try:
            link.hardlink_to(picture)
        except OSError:  # another disk
            shutil.copyfile(picture, link)


@contextlib.contextmanager
def _disk_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        words = f"{error.filename2 or error.filename or 'a caption'} can't be written: {error.strerror or error}"
        raise DatasetError(words, "earlier tags are kept: fix this and run the same command again") from error
