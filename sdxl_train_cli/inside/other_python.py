"""Tell what another Python has, without importing any of it, so that an environment can be made beside it.

    python other_python.py        run by that Python

    {"executable": "/opt/torch/bin/python", "python": "3.12.3", "bits": 64, "paths": [folder, ...],
     "packages": {name: version}, "torch": folder of torch's metadata or null}

`paths` are the folders from which it imports packages; those of the standard library are left out.
"""

from __future__ import annotations

import importlib.metadata
import json
import platform
import re
import struct
import sys
import sysconfig
from pathlib import Path


def main() -> int:
    """Print what there is."""
    paths = package_folders()
    found: dict[str, tuple[str, str]] = {}
    for distribution in importlib.metadata.distributions(path=paths):
        name = distribution.metadata["Name"]
        if name:  # the first one found is the one that is imported
            where = str(getattr(distribution, "_path", ""))
            found.setdefault(re.sub(r"[-_.]+", "-", name).lower(), (distribution.version, where))
    facts = {
        "executable": sys.executable,
        "python": platform.python_version(),
        "bits": struct.calcsize("P") * 8,
        "paths": paths,
        "packages": {name: version for name, (version, _) in sorted(found.items())},
        "torch": found["torch"][1] if "torch" in found else None,
    }
    print(json.dumps(facts))
    return 0


def package_folders() -> list[str]:
    """Return the folders of sys.path that hold packages, in their order."""
    own = {Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib")}
    own |= {folder / "lib-dynload" for folder in own} | {Path(__file__).parent}
    folders = dict.fromkeys(Path(entry) for entry in sys.path if entry)
    return [str(folder) for folder in folders if folder.is_dir() and folder not in own]


if __name__ == "__main__":
    sys.exit(main())
