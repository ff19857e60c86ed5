"""`sdxl-train share`: a trained file as a folder or zip for others, with card, previews and hashes."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from sdxl_train_cli import formatting, layout
from sdxl_train_cli.commands import completion, home_option, values, workspace
from sdxl_train_cli.commands.home_option import HomeOption
from sdxl_train_cli.environment import environment
from sdxl_train_cli.environment.environment import Environment
from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.inspection import strengths
from sdxl_train_cli.sharing import delivery, hub, share_plan, subject
from sdxl_train_cli.sharing.share_plan import ShareChoices
from sdxl_train_cli.ui import console, share_listing

_FILE, _CARD, _HUB = "What is shared", "What the card says", "The hub"

Run = Annotated[
    str,
    typer.Argument(metavar="RUN", autocompletion=completion.run_names, help="A run, its folder, or a trained file"),
]
To = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FOLDER|FILE.zip",
                 help="Where the share is written [default: share/NAME]", rich_help_panel=_FILE),
]  # fmt: skip
Checkpoint = Annotated[
    str | None,
    typer.Option("--checkpoint", metavar="STEP|FILE|best", help="Which file of the run [default: the final one]",
                 autocompletion=completion.checkpoints, rich_help_panel=_FILE),
]  # fmt: skip
Name = Annotated[
    str | None,
    typer.Option("--name", metavar="NAME", help="Name of the shared file [default: the run's]", rich_help_panel=_FILE),
]
Previews = Annotated[
    list[Path] | None,
    typer.Option("--preview", metavar="FILE", help="A picture to show; may be repeated [default: the run's samples]",
                 rich_help_panel=_FILE),
]  # fmt: skip
NoPreviews = Annotated[bool, typer.Option("--no-previews", help="Share no picture", rich_help_panel=_FILE)]
Civitai = Annotated[
    bool, typer.Option("--civitai", help="Add what civitai's upload form asks for", rich_help_panel=_FILE)
]
Title = Annotated[str | None, typer.Option("--title", metavar="WORDS", help="Heading", rich_help_panel=_CARD)]
Trigger = Annotated[
    str | None,
    typer.Option("--trigger", "-t", metavar="WORDS", help="Trigger [default: the run's]", rich_help_panel=_CARD),
]
Base = Annotated[
    str | None,
    typer.Option("--base", metavar="FILE|ID", help="Base model [default: the run's]", rich_help_panel=_CARD),
]
License = Annotated[
    str | None,
    typer.Option("--license", metavar="NAME", help="Licence of the file [default: the base's own]",
                 rich_help_panel=_CARD),
]  # fmt: skip
Author = Annotated[str | None, typer.Option("--author", metavar="NAME", help="Whose it is", rich_help_panel=_CARD)]
Description = Annotated[
    str, typer.Option("--description", metavar="TEXT", help="A few words on it", rich_help_panel=_CARD)
]
Strength = Annotated[
    float | None,
    values.number("--strength", metavar="NUMBER", example="0.8", least=0, most=2, panel=_CARD,
                  about=f"Strength to begin with [default: {strengths.USUAL.words}, or what best says]"),
]  # fmt: skip
Tags = Annotated[bool, typer.Option("--tags", help="Tell the commonest words of the captions", rich_help_panel=_CARD)]


_LARGE_BYTES = 1_000_000_000


class ShareTarget(str, Enum):
    """Where a share goes beside the disk."""

    HUB = "hub"


Where = Annotated[
    ShareTarget | None,
    values.one_of("--to", ShareTarget, about="Upload it to the Hugging Face Hub, with your token", panel=_HUB),
]
Repo = Annotated[
    str | None,
    typer.Option("--repo", metavar="USER/NAME", help="Repository [default: yours, called like the file]",
                 rich_help_panel=_HUB),
]  # fmt: skip
Private = Annotated[bool, typer.Option("--private", help="Make the repository private", rich_help_panel=_HUB)]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be in it, and write nothing")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON")]


def share(
    run: Run, to: To = None, checkpoint: Checkpoint = None, name: Name = None, previews: Previews = None,
    no_previews: NoPreviews = False, civitai: Civitai = False, title: Title = None, trigger: Trigger = None,
    base: Base = None, license_: License = None, author: Author = None, description: Description = "",
    strength: Strength = None, tags: Tags = False, where: Where = None, repo: Repo = None, private: Private = False,
    dry_run: DryRun = False, as_json: Json = False, home: HomeOption = None,
) -> None:  # fmt: skip
    """Make a trained file ready for others: card, previews, hashes."""
    if no_previews and previews:
        raise UsageError("--preview names a picture, and --no-previews wants none", "leave out one of them")
    installed = _uploader(where, repo, private, to, home)
    looking = _looker(home) if checkpoint == subject.BEST else None
    found = subject.find(run, workspace.output(None), checkpoint, looking, to and layout.expand(to))
    size = found.path.stat().st_size
    if size > _LARGE_BYTES:
        console.note(f"reading {formatting.size(size)}{'' if dry_run else ' and writing them'}: this takes a while")
    given = tuple(map(layout.expand, previews)) if previews else () if no_previews else None
    choices = ShareChoices(
        name=name, title=title, trigger=trigger, base=base, licence=license_, author=author,
        description=description, strength=strength, previews=given, with_tags=tags, for_civitai=civitai,
    )  # fmt: skip
    called = share_plan.choose_name(found, choices)
    place = layout.expand(to or Path("share") / called)
    delivery.require_new(place, called)
    planned = share_plan.plan(found, choices)
    if not dry_run:
        delivery.write(planned, place)
    if not as_json:
        share_listing.show(planned, place, is_written=not dry_run)
    uploaded = None
    if installed is not None and not dry_run:
        console.note(f"uploading {formatting.size(sum(planned.sizes.values()))}")
        uploaded = hub.upload(installed, place, planned.facts.model.stem, repo, private=private)
    elif installed is not None:
        console.note(f"would upload it to {repo or 'a repository of yours'}")
    if as_json:
        share_listing.show_json(planned, place, uploaded, is_written=not dry_run)
    elif not dry_run:
        console.out(str(place) if uploaded is None else uploaded.url)


def _looker(home: str | None) -> Environment | None:
    """The environment that looks at checkpoints and pictures, after saying so. None before setup."""
    installed = environment.find(home_option.home(home))
    if installed is not None:
        console.note("looking at the run's checkpoints and pictures")
    return installed


def _uploader(
    where: ShareTarget | None, repo: str | None, private: bool, to: Path | None, home: str | None
) -> Environment | None:
    """The environment that uploads. None where nothing is uploaded."""
    if where is None:
        if repo is not None or private:
            raise UsageError(f"{'--repo' if repo is not None else '--private'} is for uploads", "add --to hub")
        return None
    if to is not None and not delivery.is_folder(to):
        raise UsageError(f"the hub takes a folder, not a {to.suffix} file", "give -o a folder")
    hub.require_repo(repo)
    installed = environment.require(home_option.home(home))
    hub.require_token(installed)
    return installed
