"""Assemble a web page: contents as JSON, own scripts and styles allowed by checksum, nothing else.

All content is in one block of JSON, from which the page's script builds text nodes: no name, caption or prompt is ever
parsed as HTML. The page may run its own scripts, identified by checksum, and may fetch nothing.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path

from sdxl_train_cli import files
from sdxl_train_cli.errors import UsageError

_PARTS = Path(__file__).with_name("page_parts")


def html(content: object, style: str, scripts: Sequence[str], licence: str = "") -> str:
    """The complete page. Lone surrogates in file names are replaced by encodable text.

    The last script draws the page with the functions of base.js; `style` follows base.css. `licence` covers the other
    scripts.
    """
    scripts = (*scripts[:-1], _part("base.js") + scripts[-1])
    style = _part("base.css") + style
    policy = (
        f"default-src 'none'; img-src data:; script-src {' '.join(map(_checksum, scripts))}; "
        f"style-src {_checksum(style)}; base-uri 'none'; form-action 'none'"
    )
    parts = {
        "policy": policy,
        "style": style,
        "data": _safe_json(content),
        "licence": f"<!--\n{licence.replace('--', '- -')}\n-->" if licence else "",
        "scripts": "\n".join(f"<script>{script}</script>" for script in scripts),
    }
    # One pass, so that placeholders inside inserted parts are not replaced.
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], _part("page.html"))


def write(text: str, target: Path, flag: str) -> None:
    """Write the page atomically, and make a folder that is missing. UsageError, which names the flag, if that fails."""
    try:
        with files.made_parent(target):
            files.write(target, text)
    except (OSError, ValueError) as error:  # ValueError: not a valid name
        reason = error.strerror if isinstance(error, OSError) else "that is not a valid file name"
        raise UsageError(f"{target} can't be written: {reason}", f"choose another file with {flag}") from error


def _part(name: str) -> str:
    return (_PARTS / name).read_text(encoding="utf-8")


def _checksum(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _safe_json(content: object) -> str:
    """JSON that can't end a script element or begin a comment, in ASCII."""
    text = json.dumps(content, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
