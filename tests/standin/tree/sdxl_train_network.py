"""Plays sd-scripts' trainer of SDXL networks (LoRA, LoCon); see the package standin."""

import argparse
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from standin import options, training


def setup_parser() -> argparse.ArgumentParser:
    return options.parser_of(options.NETWORK)


if __name__ == "__main__":
    training.train(setup_parser().parse_args())
