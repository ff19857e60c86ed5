"""Attack the whole product, and say how often it survived: `python scripts/attack.py [KIND...]`.

Kinds: setup-kills, signals, clock, disks, output, logs, strangers, fuzz. Without one, all. Each attempt works in a
world of its own below a temporary folder, with the stand-in trainer of the tests and without the network. A failed
attempt prints its seed, the call, and the folder that keeps what it worked on. Exit code 0 only where all survived.

    python scripts/attack.py --short                      a minute, as the tests run it
    python scripts/attack.py fuzz --count 5000            so many calls, on two cores
    python scripts/attack.py signals --count 64
    python scripts/attack.py setup-kills --count 25 --real    sd-scripts and torch from SDXL_TRAIN_SOURCE

`--only SEED` makes one attempt of a kind again.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import project_venv


def main() -> int:
    """Give 0 where every attempt was survived, 1 where one was not."""
    if importlib.util.find_spec("sdxl_train_cli") is None or importlib.util.find_spec("PIL") is None:
        python = project_venv.make(".venv-dev", extra="[dev]")
        return subprocess.run([str(python), __file__, *sys.argv[1:]], check=False).returncode
    os.environ["TERM"] = "dumb"  # what is imported below would else remember the colours of this terminal
    from attacks import plan  # noqa: PLC0415 - needs the project's packages

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=", ".join(plan.KINDS))
    parser.add_argument("--seed", type=int, default=1, help="of the first attempt; each further one takes the next")
    parser.add_argument("--only", type=int, metavar="SEED", help="make this attempt alone")
    parser.add_argument("--count", type=int, help="attempts of each kind that has a choice")
    parser.add_argument("--short", action="store_true", help="few of each: what the tests run")
    parser.add_argument("--real", action="store_true", help="kill setups of the real sd-scripts and torch")
    parser.add_argument("--workers", type=int, default=min(2, os.cpu_count() or 1), help="processes that fuzz")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="where what failed is kept [default: a new one]")
    typed = parser.parse_args()
    unknown = sorted(set(typed.kinds) - set(plan.KINDS))
    if unknown:
        parser.error(f"no kind {', '.join(unknown)}: there are {', '.join(plan.KINDS)}")
    options = plan.AttackOptions(
        kinds=tuple(typed.kinds or plan.KINDS),
        seed=typed.seed if typed.only is None else typed.only,
        count=typed.count if typed.only is None else 1,
        is_short=typed.short,
        is_real=typed.real,
        workers=1 if typed.only is not None else typed.workers,
        keep=typed.keep or Path(tempfile.mkdtemp(prefix="attack-failures-")),
    )
    folder = Path(tempfile.mkdtemp(prefix="attack-")).resolve()
    signal.signal(signal.SIGTERM, lambda signum, _frame: sys.exit(128 + signum))  # so that the folder goes too
    try:
        return plan.carry_out(options, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if typed.keep is None and not any(options.keep.iterdir()):
            options.keep.rmdir()


if __name__ == "__main__":
    sys.exit(main())
