"""The benchmark of whole recognizers runs, and its figures are what they are called."""

import json
import warnings

import pytest

from benchmarks import recognizer
from pan_mm.models import PersistenceOfAppearance
from pan_mm.ops import persistence
from pan_mm.ops.cpu import has_bfloat16_units


@pytest.mark.parametrize('name', recognizer.CONFIGS)
def test_configs_are_found(name):
    """Ours, and those in the installed MMAction2; all have 400 classes."""
    cfg = recognizer.load_config(name)
    assert cfg.model.cls_head.num_classes == 400
    assert "'pretrained': 'http" not in str(recognizer.without(cfg.model, ['pretrained']))


@pytest.mark.slow
def test_report(tmp_path, capsys):
    out = tmp_path / 'recognizer.json'
    options = '--models PAN_RGB PAN_Full SlowFast --size 32 --repeats 1 --threads 1'
    recognizer.main(['--out', str(out), *options.split()])
    report = json.loads(out.read_text())
    assert report['models']['PAN_RGB']['clip'] == [8, 3, 32, 32]
    assert report['models']['PAN_Full']['clip'] == [32, 3, 32, 32]
    assert report['models']['SlowFast']['clip'] == [1, 3, 32, 32, 32]
    assert len(report['inference']) == 3 * 2 * 2
    assert len(report['training']) == 3
    for row in report['inference'] + report['training']:
        clips = row['ms'] * row['clips_per_second'] / 1000
        assert clips == pytest.approx(row['batch'])
        assert (row['variant'] == 'plain') == ('peak_mbytes' in row)
    assert 'PAN_Full optimized      2' in capsys.readouterr().out


@pytest.mark.slow
def test_profiles_of_training_steps(tmp_path):
    """Of each precision, with the path of PA that was asked for."""
    out, options = tmp_path / 'recognizer.json', '--size 32 --batches 1 --train-batch 1 --repeats 1'
    # Processors without units for bfloat16 take minutes.
    variants = ['plain', 'autocast'] if has_bfloat16_units() else ['plain']
    options += f' --models PAN_Lite --variants {" ".join(variants)} --threads 1 --backend cpu'
    recognizer.main(['--out', str(out), '--profile', str(tmp_path / 'new'), *options.split()])
    assert json.loads(out.read_text())['settings']['backend'] == 'cpu'
    for variant in variants:
        table = (tmp_path / 'new' / f'PAN_Lite-{variant}.txt').read_text()
        (line,) = (line for line in table.splitlines() if 'pan_mm::persistence ' in line)
        assert line.split()[-1] == '3'  # steps


@pytest.mark.parametrize('backend', ['auto', 'reference'])
def test_the_path_of_pa(backend):
    model, _ = recognizer.build('PAN_Full', 32, 'cpu', backend)
    cues = [part for part in model.modules() if isinstance(part, PersistenceOfAppearance)]
    assert [cue.backend for cue in cues] == [backend]


def test_a_kernel_that_cannot_run_is_an_error():
    persistence._say_once.cache_clear()
    with warnings.catch_warnings(), pytest.raises(UserWarning, match="backend 'cuda' needs"):
        recognizer.main(['--models', 'PAN_Lite', '--size', '32', '--backend', 'cuda'])
