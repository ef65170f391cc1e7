"""What eight bits cost, as the tool measures it."""

import json
import os
import runpy

import pytest

from builders import first_stages, list_loaders


@pytest.mark.slow
def test_int8(make_config, make_checkpoint, videos, tmp_path, monkeypatch):
    """A quarter of the size, and nearly the same scores; measured by the tool for it."""
    pytest.importorskip('onnxruntime')
    (tmp_path / 'list.txt').write_text(''.join(f'{videos}/{i}.mp4 {i}\n' for i in range(4)))
    loaders = list_loaders(tmp_path / 'list.txt', 'val_dataloader', 'test_dataloader')
    config = make_config(more=loaders + first_stages(2))
    checkpoint = make_checkpoint(config)
    arguments = ['--config', config, '--checkpoint', checkpoint, '--out', tmp_path / 'int8.json']
    monkeypatch.setattr('sys.argv', ['int8', *map(str, arguments)])
    runpy.run_module('benchmarks.int8', run_name='__main__')
    result = json.loads((tmp_path / 'int8.json').read_text())
    assert (result['videos'], result['calibration_videos'], result['same_top1']) == (4, 4, 100)
    assert result['figures']['pytorch']['top1'] == result['figures']['float32']['top1']
    assert result['mib']['int8'] < result['mib']['float32'] / 3
    assert sorted(os.listdir(tmp_path)) == ['int8.json', 'list.txt']
