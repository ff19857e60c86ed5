"""What `sdxl-train file` prints: what a file says of itself, what scrubbing took, and results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sdxl_train_cli import formatting
from sdxl_train_cli.inspection.weight_facts import WeightFacts
from sdxl_train_cli.lora_files.blocks import BlockRanks
from sdxl_train_cli.lora_files.result import MadeFile
from sdxl_train_cli.lora_files.scrubbing import Scrubbed
from sdxl_train_cli.ui import console

_FINE = 1000
"""Steps of a bar's scale: norms are small numbers."""
_SHOWN = 60
"""Characters of a value that is told in a line."""


def show(name: str, rows: Sequence[tuple[str, str]], blocks: Sequence[BlockRanks], weights: WeightFacts | None) -> None:
    """Print what a file says of itself, and its ranks and norms by block."""
    console.table(("file", name), rows)
    if not blocks:
        return
    norms = norms_by_block(weights)
    most = max(norms.values(), default=0.0)
    drawn = [
        (block.label, block.words, _number(norms.get((block.part, block.block))), _bar(norms, block, most))
        for block in blocks
    ]
    console.out("")
    if norms:
        console.table(("block", "rank", "norm", "how much it adds"), drawn)
    else:
        console.table(("block", "rank"), [row[:2] for row in drawn])


def norms_by_block(weights: WeightFacts | None) -> Mapping[tuple[str, str], float]:
    """What each block adds, where it can be told."""
    found = weights.blocks if weights is not None else ()
    return {(block.part, block.block): block.norm for block in found if block.norm is not None}


def _bar(norms: Mapping[tuple[str, str], float], block: BlockRanks, most: float) -> str:
    norm = norms.get((block.part, block.block), 0.0)
    return console.bar(round(_FINE * norm / most), _FINE) if most else ""


def _number(norm: float | None) -> str:
    return "-" if norm is None else f"{norm:.3g}"


def tell_scrubbed(found: Scrubbed) -> None:
    """Print what scrubbing took and changed, a line each."""
    rows = [(change.key, "removed", change.why) for change in found.removed]
    rows += [(change.key, _cut(change.after or ""), change.why) for change in found.changed]
    if rows:
        console.err_table(("key", "now", "because"), rows)
    else:
        console.note("nothing in its metadata tells of a person or a machine")


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def tell_made(made: MadeFile) -> None:
    """Print the verdict on a result, and its path on stdout."""
    console.note(f"done: {formatting.size(made.size_bytes)}; {made.summary}")
    for finding in made.findings:
        console.warn(finding.problem)
    console.out(str(made.path))


def made_facts(made: MadeFile) -> dict[str, object]:
    """The same for a script."""
    return {
        "path": str(made.path),
        "bytes": made.size_bytes,
        "summary": made.summary,
        "findings": [
            {"trouble": finding.trouble.value, "fatal": finding.is_fatal, "message": finding.problem.message}
            for finding in made.findings
        ],
    }
