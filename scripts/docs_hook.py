"""What mkdocs calls while it builds the site: it adds the pages that are made, and the Dockerfile."""

from __future__ import annotations

import docs_pages
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made."""
    for place, text in docs_pages.pages().items():
        files.append(File.generated(config, place, content=text))
    dockerfile = docs_pages.ROOT / "Dockerfile"
    files.append(File.generated(config, dockerfile.name, abs_src_path=str(dockerfile)))
    return files
