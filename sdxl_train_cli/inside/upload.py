"""Upload a folder to the Hugging Face Hub with the token that is there, and print what became of it as one JSON object.

Whatever goes wrong is told as {"failed": KIND}; the token is in no word of it.

Usage: python upload.py FOLDER [--repo USER/NAME] [--name NAME] [--private]
       python upload.py --check: uploads nothing, and tells whether the hub takes the token
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
import sys
from pathlib import Path

os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

SUMS = "SHA256SUMS"
"""What marks a repository as a share."""
OF_THE_HUB = {".gitattributes", "README.md"}
"""Files that a new repository may have."""
QUOTA = re.compile(r"storage limit|quota|exceeded your|payment required", re.IGNORECASE)
"""What the hub says where an account has no room left: it has no status of its own for that."""
LONGEST = 300
UNAUTHORIZED, PAYMENT, FORBIDDEN, CONFLICT, CHANGED, TOO_LARGE, FULL, SERVER = 401, 402, 403, 409, 412, 413, 507, 500


class RefusedError(Exception):
    """The upload can't go on, for a reason of our own."""


def main(argv: list[str]) -> int:
    """Upload. Returns 0, whatever became of it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--repo")
    parser.add_argument("--name", default="share")
    parser.add_argument("--private", action="store_true")
    options = parser.parse_args(argv)
    try:
        import huggingface_hub  # noqa: PLC0415 - an environment without it is told
    except ImportError:
        return answer({"failed": "missing"})
    logging.disable(logging.CRITICAL)  # the library's warnings repeat what is told below
    token = huggingface_hub.get_token()
    if not token:
        return answer({"failed": "no_token"})
    try:
        api = huggingface_hub.HfApi(token=token)
        return answer({"user": api.whoami()["name"]} if options.check else upload(api, options))
    except RefusedError as error:
        return answer({"failed": str(error)})
    except Exception as error:  # noqa: BLE001 - each library raises its own
        return answer(told(error, token))


def upload(api: object, options: argparse.Namespace) -> dict[str, object]:
    """Create the repository, and make the folder its contents in one commit."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete  # noqa: PLC0415 - as above

    user = api.whoami()["name"]
    repo = options.repo or f"{user}/{options.name}"
    repo = repo if "/" in repo else f"{user}/{repo}"
    repo = api.create_repo(repo, private=options.private, exist_ok=True).repo_id or repo
    there = set(api.list_repo_files(repo))
    if SUMS not in there and there - OF_THE_HUB:
        raise RefusedError("not_ours")
    local = {path.relative_to(options.folder).as_posix(): path for path in sorted(options.folder.rglob("*"))}
    files = {name: path for name, path in local.items() if path.is_file()}
    stale = sorted(there - files.keys() - OF_THE_HUB)
    operations = [CommitOperationAdd(name, str(path)) for name, path in files.items()]
    operations += [CommitOperationDelete(name) for name in stale]
    made = api.create_commit(repo, operations, commit_message=f"Share {options.name}")
    return {"repo": repo, "url": f"{api.endpoint}/{repo}", "commit": made.oid, "files": len(files), "deleted": stale}


def told(error: BaseException, token: str) -> dict[str, object]:
    """What went wrong, by its kind."""
    chain, each = [], error
    while each is not None and each not in chain:
        chain.append(each)
        each = each.__cause__ or each.__context__
    response = next((one.response for one in chain if getattr(one, "response", None) is not None), None)
    status = getattr(response, "status_code", None)
    said = " ".join(str(getattr(one, "server_message", None) or "") or str(one) for one in chain)
    words = " ".join(said.replace(token, "***").split())
    return {"failed": kind(status, words, chain), "status": status, "words": words[:LONGEST]}


def kind(status: int | None, words: str, chain: list[BaseException]) -> str:
    """Why it failed, as our side tells it."""
    if status in {PAYMENT, TOO_LARGE, FULL} or QUOTA.search(words):
        return "quota"
    if status is not None and status >= SERVER:
        return "server"
    known = {UNAUTHORIZED: "refused_token", FORBIDDEN: "no_write", CONFLICT: "conflict", CHANGED: "conflict"}
    if status in known:
        return known[status]
    named = {type(one).__name__ for one in chain}
    if "HFValidationError" in named:
        return "bad_name"
    is_network = any(
        name.endswith(("ConnectionError", "Timeout", "ConnectError", "ChunkedEncodingError")) for name in named
    )
    return "network" if status is None and (is_network or isinstance(chain[0], ConnectionError)) else "other"


def answer(found: dict[str, object]) -> int:
    """Print the one JSON object."""
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
