"""Entry point. It stays tiny so that Ctrl-C is handled before the imports, which take a tenth of a second."""

from __future__ import annotations

import sys


def main() -> None:
    """Run a command. Ctrl-C during the imports ends it with the same words and exit code as Ctrl-C later."""
    try:
        from sdxl_train_cli import cli  # noqa: PLC0415 - late by design
    except KeyboardInterrupt:
        sys.stderr.write("\nstopped\n")
        sys.exit(130)
    cli.main()


if __name__ == "__main__":
    main()
