"""The page of the model zoo."""

from benchmarks.compared import ROOT
from benchmarks.pages import model_zoo


def test_model_zoo_page_is_fresh():
    model_zoo.main(['--check'])


def test_model_zoo_shows_own_results_beside_the_papers():
    text = (ROOT / 'model_zoo.md').read_text(encoding='utf-8')
    own = model_zoo.own_accuracies()
    name = 'pan-lite_r18_1xb16-4x1x8-4e_motionshapes-rgb'
    (line,) = (line for line in text.splitlines() if line.startswith(f'| [{name}]'))
    assert line.endswith(f'|  | {own[name]} |')
