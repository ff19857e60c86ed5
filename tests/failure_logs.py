"""One log for each failure that is known: its sample, in the surroundings that a run's log has."""

from __future__ import annotations

from sdxl_train_cli.failures import known_failures
from sdxl_train_cli.failures.signature import Signature

START = """\
running training / 学習開始
  num train images * repeats / 学習画像の数×繰り返し回数: 40
  total optimization steps / 学習ステップ数: 400
steps:   0%|          | 0/400 [00:00<?, ?it/s]
epoch 1/10
"""
TRACE = """\
Traceback (most recent call last):
  File "/home/me/sd-scripts/sdxl_train_network.py", line 241, in <module>
    trainer.train(args)
"""
EXIT_1 = """\
Traceback (most recent call last):
  File "/venv/bin/accelerate", line 8, in <module>
    sys.exit(main())
  File "/venv/lib/python3.11/site-packages/accelerate/commands/launch.py", line 763, in simple_launcher
    raise subprocess.CalledProcessError(returncode=process.returncode, cmd=cmd)
subprocess.CalledProcessError: Command '['/venv/bin/python', 'sdxl_train_network.py', '--xformers', '--cache_latents']' \
returned non-zero exit status 1.
"""


def raised(error: str, end: str = EXIT_1) -> str:
    """The trainer's traceback, which ends in these frames and this error, and the launcher's behind it."""
    return START + TRACE + error + "\n" + end


def log_of(signature: Signature) -> str:
    """Its sample as a run would have logged it."""
    return f"{signature.sample}\n" if signature.sample_is_whole else raised(signature.sample)


LOGS = {signature.name: log_of(signature) for signature in known_failures.load()}
