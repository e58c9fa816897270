# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""README.md can be read in a terminal, and the links of all pages lead somewhere."""

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = sorted(
    page
    for pattern in (
        '*.md',
        'docs/**/*.md',
        'examples/*.md',
        'demo/*.md',
        'docker/*.md',
        'models/*.md',
    )
    for page in REPOSITORY.glob(pattern)
)
LINK = re.compile(r'\]\((?!https?:|mailto:|#)([^)#\s]+)(#[^)\s]*)?\)')


def test_no_line_of_the_readme_is_longer_than_a_terminal() -> None:
    text = (REPOSITORY / 'README.md').read_text('utf-8')
    written_by_hand = re.sub(r'<!-- settings: .*<!-- end of settings -->', '', text, flags=re.S)
    assert written_by_hand != text
    assert [line for line in written_by_hand.splitlines() if len(line) > 120] == []


@pytest.mark.parametrize('page', PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_the_links_of_a_page_lead_to_files_and_headings(page: Path) -> None:
    text = re.sub(r'^```.*?^```', '', page.read_text('utf-8'), flags=re.M | re.S)
    for name, anchor in LINK.findall(text):
        target = page.parent / name
        assert target.exists(), f'{name}: there is no such file'
        if anchor and target.suffix == '.md':
            assert anchor[1:] in anchors(target), f'{name}: has no heading {anchor}'


def anchors(page: Path) -> set[str]:
    """Return the anchors of the headings, as GitHub makes them."""
    headings = re.findall(r'^#+ +(.+)$', page.read_text('utf-8'), re.M)
    return {re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-') for heading in headings}
