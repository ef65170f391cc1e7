"""The load test itself, for a moment."""

import json

import pytest

from builders import SMALL


@pytest.mark.slow
def test_more_clients_than_can_be_served(videos, make_config, make_checkpoint, tmp_path, run_tool):
    """Each is served or refused with a reason, and neither memory nor files are left."""
    pytest.importorskip('uvicorn', reason='the extra demo is not installed')
    config = make_config(more=SMALL)
    out = tmp_path / 'load.json'
    command = ['--config', config, '--checkpoint', make_checkpoint(config), '--out', out]
    command += ['--video', videos / '3.mp4', '--requests', 100, '--clients', 50, '--rounds', 2]
    run_tool('benchmarks.reliability.load', *command, check=True)
    result = json.loads(out.read_text())['serve']
    assert result['faults'] == 0 and result['left_behind'] == []
    assert sum(result['answers'].values()) == 200
    assert result['left_early'] == 72
    assert result['answers']['good: 200'] > 0
    assert len(result['memory_mib']) == 2
