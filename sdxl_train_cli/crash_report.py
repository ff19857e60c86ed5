"""Last resort: an unexpected exception becomes one line, and its traceback is written to a file."""

from __future__ import annotations

import errno
import traceback
from collections.abc import Mapping

from sdxl_train_cli import files, formatting, layout, redact
from sdxl_train_cli.errors import Problem, SdxlTrainError, UsageError

_FILE = "last-fault.txt"
_LONGEST_MESSAGE = 300
_LONGEST_TRACEBACK = 100_000
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def explain(error: Exception, environ: Mapping[str, str]) -> tuple[Problem, int]:
    """Return the problem to print, and the exit code.

    A file name that the system refuses is the user's to fix, so it gets another exit code. Its traceback is saved as
    well: the name may be one of ours.
    """
    kept = _save(error, environ)
    if isinstance(error, OSError) and (error.filename is not None or error.errno in _NO_ROOM):
        return _of_a_file(error), UsageError.exit_code
    kind = type(error).__name__
    what = formatting.cut(redact.text(f"{kind}: {error}" if str(error) else kind), _LONGEST_MESSAGE)
    return Problem(f"a bug in sdxl-train: {what}", kept), SdxlTrainError.exit_code


def _of_a_file(error: OSError) -> Problem:
    reason = error.strerror or str(error)
    if error.filename is None:
        return Problem(f"a file could not be written: {reason}", "free some space, and try again")
    name = error.filename.decode("utf-8", "replace") if isinstance(error.filename, bytes) else str(error.filename)
    hint = "check its name, its permissions and the free space"
    return Problem(f"{formatting.cut(redact.text(name), _LONGEST_MESSAGE)}: {reason}", hint)


def _save(error: Exception, environ: Mapping[str, str]) -> str:
    """Save the traceback and return its path, or the traceback itself if it can't be written."""
    told = redact.text(formatting.cut("".join(traceback.format_exception(error)), _LONGEST_TRACEBACK))
    try:
        path = layout.cache_folder(environ) / _FILE
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write(path, told.encode("utf-8", "backslashreplace"))
    except (OSError, ValueError):
        return told
    return f"please report it with {path}"
