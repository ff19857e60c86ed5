"""Check that a host is reachable before starting something long that needs it, and fetch small files."""

from __future__ import annotations

import json
from urllib.parse import urlsplit

TIMEOUT_SECONDS = 5.0


def is_reachable(url: str) -> bool:
    """Request the page's headers through the system's proxies. Any response counts, including an error status."""
    return status(url) is not None


def status(url: str) -> int | None:
    """The HTTP status of the page, asked without any credentials. None if the host can't be reached."""
    try:
        return _ask(url, "HEAD", TIMEOUT_SECONDS)[0]
    except OSError as error:
        code = getattr(error, "code", None)  # urllib's HTTPError has one
        return code if isinstance(code, int) else None


def fetch(url: str) -> bytes:
    """A small file. OSError if it can't be had."""
    return _ask(url, "GET", _FETCH_SECONDS)[1]


def post_json(url: str, found: object) -> None:
    """Send JSON to a page. OSError if it is not taken."""
    _ask(url, "POST", _POST_SECONDS, json.dumps(found).encode())


def host(url: str) -> str:
    """The host of an address, which may hold a key elsewhere."""
    try:
        return urlsplit(url).hostname or "the address"
    except ValueError:
        return "the address"


def _ask(url: str, method: str, seconds: float, content: bytes | None = None) -> tuple[int, bytes]:
    """Status and content of an answer. OSError if there is none, or one that refuses."""
    import http.client  # noqa: PLC0415 - few commands use the network, and the import is slow
    import urllib.request  # noqa: PLC0415 - the same

    headers = {} if content is None else {"Content-Type": "application/json", "User-Agent": "sdxl-train"}
    try:
        request = urllib.request.Request(url, content, headers, method=method)  # noqa: S310 - ours, or the user's own
        with urllib.request.urlopen(request, timeout=seconds) as answer:  # noqa: S310 - as above
            return int(answer.status), bytes(answer.read())
    except (ValueError, http.client.HTTPException) as error:
        raise OSError(str(error)) from error


_POST_SECONDS = 10.0
_FETCH_SECONDS = 60.0
