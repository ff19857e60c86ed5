"""`scripts/attack.py` in its short form: a few attempts of each kind, and all of them are survived."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sdxl_train_cli import process

ATTACK = Path(__file__).parents[1] / "scripts" / "attack.py"


@pytest.mark.slow
@pytest.mark.skipif(process.WINDOWS, reason="forks, and sends POSIX signals")
def test_a_short_attack_on_the_whole_product_is_survived(tmp_path: Path) -> None:
    line = [sys.executable, str(ATTACK), "--short", "--keep", str(tmp_path / "failures")]

    done = subprocess.run(line, capture_output=True, encoding="utf-8", errors="replace", check=False)

    assert done.returncode == 0, done.stdout + done.stderr
