"""Run the training environment's TensorBoard on sd-scripts' logs."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from sdxl_train_cli import process, signals
from sdxl_train_cli.environment import environment
from sdxl_train_cli.environment.environment import Environment
from sdxl_train_cli.errors import SetupError, TrainingError

PACKAGE = "tensorboard"
_ADDRESS = re.compile(r"https?://\S+")
_LAST_LINES = 3


def require(installed: Environment) -> None:
    """SetupError if the environment has no TensorBoard."""
    if PACKAGE not in installed.lock.packages:
        raise SetupError(
            "the training environment has no TensorBoard",
            "install it anywhere, then: tensorboard --logdir FOLDER; or make a page: sdxl-train runs report RUN",
        )


def serve(installed: Environment, logs: Path, port: int | None, on_address: Callable[[str], None]) -> None:
    """Serve the logs under a folder until Ctrl-C. TrainingError if TensorBoard ends by itself."""
    argv = [str(installed.python), "-m", "tensorboard.main", "--logdir", str(logs)]
    argv += [] if port is None else ["--port", str(port)]
    said: list[str] = []
    with process.Child(argv, env=environment.training_variables()) as child:
        try:
            for line in child.lines():
                if line and line.strip():
                    said = [*said[1 - _LAST_LINES :], line.strip()]
                    if line.startswith("TensorBoard ") and (address := _ADDRESS.search(line)):
                        on_address(address[0])
            code = child.wait()
        except signals.Stopped:
            return
    raise TrainingError(
        f"TensorBoard ended with {code}: {' '.join(said) or 'it gave no reason'}", "choose another port: --port 0"
    )
