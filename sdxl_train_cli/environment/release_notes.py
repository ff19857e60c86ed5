"""What is said of the sd-scripts that setup takes: which release it is, and how a fork or branch differs from one."""

from __future__ import annotations

from collections.abc import Iterator

from sdxl_train_cli import files
from sdxl_train_cli.environment.unpacked import Checkout
from sdxl_train_cli.sdscripts import known_releases
from sdxl_train_cli.sdscripts.options import OptionTable


def of_checkout(checkout: Checkout, wanted: str | None) -> Iterator[str]:
    """Said before anything is installed. `wanted` is the ref that was asked for."""
    newest = known_releases.load()[0]
    known = known_releases.at(checkout.commit)
    if wanted is None and checkout.ref != newest.name:
        yield f"sd-scripts: this source has no {newest.name}: using {checkout.ref}"
    elif wanted is not None and checkout.ref != wanted:
        yield f"sd-scripts: this source has no branch '{wanted}' (upstream merged it): using {checkout.ref}"
    named = next((release for release in known_releases.load() if release.name == checkout.ref), None)
    if known is None and named is not None and checkout.made is not None:
        yield f"sd-scripts: {named.name} is commit {checkout.commit[:10]} here, and {named.commit[:10]} upstream"
    if known is None and checkout.made is not None and checkout.made < newest.date:
        yield f"sd-scripts: {checkout.ref} is of {checkout.made}, older than {newest.name} ({newest.date})"


def of_options(checkout: Checkout, options: OptionTable) -> Iterator[str]:
    """Said of an sd-scripts that is no known release: how it differs from the nearest."""
    if known_releases.at(checkout.commit) is None:
        networks = {path.stem for path in (checkout.folder / "networks").glob("*.py") if files.is_file(path)}
        found = known_releases.nearest(options, networks)
        if found.count:
            yield f"sd-scripts: {checkout.ref} {found.words}"
