# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Hooks of mkdocs and of griffe, which reads the docstrings: see mkdocs.yml and `make docs`.

Pages of the repository outside docs/, such as README.md, become pages of the site. A link to a file
that is no page leads to the repository; a link to nothing stops the build.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import griffe
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
REPOSITORY = 'https://github.com/instance-seg-ros/instance_seg_ros'
# Pages that lie outside docs/, by their place in the site.
OUTSIDE = {
    'index.md': 'README.md',
    'contributing.md': 'CONTRIBUTING.md',
    'security.md': 'SECURITY.md',
    'quality.md': 'QUALITY_DECLARATION.md',
    'examples.md': 'examples/README.md',
    'docker.md': 'docker/README.md',
    **{f'models/{path.name}': f'models/{path.name}' for path in (ROOT / 'models').glob('*.md')},
}
PLACES = {source: place for place, source in OUTSIDE.items()}
LINK = re.compile(r'(\]\()(?!https?:|mailto:|#)([^)#\s]+)(#[^)\s]*)?(?=\))')
CODE = re.compile(r'(^```.*?^```|`[^`\n]+`)', re.M | re.S)
ROLE = re.compile(r':(?:class|meth|func|attr|mod|exc):`~?([^`]+)`')


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages from outside docs/."""
    for place, source in OUTSIDE.items():
        files.append(File.generated(config, place, content=(ROOT / source).read_text('utf-8')))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links lead to pages of the site, or else to the repository."""
    place = page.file.src_uri
    source = OUTSIDE.get(place, f'docs/{place}')
    parts = CODE.split(markdown)
    # Every second part is code.
    parts[::2] = [
        LINK.sub(lambda match: _new_link(match, source, place), part) for part in parts[::2]
    ]
    return ''.join(parts)


def _new_link(match: re.Match[str], source: str, place: str) -> str:
    target = os.path.normpath(os.path.join(os.path.dirname(source), match[2]))
    if not (ROOT / target).exists():
        raise PluginError(f'{source}: links to {match[2]}, which does not exist')
    anchor = match[3] or ''
    new_place = PLACES.get(target) or _place_in_docs(target)
    if new_place is None:
        kind = 'tree' if (ROOT / target).is_dir() else 'blob'
        return f'{match[1]}{REPOSITORY}/{kind}/main/{target}{anchor}'
    return f'{match[1]}{os.path.relpath(new_place, os.path.dirname(place) or ".")}{anchor}'


def _place_in_docs(target: str) -> str | None:
    path = Path(target)
    if path.parts[0] != 'docs' or path.suffix not in ('.md', '.png', '.jpg'):
        return None
    return str(path.relative_to('docs'))


class PlainRoles(griffe.Extension):
    """Writes reStructuredText's :class:`Name`, which help() shows well enough, as code."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = ROLE.sub(r'`\1`', obj.docstring.value)
