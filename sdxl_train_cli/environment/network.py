"""Check that a host is reachable before starting something long that needs it, and fetch small files."""

from __future__ import annotations

TIMEOUT_SECONDS = 5.0


def is_reachable(url: str) -> bool:
    """Request the page's headers through the system's proxies. Any response counts, including an error status."""
    return status(url) is not None


def status(url: str) -> int | None:
    """The HTTP status of the page, asked without any credentials. None if the host can't be reached."""
    import http.client  # noqa: PLC0415 - few commands use the network, and the import is slow
    import urllib.error  # noqa: PLC0415 - the same
    import urllib.request  # noqa: PLC0415 - the same

    try:
        request = urllib.request.Request(url, method="HEAD")  # noqa: S310 - https URLs from our own constants
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310 - as above
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except (OSError, ValueError, http.client.HTTPException):
        return None


def fetch(url: str) -> bytes:
    """A small file. OSError if it can't be had."""
    import urllib.request  # noqa: PLC0415 - as above

    with urllib.request.urlopen(url, timeout=_FETCH_SECONDS) as answer:  # noqa: S310 - https, or the user's own mirror
        return bytes(answer.read())


def post_json(url: str, found: object) -> None:
    """Send JSON to a page. OSError if it is not taken."""
    import http.client  # noqa: PLC0415 - as above
    import json  # noqa: PLC0415 - as above
    import urllib.request  # noqa: PLC0415 - as above

    headers = {"Content-Type": "application/json", "User-Agent": "sdxl-train"}
    try:
        request = urllib.request.Request(url, json.dumps(found).encode(), headers)  # noqa: S310 - the user's own address
        with urllib.request.urlopen(request, timeout=_POST_SECONDS):  # noqa: S310 - as above
            return
    except (ValueError, http.client.HTTPException) as error:
        raise OSError(str(error)) from error


_POST_SECONDS = 10.0
_FETCH_SECONDS = 60.0
