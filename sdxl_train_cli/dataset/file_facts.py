"""Facts about a dataset's files after inspection, and findings about them. Frozen data only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from sdxl_train_cli.dataset.folders import PictureFile, Subset, TrainingPictures
from sdxl_train_cli.errors import Problem, WayOut


class FileFault(str, Enum):
    """Why a file is unusable. The value is also the finding's kind."""

    UNREADABLE = "unreadable"
    """The system refuses to read the file."""
    NO_PICTURE = "no-picture"
    TRUNCATED = "truncated"
    """The file starts as a picture but can't be decoded to its end."""
    TOO_LARGE = "too-large"
    NOT_UTF8 = "not-utf8"
    NO_CAPTION = "no-caption"
    """The file is too large to be a caption."""


@dataclass(frozen=True)
class PictureFacts:
    """One fully decoded picture file. If `error` is set, the fields before it may be zero."""

    path: Path
    bytes: int
    sha256: str
    """SHA-256 of the file's content."""
    format: str
    """Format by content, in Pillow's name: JPEG, PNG. Empty if unknown."""
    width: int
    height: int
    """Stored height. sd-scripts ignores `orientation` and uses the stored size too."""
    mode: str
    """Pillow's mode: RGB, RGBA, L, P, CMYK, I;16."""
    frames: int
    orientation: int
    """EXIF, 1 to 8; 1 is upright."""
    has_alpha: bool
    """Whether any pixel is not opaque."""
    difference_hash: int | None
    """128 bits that differ little between similar pictures. None if the picture is too plain to compare."""
    error: str | None
    """Why the picture can't be decoded, in words."""
    fault: FileFault | None = None
    """The error's class."""


@dataclass(frozen=True)
class Caption:
    """One caption file as read."""

    path: Path
    """The caption file, or the picture if the caption comes from metadata."""
    text: str
    """The first line, stripped: the only part that sd-scripts trains on."""
    lines: int
    """Number of non-empty lines."""
    tokens: int | None
    """CLIP tokens, without the start and end tokens."""
    error: str | None
    """Why the caption can't be read, in words."""
    is_estimate: bool = False
    """Whether `tokens` is estimated because CLIP's vocabulary is not available."""
    fault: FileFault | None = None
    """The error's class."""


@dataclass(frozen=True)
class SurveyedPicture:
    """One picture of a dataset with its caption."""

    subset: Subset
    facts: PictureFacts
    caption: Caption | None
    """None without a caption file."""

    @property
    def picture(self) -> PictureFile:
        """The picture in the form used for bucketing."""
        return PictureFile(
            self.facts.path,
            self.facts.width,
            self.facts.height,
            self.subset.num_repeats,
            self.subset.is_reg,
            self.subset.part,
        )


@dataclass(frozen=True)
class Survey:
    """Results of surveying a dataset."""

    pictures: TrainingPictures
    """The subsets, with a `caption_prefix` that depends on the captions."""
    seen: tuple[SurveyedPicture, ...]
    beside: tuple[Path, ...] = ()
    """Other files in the folders: neither pictures nor captions of pictures."""

    @property
    def readable(self) -> list[PictureFile]:
        """Decodable pictures in the form used for bucketing, once for each dataset that trains them."""
        return [each.picture for each in self.seen if each.facts.error is None]

    @property
    def distinct(self) -> tuple[SurveyedPicture, ...]:
        """Each picture once, though several datasets may train it."""
        found: dict[Path, SurveyedPicture] = {}
        for each in self.seen:
            found.setdefault(each.facts.path, each)
        return tuple(found.values())


class Severity(str, Enum):
    """Severity of a finding."""

    ERROR = "error"
    """The run would fail, or train on something other than intended."""
    WARNING = "warning"
    """The run works, but worse than it could."""


@dataclass(frozen=True)
class Finding:
    """One kind of problem and the files that have it."""

    kind: str
    """Stable identifier for scripts and filters: `truncated`, `near-duplicate`."""
    severity: Severity
    files: tuple[Path, ...]
    wording: str
    """Message template with {names}. A single file is named in it; several files are not."""
    named: Mapping[str, Path | str | int]
    """Values for the names in the template."""
    hint: str | None = None
    """The remedy."""
    details: tuple[str, ...] = ()
    """One detail per file, in the order of `files`. Empty if there are none."""
    ways: tuple[WayOut, ...] = ()
    """Remedies that can be typed; they are told before the hint."""

    @property
    def problem(self) -> Problem:
        """The message as a problem, with the remedy as its hint."""
        return Problem(self.message(), self.hint, ways=self.ways)

    @property
    def remedy(self) -> str | None:
        """All that is told of remedies, in one line."""
        return "; ".join(self.problem.hint_lines) or None

    @property
    def names_its_file(self) -> bool:
        """Whether the message contains the path of its only file, or of something inside it."""
        paths = [named for named in self.named.values() if isinstance(named, Path)]
        return len(self.files) == 1 and any(self.files[0] in {path, *path.parents} for path in paths)

    def message(self, root: Path | None = None) -> str:
        """The message, with paths inside `root` shown relative to it."""
        words = {
            name: shown(below(named, root)) if isinstance(named, Path) else named for name, named in self.named.items()
        }
        return self.wording.format(**words)


def below(path: Path, root: Path | None) -> Path:
    """The path relative to a folder that contains it."""
    return path.relative_to(root) if root is not None and root in path.parents else path


def shown(path: Path | str) -> str:
    """The path as one line. Line breaks, escapes and undecodable bytes are spelled out."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape", "backslashreplace").decode()
        for letter in str(path)
    )
