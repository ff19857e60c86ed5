"""What is in a share, and what was left out of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sdxl_train_cli import formatting
from sdxl_train_cli.sharing.hub import Uploaded
from sdxl_train_cli.sharing.private import LeftOut
from sdxl_train_cli.sharing.share_plan import Share
from sdxl_train_cli.ui import console

_MOST_NAMED = 6


def show(share: Share, place: Path, *, is_written: bool) -> None:
    """Print it for a person, on stderr: the path is the result."""
    for problem in share.warnings:
        console.warn(problem)
    rows = [(name, formatting.size(size)) for name, size in share.sizes.items()]
    console.note(f"{'made' if is_written else 'would make'} {place}:")
    console.err_table(("file", "size"), rows)
    hashes = share.copy.hashes
    console.note(f"AutoV2 {hashes.auto_v2}, AutoV3 {hashes.auto_v3}")
    for line in _left_out(share.left_out):
        console.note(line)


def _left_out(found: Sequence[LeftOut]) -> list[str]:
    """One line for each reason, with what it holds for."""
    reasons: dict[str, list[str]] = {}
    for each in found:
        reasons.setdefault(each.why, []).append(each.where)
    if not reasons:
        return ["left out: nothing had to be"]
    return [f"left out ({why}): {formatting.some(where, _MOST_NAMED)}" for why, where in reasons.items()]


def show_json(share: Share, place: Path, uploaded: Uploaded | None, *, is_written: bool) -> None:
    """Print it as JSON. Warnings go to stderr too."""
    for problem in share.warnings:
        console.warn(problem)
    facts, hashes = share.facts, share.copy.hashes
    console.data({
        "path": str(place),
        "written": is_written,
        "uploaded": None
        if uploaded is None
        else {"repo": uploaded.repo, "url": uploaded.url, "commit": uploaded.commit},
        "files": share.sizes,
        "hashes": {"sha256": hashes.sha256, "autov2": hashes.auto_v2, "autov3": hashes.auto_v3},
        "trigger": facts.trigger,
        "base": facts.base.name or None,
        "licence": None if facts.licence is None else facts.licence.name,
        "left_out": [{"where": each.where, "why": each.why} for each in share.left_out],
        "warnings": [str(problem) for problem in share.warnings],
    })  # fmt: skip
