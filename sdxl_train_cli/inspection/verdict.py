"""Judge a trained file: what it has learned, whether it is sound, and who can read it. Pure: facts in, findings out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from sdxl_train_cli import formatting
from sdxl_train_cli.errors import Problem
from sdxl_train_cli.inspection import metadata_claims, programs, useless
from sdxl_train_cli.inspection.metadata_claims import TrainedWith
from sdxl_train_cli.inspection.model_file import ModelFile
from sdxl_train_cli.inspection.programs import Obstacle, ProgramReading
from sdxl_train_cli.inspection.weight_facts import LABELS, WeightFacts
from sdxl_train_cli.recipe import Kind
from sdxl_train_cli.sdscripts import optimizer_swap

LARGEST_NORM = 40.0
"""Of what one module adds: about the Frobenius norm of a whole attention weight of SDXL, 1280 by 1280 at a deviation of
0.03. sd-scripts suggests to limit it to 1 (--scale_weight_norms)."""
LARGEST_CHANGE = 0.5
"""Of a checkpoint's weights beside the base's, in norms: a fine-tune moves them by a few percent."""
SMALLEST_SHARE = 0.001
"""Of a checkpoint's numbers: fewer have changed where the steps are too small for the file's precision."""

SMALLEST_RATE = 1e-8
"""A learning rate: below it, a step is less than the smallest number that a 16-bit file can hold, 6e-8."""


class Trouble(str, Enum):
    """One kind of problem with a trained file."""

    NOTHING_LEARNED = "nothing learned"
    NOT_FINITE = "not finite"
    UNREADABLE = "unreadable"
    NO_MODEL = "neither a LoRA nor a checkpoint"
    BROKEN = "broken"
    PARTLY_READ = "partly read"
    PART_UNTRAINED = "part untrained"
    LITTLE_LEARNED = "little learned"
    LARGE_NORMS = "large norms"
    UNMOVED = "unmoved"
    NO_ALPHA = "no alpha"
    METADATA = "metadata"


FATAL = frozenset({Trouble.NOTHING_LEARNED, Trouble.NOT_FINITE, Trouble.UNREADABLE, Trouble.NO_MODEL, Trouble.BROKEN})
"""The file is of no use."""


@dataclass(frozen=True)
class ResultFinding:
    """One thing that is wrong with a file."""

    trouble: Trouble
    problem: Problem

    @property
    def is_fatal(self) -> bool:
        """Whether the file is of no use."""
        return self.trouble in FATAL


@dataclass(frozen=True)
class ExaminedFile:
    """All that is known of a file."""

    model: ModelFile
    readings: tuple[ProgramReading, ...]
    weights: WeightFacts | None
    """None if nobody could look at them."""
    trained: TrainedWith | None = None
    """None if no run is known that made it."""
    is_continued: bool = False
    """Whether the earlier file that the weights were compared with is the network that the run began with."""


def assemble(
    model: ModelFile, weights: WeightFacts | None, trained: TrainedWith | None = None, *, is_continued: bool = False
) -> ExaminedFile:
    """Put the facts together."""
    return ExaminedFile(model, programs.readings(model), weights, trained, is_continued)


def judge(examined: ExaminedFile) -> tuple[ResultFinding, ...]:
    """Everything that is wrong, the worst first."""
    looks = (_useless, _nonfinite, _learned, _partly_read, _norms, _moved, _alpha, _metadata)
    found = [finding for look in looks for finding in look(examined)]
    if any(finding.trouble is Trouble.NOTHING_LEARNED for finding in found):
        found = [finding for finding in found if finding.trouble is not Trouble.UNMOVED]  # that says the same
    return tuple(sorted(found, key=lambda finding: not finding.is_fatal))


def _useless(examined: ExaminedFile) -> Iterator[ResultFinding]:
    """What its header alone tells."""
    model = examined.model
    found = (
        (Trouble.NO_MODEL, None if _is_of_a_module_of_others(examined) else useless.no_model(model)),
        (Trouble.BROKEN, useless.broken(model)),
        (Trouble.BROKEN, None if examined.trained is not None else useless.of_another_base(model)),
        (Trouble.UNREADABLE, useless.unread(model, examined.readings)),
    )
    yield from (ResultFinding(trouble, problem) for trouble, problem in found if problem is not None)


def _is_of_a_module_of_others(examined: ExaminedFile) -> bool:
    """Whether a run has just made it, so that names that are unknown here are those of its network_module."""
    return examined.trained is not None and bool(examined.model.names) and not examined.model.is_part


def _nonfinite(examined: ExaminedFile) -> Iterator[ResultFinding]:
    weights = examined.weights
    if weights is None or not weights.nonfinite_tensors:
        return
    of_training = "lower the learning rate, or use --set mixed_precision=bf16 and --set no_half_vae=true"
    only_alpha = all(name.endswith(".alpha") for name in weights.nonfinite)  # no step changes an alpha
    yield ResultFinding(
        Trouble.NOT_FINITE,
        Problem(
            f"{weights.nonfinite_tensors} of {weights.looked_at} tensors hold NaN or infinity,"
            f" such as {weights.nonfinite[0]}: the file is worthless",
            "download or train it again" if only_alpha else of_training,
        ),
    )


def _learned(examined: ExaminedFile) -> Iterator[ResultFinding]:
    """What no step has changed."""
    weights = examined.weights
    if weights is None:
        return
    if examined.model.is_embedding and weights.zero_tensors:
        yield _nothing("its vectors are all zero", examined)
    elif examined.model.is_network and weights.parts:
        idle = [part for part in weights.parts if part.idle == part.modules]
        if len(idle) == len(weights.parts):
            count = sum(part.modules for part in idle)
            away = sum(part.scaled_away for part in idle)
            if away:
                yield ResultFinding(Trouble.NOTHING_LEARNED, _scaled_away("nothing was learned", away, count))
            else:
                yield _nothing(f"all {count} modules are still as they started, and change nothing", examined)
            return
        for part in idle:
            if part.scaled_away:
                problem = _scaled_away(f"the {part.label} learned nothing", part.scaled_away, part.modules)
                yield ResultFinding(Trouble.PART_UNTRAINED, problem)
            else:
                yield _part_untrained(part.label)
    elif weights.against is not None and weights.against.compared:
        yield from _changed(examined, weights)


def _changed(examined: ExaminedFile, weights: WeightFacts) -> Iterator[ResultFinding]:
    """The same of a checkpoint beside its base."""
    if weights.against is None:
        return
    if not weights.against.changed:
        count = weights.against.compared
        yield _nothing(f"all {count} tensors that were compared are the base model's own", examined)
        return
    unet = weights.against.parts.get("unet")
    if unet is not None and not unet.changed:
        yield _part_untrained(LABELS["unet"])
    elif unet is not None and unet.share < SMALLEST_SHARE:
        yield ResultFinding(
            Trouble.LITTLE_LEARNED,
            Problem(
                f"only {100 * unet.share:.2g} % of the U-Net's weights differ from the base: most steps were too small"
                " for the precision",
                "--set save_precision=float keeps small changes; a higher learning rate makes larger ones",
            ),
        )


def _nothing(what: str, examined: ExaminedFile) -> ResultFinding:
    trained = examined.trained
    if trained is not None and trained.highest_rate is not None and trained.highest_rate < SMALLEST_RATE:
        cause = f"its learning rate never rose above {trained.highest_rate:.3g}"
        remedy = "look at learning_rate, lr_warmup_steps and lr_scheduler"
    elif trained is not None and trained.highest_rate is not None:
        cause = f"its learning rate reached {trained.highest_rate:.3g}, but {trained.optimizer} never changed a weight"
        rate = optimizer_swap.usual_rate(_kind(examined.model))  # that of another optimizer may be far too high for it
        remedy = f"another optimizer: --set optimizer_type=AdamW --set optimizer_args=null --set learning_rate={rate}"
    else:
        cause, remedy = "no step has changed a weight", "look at its learning rate and optimizer"
    return ResultFinding(Trouble.NOTHING_LEARNED, Problem(f"nothing was learned: {what}; {cause}", remedy))


def _kind(model: ModelFile) -> Kind:
    """A kind whose usual learning rate is this file's too."""
    return Kind.EMBEDDING if model.is_embedding else Kind.LORA if model.is_network else Kind.DREAMBOOTH


