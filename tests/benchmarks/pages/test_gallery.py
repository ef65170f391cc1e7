"""The pages of docs/gallery run, print what they show, and draw their pictures."""

import importlib.util
import re

import pytest
from PIL import Image

from benchmarks.pages.gallery import BLOCK, GALLERY, PICTURE, run_page
from builders import free_port

PAGES = [page for page in sorted(GALLERY.glob('*.md')) if BLOCK.search(page.read_text('utf-8'))]


def without_numbers(text):
    return re.sub(r'\d+(\.\d+)?(e-?\d+)?', '#', text)


def test_outputs_are_put_after_their_blocks(tmp_path):
    page = (
        '```python\nx = 2\nprint(x)\n```\n\n```text\nold\n```\n\n```shell\necho $((1 + 2))\n```\n'
    )
    page += '\nno output shown\n\n```python\nprint(x + 1)\n```\n\n```text\n```\n'
    text = run_page(page, tmp_path)
    assert text == page.replace('old', '2').replace('```text\n```', '```text\n3\n```')


def test_a_picture_that_is_not_drawn_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match='images/none.png'):
        run_page('![nothing](images/none.png)', tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.stem)
def test_page(page, tmp_path):
    text = page.read_text('utf-8')
    if 'pan_mm serve' in text and not importlib.util.find_spec('uvicorn'):
        pytest.skip('the extra demo is not installed')
    shown = run_page(text.replace('7862', free_port()), tmp_path)
    assert without_numbers(shown) == without_numbers(text)
    for picture in PICTURE.findall(text):
        drawn, shown = Image.open(tmp_path / picture), Image.open(page.parent / picture)
        assert drawn.size == shown.size
        assert len(drawn.convert('RGB').getcolors(2**24)) > 10
