"""Where `sdxl-train` begins: so small that Ctrl-C meets us before the imports, which take a tenth of a second."""

from __future__ import annotations

import sys


def main() -> None:
    """Run a command; stopped before it has begun, it has no more to say than one that is stopped later."""
    try:
        from sdxl_train_cli import cli  # noqa: PLC0415 - that is the point
    except KeyboardInterrupt:
        sys.stderr.write("\nstopped\n")
        sys.exit(130)
    cli.main()


if __name__ == "__main__":
    main()
