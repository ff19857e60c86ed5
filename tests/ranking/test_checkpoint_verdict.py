"""The checkpoint that is named has the lowest loss on held-back pictures, and what can't be told apart is called so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import validated_runs
from validated_runs import Loss

from sdxl_train_cli.inspection import strengths
from sdxl_train_cli.ranking import facts, ranking, words
from sdxl_train_cli.ranking.evidence import Evidence
from sdxl_train_cli.ranking.verdict import Basis, Course, Improvement, Standing, Verdict
from sdxl_train_cli.ranking.weight_course import CheckpointWeights
from sdxl_train_cli.recipe import Kind

STEPS = (100, 200, 300, 400, 500)


def judged(folder: Path, held: Loss, trained: Loss | None = None, steps: tuple[int, ...] = STEPS) -> Verdict:
    run = validated_runs.write_run(folder / "cat", STEPS)
    validated_runs.write_losses(run, steps, held, trained)
    return ranking.judge(ranking.find(str(run), folder))


def by_step(*losses: float) -> Loss:
    """A loss of each step, of pictures that differ much and change a little differently."""
    return lambda number, step: losses[step // 100 - 1] + 0.1 * number + 0.0001 * (number % 3) * step / 100


def test_an_overtrained_run_keeps_the_checkpoint_before_the_rise(tmp_path: Path) -> None:
    found = judged(tmp_path, by_step(0.30, 0.25, 0.27, 0.29, 0.31), by_step(0.30, 0.25, 0.22, 0.19, 0.16))

    assert found.best.candidate.moment == "step 200"
    assert (found.basis, found.course, found.is_sure) == (Basis.VALIDATION, Course.TURNED, True)
    assert [one.standing for one in found.checkpoints if one is not found.best] == [Standing.WORSE] * 4
    assert found.gap_begins == (200, 300)
    assert any("learn its pictures by heart" in reason for reason in words.reasons(found))


def test_an_undertrained_run_is_told_to_go_on(tmp_path: Path) -> None:
    found = judged(tmp_path, by_step(0.30, 0.28, 0.26, 0.24, 0.22))

    assert found.best.candidate.is_final
    assert found.course is Course.STILL_FALLING
    assert Improvement.TRAIN_LONGER in found.improvements


def test_what_varies_by_chance_is_not_told_apart(tmp_path: Path) -> None:
    def chance(number: int, step: int) -> float:
        return 0.3 + 0.05 * ((number * 7 + step // 100 * 3) % 5)

    found = judged(tmp_path, chance)

    assert not found.is_sure
    assert len(found.tied) == 4
    assert found.course is Course.LEVEL
    assert Improvement.HOLD_BACK_MORE in found.improvements


def test_a_checkpoint_between_two_validations_is_judged_by_the_nearest_and_that_is_said(tmp_path: Path) -> None:
    found = judged(tmp_path, by_step(0.30, 0.25, 0.27, 0.29, 0.31, 0.33), steps=(100, 200, 290, 390, 500))

    near = found.checkpoints[2]
    assert near.measured is not None
    assert (near.candidate.step, near.measured.step) == (300, 290)
    assert any("not their own step: step 300 by step 290" in reason for reason in words.reasons(found))
    assert Improvement.MATCH_RHYTHMS in found.improvements


def test_a_checkpoint_far_from_any_validation_is_not_ranked(tmp_path: Path) -> None:
    found = judged(tmp_path, by_step(0.30, 0.25, 0.27), steps=(100, 150, 200))

    assert [one.standing for one in found.checkpoints[2:]] == [Standing.UNMEASURED] * 3
    assert any("not ranked: step 300, step 400, final" in reason for reason in words.reasons(found))


def weights(norm: float, moved: float | None = 1.0, nonfinite: int = 0) -> CheckpointWeights:
    return CheckpointWeights(norm=norm, rank=8.0, moved=moved, nonfinite=nonfinite, blocks=())


@pytest.fixture
def from_files(tmp_path: Path) -> Callable[..., Verdict]:
    def judge(*course: CheckpointWeights, kind: Kind = Kind.LORA) -> Verdict:
        run = validated_runs.write_run(tmp_path / "cat", STEPS[: len(course)], kind.value)
        known = ranking.find(str(run), tmp_path)
        return ranking.judge(Evidence(known.name, known.folder, known.candidates, kind, weights=course))

    return judge


def test_files_alone_never_make_it_sure(from_files: Callable[..., Verdict]) -> None:
    found = from_files(*(weights(float(norm)) for norm in (1, 2, 3, 4, 5)))

    assert found.best.candidate.is_final
    assert (found.basis, found.course, found.is_sure) == (Basis.FILES, Course.MOVING, False)
    assert Improvement.HOLD_BACK in found.improvements
    assert "can't tell learning from learning by heart" in words.reasons(found)[0]


def test_files_alone_tell_no_other_strength_than_a_runs_end_does(from_files: Callable[..., Verdict]) -> None:
    found = from_files(weights(1.0), weights(2.0), weights(3.0))

    assert found.kept_strength == strengths.USUAL
    assert words.headline(found).endswith(", strength 0.7 to 1 to begin with")
    assert (facts.of(found)["strength"], facts.of(found)["strength_range"]) == (0.8, [0.7, 1.0])


def test_weights_that_hardly_move_any_more_are_settled(from_files: Callable[..., Verdict]) -> None:
    found = from_files(*(weights(3.0, moved) for moved in (None, 2.0, 1.0, 0.3, 0.1)))

    assert found.course is Course.SETTLED


@pytest.mark.parametrize("bad", [weights(90.0), weights(3.0, nonfinite=2)])
def test_the_last_checkpoint_before_weights_explode_is_named(
    from_files: Callable[..., Verdict], bad: CheckpointWeights
) -> None:
    found = from_files(weights(1.0), weights(2.0), weights(3.0), bad, bad)

    assert found.course is Course.BROKEN_OFF
    assert found.best.candidate.moment == "step 300"
    assert [one.standing for one in found.checkpoints[3:]] == [Standing.BROKEN] * 2


def test_a_whole_checkpoint_has_no_strength_and_no_advice_to_validate(from_files: Callable[..., Verdict]) -> None:
    found = from_files(weights(1.0), weights(2.0), weights(3.0), kind=Kind.DREAMBOOTH)

    assert found.strength is None
    assert Improvement.HOLD_BACK not in found.improvements
    assert "has no validation" in words.reasons(found)[0]