def _scaled_away(what: str, count: int, total: int) -> Problem:
    return Problem(
        f"{what}: the alpha of {count} of {formatting.counted(total, 'module')} is 0, which scales them to nothing",
        "download or train it again",
    )


def _part_untrained(label: str) -> ResultFinding:
    return ResultFinding(
        Trouble.PART_UNTRAINED,
        Problem(f"the {label} learned nothing: no step has changed it", "look at its own learning rate"),
    )


def _partly_read(examined: ExaminedFile) -> Iterator[ResultFinding]:
    if examined.model.is_network:
        for reading in examined.readings:
            if reading.obstacle is None and reading.unread:
                yield ResultFinding(
                    Trouble.PARTLY_READ,
                    Problem(
                        f"{reading.program} passes over {reading.unread} of its {reading.total} modules,"
                        f" such as {reading.example}"
                    ),
                )


def _norms(examined: ExaminedFile) -> Iterator[ResultFinding]:
    weights = examined.weights
    if weights is None:
        return
    over = [block for block in weights.blocks if (block.largest or 0) > LARGEST_NORM]
    if over:
        worst = max(over, key=lambda block: block.largest or 0)
        yield ResultFinding(
            Trouble.LARGE_NORMS,
            Problem(
                f"{worst.where} adds {worst.largest:.3g} to weights whose own norm is about {LARGEST_NORM:g}:"
                " pictures may come out burnt",
                "lower the learning rate, or add --set scale_weight_norms=1",
            ),
        )
    unet = weights.against.parts.get("unet") if weights.against else None
    if unet is not None and (unet.relative or 0) > LARGEST_CHANGE:
        yield ResultFinding(
            Trouble.LARGE_NORMS,
            Problem(
                f"the U-Net has changed by {100 * (unet.relative or 0):.0f} % of its weights' norm:"
                " little of the base may be left",
                "lower the learning rate",
            ),
        )


