"""The zoo's metafile is written from its configs and the paper's figures."""

import pytest
import yaml

from benchmarks.pages import metafile


@pytest.fixture(scope='module')
def entries():
    content = yaml.safe_load(metafile.PATH.read_text(encoding='utf-8'))
    return {model['Name']: model for model in content['Models']}


def test_metafile_is_fresh_but_for_the_costs(entries):
    assert metafile.metafile(entries) == metafile.PATH.read_text(encoding='utf-8')


@pytest.mark.slow
def test_metafile_is_fresh():
    metafile.main(['--check'])


def test_papers_figures_of_no_config_are_refused(monkeypatch, entries, tmp_path):
    (tmp_path / 'paper.yml').write_text('pan-lite_gone: [1.0, 2.0]\n')
    monkeypatch.setattr(metafile, 'FOLDER', tmp_path)
    with pytest.raises(ValueError, match='pan-lite_gone, no configs here'):
        metafile.metafile(entries)
