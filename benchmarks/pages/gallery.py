#!/usr/bin/env python3
"""Run the pages of docs/gallery, and insert their output and pictures.

    python -m benchmarks.pages.gallery [PAGE.md ...]

Python blocks of a page share their names; shell blocks run in bash. A text block right after a
block is its output. Pictures shown from images/ are drawn by the page's own code.
"""

import argparse
import io
import os
import re
import subprocess
import sys
import tempfile
from contextlib import redirect_stdout
from pathlib import Path
from typing import Optional

from PIL import Image

from benchmarks.compared import ROOT

GALLERY = ROOT / 'docs' / 'gallery'
BLOCK = re.compile(r'^```(python|shell)\n(.*?)^```\n(?:(\n```text\n).*?^```\n)?', re.M | re.S)
PICTURE = re.compile(r'!\[[^]]*\]\((images/[\w.-]+)\)')


def run_page(text: str, folder: Path) -> str:
    """Run a page's blocks in a folder; returns the page with their outputs.

    Args:
        text (str): The page.
        folder (Path): Working directory, to which links to configs and tools are added. Pictures
            are in its folder images afterwards.

    Raises:
        RuntimeError: If a shell block fails, with its output.
        FileNotFoundError: If the page shows a picture that its code did not draw.
    """
    for name in ('configs', 'tools'):  # as in a clone
        (folder / name).symlink_to(ROOT / name)
    (folder / 'images').mkdir()
    names, home = {}, Path.cwd()

    def with_output(match):
        language, code, output = match.groups()
        printed = run_python(code, names) if language == 'python' else run_shell(code, folder)
        block = f'```{language}\n{code}```\n'
        return f'{block}{output}{printed.rstrip()}\n```\n' if output else block

    os.chdir(folder)
    try:
        text = BLOCK.sub(with_output, text)
    finally:
        os.chdir(home)
    for picture in PICTURE.findall(text):
        if not (folder / picture).is_file():
            raise FileNotFoundError(f'no block of the page draws {picture}')
    return text


def run_python(code: str, names: dict) -> str:
    with redirect_stdout(io.StringIO()) as printed:
        exec(compile(code, '<page>', 'exec'), names)
    return printed.getvalue()


def run_shell(code: str, folder: Path) -> str:
    path = f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}'
    env = dict(os.environ, PATH=path, PYTHONPATH=str(ROOT))
    done = subprocess.run(
        ['bash', '-euc', code], cwd=folder, env=env, capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f'{code}\n{done.stdout}\n{done.stderr}')
    return done.stdout


def main(argv: Optional[list] = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('pages', nargs='*', type=Path, help='by default all with code')
    for page in parser.parse_args(argv).pages or sorted(GALLERY.glob('*.md')):
        text = page.read_text(encoding='utf-8')
        if not BLOCK.search(text):
            continue
        with tempfile.TemporaryDirectory() as folder:
            text = run_page(text, Path(folder))
            for picture in PICTURE.findall(text):
                (page.parent / picture).parent.mkdir(exist_ok=True)
                image = Image.open(Path(folder) / picture).convert('RGB')
                image.quantize(128).save(page.parent / picture, optimize=True)  # noise is large
        page.write_text(text, encoding='utf-8')


if __name__ == '__main__':
    main()
