"""One run makes the caches of a sweep, and the others wait for it and not longer."""

from __future__ import annotations

import threading
from pathlib import Path

from sdxl_train_cli.sweeps import cache_turn


def test_others_wait_until_the_first_has_made_the_caches(tmp_path: Path) -> None:
    said, order, begun = list[str](), list[str](), threading.Event()

    def second() -> None:
        with cache_turn.taken(tmp_path, lambda words: (said.append(words), begun.set())):  # type: ignore[func-returns-value]
            order.append("second")

    with cache_turn.taken(tmp_path, said.append) as pass_on:
        other = threading.Thread(target=second)
        other.start()
        assert begun.wait(30)
        order.append("made")
        pass_on()
        other.join(30)
        pass_on()

    assert order == ["made", "second"]
    assert said == ["waiting for the caches that another run of the sweep makes"]
    with cache_turn.taken(tmp_path, said.append), cache_turn.taken(tmp_path, said.append):
        assert len(said) == 1  # nobody waits any more


def test_a_run_that_ends_before_its_first_step_leaves_its_turn_to_the_next(tmp_path: Path) -> None:
    said: list[str] = []
    for _ in range(2):
        with cache_turn.taken(tmp_path, said.append):
            pass

    assert said == []
    assert not (tmp_path / "caches-made").exists()
