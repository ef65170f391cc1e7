"""A training on videos of one's own, by the command that ``build_list.py`` prints."""

import json
import re
import shlex

import pytest
from mmengine.config import Config

from pan_mm.apis import PANInferencer


@pytest.mark.slow
def test_the_printed_command_trains(succeed, own_videos, tmp_path, run_tool):
    (own_videos / 'wave').rename(own_videos / 'left')
    video = (own_videos / 'left' / '0.mp4').rename(own_videos / 'left' / 'a (b).mp4')
    printed = succeed('build_list.py', own_videos, '--minutes', 0.03, '--size', 48)
    command = printed[printed.index('\npython ') :].replace('\\\n', ' ')
    _, script, config = shlex.split(command)
    result = run_tool(script, config, '--work-dir', tmp_path / 'work', check=True)
    said = result.stderr + result.stdout
    assert 'training accuracy' in said and 'validation accuracy' in said and 'Verdict: ' in said
    verdict = json.loads((tmp_path / 'work' / 'verdict.json').read_text())
    assert verdict['classes'] == ['clap', 'left'] and verdict['counts'] == [4, 4]
    assert sorted(label for label, _ in verdict['train']) == [0] * 4 + [1] * 4
    command = shlex.split(re.search('Recognize with it: (.+)', said)[1])
    assert command[:6] == ['python', '-m', 'pan_mm', 'predict', 'VIDEO', '--config']
    config, checkpoint = command[6], command[8]
    assert Config.fromfile(config).train_dataloader.dataset.metainfo.classes == ['clap', 'left']
    (found,) = PANInferencer(config, checkpoint, device='cpu')(video)
    assert {top['name'] for top in found['top']} == {'clap', 'left'}
