"""The README stays short, and its badges, the citation and the templates are true."""

import re

import pytest
import yaml

import pan_mm
from builders import ROOT
from pan_mm.inference import zoo

README = (ROOT / 'README.md').read_text(encoding='utf-8')


def test_it_is_short():
    assert len(README.splitlines()) <= 130


def test_badges():
    badges = dict(re.findall(r'/badge/(\w+)-(\S+)-blue', README))
    floors = dict(
        re.findall(r'^(\w+)>=([\w.]+)', (ROOT / 'requirements/install.txt').read_text(), re.M)
    )
    minors = re.search(r'for minor in range\((\d+), (\d+)\)', (ROOT / 'setup.py').read_text())
    assert badges == {
        'version': pan_mm.__version__,
        'python': f'3.{minors[1]}_to_3.{int(minors[2]) - 1}',
        'pytorch': f'%E2%89%A5_{floors["torch"]}',
        'mmaction2': floors['mmaction2'].rpartition('.')[0],
        'license': 'Apache--2.0',
    }
    described = re.findall(r'\[!\[([^]]+)\]', README)
    assert described[0] == f'version {pan_mm.__version__}'


def test_it_says_how_good_the_model_is_that_comes_along():
    (weights,) = zoo.PRETRAINED.glob('*.safetensors')
    card = weights.with_suffix('.md').read_text(encoding='utf-8')
    row = re.search(r'test1\.txt \| \d+ \| (\S+) \| [^|]+ \| (\S+) \|', card)
    text = f'{row[1]} % top-1 and {row[2]} % top-5'
    assert text in README and weights.with_suffix('.md').name in README
    assert weights.stat().st_size < 15e6


@pytest.mark.slow
def test_its_example_is_what_the_command_prints(tmp_path, clips_dir, run_tool):
    sources = ('hmdb51_golf.avi', 'hmdb51_shoot_bow.avi', 'mmskeleton_clean_and_jerk.mp4')
    (command,) = re.findall(r'^python -m (pan_mm predict .*)$', README, re.M)
    module, *words = command.split()
    names = [word for word in words if '.' in word]
    for name, source in zip(names, sources):
        (tmp_path / name).symlink_to(clips_dir / 'labelled' / source)
    (shown,) = re.findall(r'^```text\n(.*?)```', README, re.M | re.S)
    printed = run_tool(module, *words, '--device', 'cpu', cwd=tmp_path, check=True).stdout
    assert re.sub(r'[\d.]+ %', '%', printed).split() == re.sub(r'[\d.]+ %', '%', shown).split()
    scores = [[float(x) for x in re.findall(r'([\d.]+) %', text)] for text in (printed, shown)]
    assert scores[0] == pytest.approx(scores[1], abs=0.5)  # processors differ


def test_pictures_exist():
    pictures = re.findall(r'(?:src|srcset)="([^"]+)"', README)
    assert len(pictures) == 2 and all((ROOT / name).is_file() for name in pictures)


def test_citation():
    citation = yaml.safe_load((ROOT / 'CITATION.cff').read_text(encoding='utf-8'))
    paper = citation['preferred-citation']
    assert paper['url'] in README and 'Appearance' in paper['title']


def test_issue_templates():
    forms = list((ROOT / '.github/ISSUE_TEMPLATE').glob('*.yml'))
    assert len(forms) == 4
    for path in forms:
        form = yaml.safe_load(path.read_text(encoding='utf-8'))
        ids = [part['id'] for part in form.get('body', [])]
        assert path.stem == 'config' or (form['name'] and form['description'] and ids)
        assert len(ids) == len(set(ids))
