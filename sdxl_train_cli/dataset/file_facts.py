"""What is known of a dataset's files once they were looked at: plain frozen facts, and findings about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from sdxl_train_cli.dataset.folders import PictureFile, Subset, TrainingPictures
from sdxl_train_cli.errors import Problem, WayOut


class FileFault(str, Enum):
    """Why a file is of no use; the value is also the kind of the finding."""

    UNREADABLE = "unreadable"
    """The system won't give it out."""
    NO_PICTURE = "no-picture"
    TRUNCATED = "truncated"
    """It begins as a picture and can't be decoded to its end."""
    TOO_LARGE = "too-large"
    NOT_UTF8 = "not-utf8"
    NO_CAPTION = "no-caption"
    """Too long to be one."""


@dataclass(frozen=True)
class PictureFacts:
    """One picture file, every byte of it decoded; where `error` is set, what stands before it may be zero."""

    path: Path
    bytes: int
    sha256: str
    """Of the file's content."""
    format: str
    """By content, as Pillow names it: JPEG, PNG; empty where it can't be told."""
    width: int
    height: int
    """As stored, which is what sd-scripts sees: it ignores `orientation`."""
    mode: str
    """As Pillow names it: RGB, RGBA, L, P, CMYK, I;16."""
    frames: int
    orientation: int
    """EXIF, 1 to 8; 1 is upright."""
    has_alpha: bool
    """Whether some pixel is not opaque."""
    difference_hash: int | None
    """128 bits, of which similar pictures differ in few; None where the picture shows nothing to compare."""
    error: str | None
    """Why it can't be decoded, in words."""
    fault: FileFault | None = None
    """The same as a class."""


@dataclass(frozen=True)
class Caption:
    """One caption file as it was read."""

    path: Path
    """Of the picture where metadata has the caption."""
    text: str
    """The first line, stripped, which is all that sd-scripts trains on."""
    lines: int
    """That are not empty."""
    tokens: int | None
    """Of CLIP, without the two that mark beginning and end."""
    error: str | None
    """Why it can't be read, in words."""
    is_estimate: bool = False
    """Whether `tokens` are estimated, where CLIP's vocabulary is not at hand."""
    fault: FileFault | None = None
    """What `error` says, as a class."""


@dataclass(frozen=True)
class SurveyedPicture:
    """One picture of a dataset with its caption."""

    subset: Subset
    facts: PictureFacts
    caption: Caption | None
    """None where there is no caption file."""

    @property
    def picture(self) -> PictureFile:
        """What a bucket is made of."""
        return PictureFile(
            self.facts.path, self.facts.width, self.facts.height, self.subset.num_repeats, self.subset.is_reg
        )


@dataclass(frozen=True)
class Survey:
    """Everything that a look at a dataset has brought."""

    pictures: TrainingPictures
    """Its subsets with their `caption_prefix`, which hangs on the captions."""
    seen: tuple[SurveyedPicture, ...]
    beside: tuple[Path, ...] = ()
    """What else lies in the folders: neither a picture nor the caption of one."""

    @property
    def readable(self) -> list[PictureFile]:
        """The pictures as buckets are made of them: those that can be decoded."""
        return [each.picture for each in self.seen if each.facts.error is None]


class Severity(str, Enum):
    """How much a finding weighs."""

    ERROR = "error"
    """The run would fail, or train on something else than was meant."""
    WARNING = "warning"
    """The run goes, worse than it could."""


@dataclass(frozen=True)
class Finding:
    """One kind of problem with the files that have it."""

    kind: str
    """A stable name for scripts and filters: `truncated`, `near-duplicate`."""
    severity: Severity
    files: tuple[Path, ...]
    wording: str
    """The words for it, with {names} in the places of what they name; one file is named in them, several are not."""
    named: Mapping[str, Path | str | int]
    """What the wording names."""
    hint: str | None = None
    """The remedy."""
    details: tuple[str, ...] = ()
    """What there is to say of each file, in the order of `files`; empty where there is nothing."""
    ways: tuple[WayOut, ...] = ()
    """Remedies that can be typed; they are told before the hint."""

    @property
    def problem(self) -> Problem:
        """The words, with the remedy as hint."""
        return Problem(self.message(), self.hint, ways=self.ways)

    @property
    def remedy(self) -> str | None:
        """All that is told of remedies, in one line."""
        return "; ".join(self.problem.hint_lines) or None

    @property
    def names_its_file(self) -> bool:
        """Whether the words have the path of the only file, or of something in it."""
        paths = [named for named in self.named.values() if isinstance(named, Path)]
        return len(self.files) == 1 and any(self.files[0] in {path, *path.parents} for path in paths)

    def message(self, root: Path | None = None) -> str:
        """The words; what lies in `root` is called as it is there."""
        words = {
            name: shown(below(named, root)) if isinstance(named, Path) else named for name, named in self.named.items()
        }
        return self.wording.format(**words)


def below(path: Path, root: Path | None) -> Path:
    """A path as it is called in a folder that it lies in."""
    return path.relative_to(root) if root is not None and root in path.parents else path


def shown(path: Path | str) -> str:
    """A path as one line: what no terminal should get (line ends, escapes, bytes that are no text) is spelled out."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape", "backslashreplace").decode()
        for letter in str(path)
    )
