"""Plays sd-scripts' trainer of embeddings for SDXL; see the package standin."""

import argparse
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from standin import options, training


def setup_parser() -> argparse.ArgumentParser:
    return options.parser_of(options.EMBEDDING)


if __name__ == "__main__":
    args = setup_parser().parse_args()
    for name in options.FULL.keys() | options.NETWORK.keys():
        if not hasattr(args, name) and name != "network_module":
            setattr(args, name, None)
    training.train(args)
