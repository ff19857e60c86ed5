"""Notes two trainers that do the same work at once, or work on the same GPU.

Each holds a lock that the system frees when the process ends, however it ends. STANDIN_ALONE is a folder.
"""

from __future__ import annotations

import os

_held = []


def take(args) -> None:
    folder = os.environ.get("STANDIN_ALONE")
    if not folder:
        return
    import fcntl

    cards = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    for name in (args.output_name, *(f"gpu{card}" for card in cards)):
        file = open(os.path.join(folder, name + ".lock"), "ab")
        _held.append(file)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with open(os.path.join(folder, "twice.txt"), "a", encoding="utf-8") as twice:
                twice.write(name + "\n")
