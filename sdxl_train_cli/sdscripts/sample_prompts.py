"""sd-scripts' file of sample prompts: a prompt a line, with flags behind it.

Read from line_to_prompt_dict (v0.10.1: library/train_util.py, v0.11.1: library/sampling.py) and sample_image_inference,
which has the defaults.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from sdxl_train_cli import files
from sdxl_train_cli.origin import Origin

PROMPTS, SAMPLER = "sample_prompts", "sample_sampler"
AT_FIRST, EVERY_STEPS, EVERY_EPOCHS = "sample_at_first", "sample_every_n_steps", "sample_every_n_epochs"
RHYTHM = (AT_FIRST, EVERY_STEPS, EVERY_EPOCHS)
OPTIONS = (PROMPTS, *RHYTHM, SAMPLER)
ORIGIN = Origin("chosen for samples")
"""Of settings that nobody has typed: a repeated run finds them anew."""

_FLAGS = re.compile(r" --(?P<name>w|h|d|s|l|n|ss) (?P<text>.*?)(?= --|$)", re.IGNORECASE)
_DEFAULT_SAMPLER = "ddim"
_MOST_STEPS = 1000
_LARGEST_FILE = 1 << 20
_MOST_DIGITS = 6


@dataclass(frozen=True)
class SampleLook:
    """How a prompt is drawn where it does not say so itself."""

    width: int
    height: int
    steps: int
    scale: float
    """Classifier-free guidance."""
    negative: str


DEFAULT_LOOK = SampleLook(512, 512, 30, 7.5, "")
"""sd-scripts' own."""


def line(prompt: str, look: SampleLook, seed: int) -> str:
    """A prompt as a line of the file. Flags that it has already are kept."""
    own = {found["name"].lower() for found in _FLAGS.finditer(prompt)}
    flags = {
        "w": look.width, "h": look.height, "d": seed, "s": look.steps, "l": f"{look.scale:g}", "n": look.negative,
    }  # fmt: skip
    return prompt + "".join(f" --{name} {value}" for name, value in flags.items() if name not in own and value != "")


def has_own_size(prompt: str) -> bool:
    """Whether the prompt says its width or height."""
    return any(found["name"].lower() in "wh" for found in _FLAGS.finditer(prompt))


@dataclass(frozen=True)
class SamplePrompt:
    """A line of the file as sd-scripts reads it."""

    prompt: str
    negative: str
    width: int
    height: int
    steps: int
    scale: float
    seed: int | None
    """None where each picture has another one."""
    sampler: str


def parse(written: str, sampler: str | None = None, usual: SampleLook = DEFAULT_LOOK) -> SamplePrompt:
    """What a line asks for. What it does not say is as `sampler`, the run's, and `usual` have it."""
    found = {flag["name"].lower(): flag["text"].strip() for flag in _FLAGS.finditer(written)}
    steps, scale = _number(found.get("s")), _number(found.get("l"))
    seed = re.match(r"\d{1,19}", found.get("d", ""))
    return SamplePrompt(
        prompt=words(written),
        negative=found.get("n", usual.negative),
        width=_side(found.get("w")) or usual.width,
        height=_side(found.get("h")) or usual.height,
        steps=usual.steps if steps is None else max(1, min(_MOST_STEPS, int(steps))),
        scale=usual.scale if scale is None else scale,
        seed=None if seed is None else int(seed[0]),
        sampler=found.get("ss") or sampler or _DEFAULT_SAMPLER,
    )


def _number(text: str | None) -> float | None:
    match = re.match(r"\d{1,19}(?:\.\d{1,9})?", text or "")
    return float(match[0]) if match else None


def _side(text: str | None) -> int | None:
    """Pixels. None for what is none, or too large to be meant."""
    digits = re.match(r"\d+", text or "")
    return int(digits[0]) if digits and len(digits[0]) <= _MOST_DIGITS else None


def has_words(prompt: str) -> bool:
    """Whether there is anything to draw. Flags at the very beginning would be drawn as words."""
    return bool(words(f" {prompt.strip()}"))


def words(written: str) -> str:
    """The prompt of a line, without its flags."""
    return written.split(" --", 1)[0].strip()


def lines(text: str) -> list[str]:
    """The prompts of a file's text: no comments, no empty lines."""
    return [each.strip() for each in text.splitlines() if each.strip() and not each.startswith("#")]


def largest_pixels(text: str) -> int:
    """Pixels of the largest picture that a file's prompts ask for. 0 without a prompt."""
    return max((_pixels(written) for written in lines(text)), default=0)


def pixels_of_file(path: Path) -> int | None:
    """The same of a file. None if it can't be read, or is in one of the other formats."""
    if path.suffix != ".txt":
        return None
    try:
        return largest_pixels(files.read_bytes(path, _LARGEST_FILE).decode("utf-8", "replace")) or None
    except (OSError, ValueError):
        return None


def _pixels(written: str) -> int:
    asked = parse(written)
    return asked.width * asked.height