def _moved(examined: ExaminedFile) -> Iterator[ResultFinding]:
    weights = examined.weights
    if weights is None or weights.before is None or not weights.before.compared or weights.before.moved:
        return
    if examined.is_continued:
        option = "weights" if examined.model.is_embedding else "network_weights"
        yield _nothing(f"all {weights.before.compared} tensors are those of {option}", examined)
        return
    yield ResultFinding(
        Trouble.UNMOVED,
        Problem(
            "not one weight has changed since the checkpoint before: the steps in between trained nothing",
            "look at the learning rate in those steps: sdxl-train runs report draws it",
        ),
    )


def _alpha(examined: ExaminedFile) -> Iterator[ResultFinding]:
    model = examined.model
    if not model.is_network or not model.without_alpha:
        return
    stronger = model.ranks[-1] / model.alpha if model.alpha and model.ranks else None
    effect = f", which makes it {stronger:.3g} times as strong as it was trained" if stronger not in {None, 1.0} else ""
    yield ResultFinding(
        Trouble.NO_ALPHA,
        Problem(
            f"{model.without_alpha} modules have no alpha: programs take the rank for it{effect}",
            f"use it at a strength of {1 / stronger:.3g}" if stronger not in {None, 1.0} and stronger else None,
        ),
    )


def _metadata(examined: ExaminedFile) -> Iterator[ResultFinding]:
    for claim in metadata_claims.false_claims(examined.model, examined.trained):
        yield ResultFinding(Trouble.METADATA, claim)


def summary(examined: ExaminedFile, findings: tuple[ResultFinding, ...]) -> str:
    """What was found, in a line."""
    fatal = [finding.trouble.value for finding in findings if finding.is_fatal]
    parts = [", ".join(fatal) if fatal else _learned_words(examined), _readers(examined)]
    warned = sum(not finding.is_fatal for finding in findings)
    parts.append(formatting.counted(warned, "warning") if warned else "")
    return "; ".join(filter(None, parts))


def _learned_words(examined: ExaminedFile) -> str:
    weights = examined.weights
    if weights is None:
        return "weights not looked at"
    if weights.parts:
        told = [f"{part.modules - part.idle} of {part.modules} {part.label} modules" for part in weights.parts]
        return f"learned: {', '.join(told)} changed"
    if examined.model.is_embedding and weights.before is not None:
        return f"learned: the vectors of {weights.before.moved} of {weights.before.compared} text encoders have moved"
    unet = weights.against.parts.get("unet") if weights.against else None
    if unet is None:
        return f"sound: {formatting.counted(weights.looked_at, 'tensor')} looked at"
    return f"learned: {100 * unet.share:.3g} % of the U-Net's sampled weights changed"


def _readers(examined: ExaminedFile) -> str:
    can = [reading.program for reading in examined.readings if reading.obstacle is None]
    cannot = [reading for reading in examined.readings if reading.obstacle is not None]
    if not examined.readings:
        return ""
    without = f", not by {', '.join(reading.program for reading in cannot)}" if cannot and can else ""
    return f"read by {', '.join(can)}{without}" if can else "read by no program"


def obstacle_words(reading: ProgramReading) -> str:
    """How a program reads the file, in words."""
    if reading.obstacle is None:
        return "reads it" if not reading.unread else f"reads it but for {reading.unread} of {reading.total} names"
    return f"can't read it: {Obstacle(reading.obstacle).value}"
