"""docs/reliability.md names tests that exist and figures that were measured."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / 'results' / 'reliability'
DOCUMENT = ROOT / 'docs' / 'reliability.md'


def figures():
    """The table of the document."""
    rows = ['| tried | how often | outcome |', '|---|---|---|']
    kills = RESULTS / 'kills.json'
    if kills.exists():
        found = json.loads(kills.read_text())
        phases = ', '.join(f'{n} while {phase}' for phase, n in sorted(found['kills'].items()))
        rows.append(
            f'| SIGKILL of a training | {sum(found["kills"].values())} ({phases}) | '
            f'{found["broken_checkpoints"]} broken checkpoints; {found["differing_runs"]} of '
            f'{found["finished_runs"]} runs differ from the undisturbed one |'
        )
    fuzz = RESULTS / 'fuzz.json'
    if fuzz.exists():
        found = json.loads(fuzz.read_text())
        rows.append(
            f'| mutated inputs of {len(found["targets"])} readers and operators | '
            f'{found["inputs"]:,} | {len(found["failed"])} with an undocumented error |'
        )
    return '\n'.join(rows) + '\n'


def test_figures_are_those_of_the_result_files():
    assert DOCUMENT.read_text(encoding='utf-8').endswith(figures())


NAMED = sorted(set(re.findall(r'`(tests/\S+?\.py(?:::\w+)?)`', DOCUMENT.read_text('utf-8'))))


@pytest.mark.parametrize('name', NAMED)
def test_named_tests_exist(name):
    path, _, test = name.partition('::')
    text = (ROOT / path).read_text(encoding='utf-8')
    assert re.search(rf'^(def|class) {test}\b', text, re.MULTILINE) if test else 'def test_' in text


if __name__ == '__main__':
    print(figures(), end='')
