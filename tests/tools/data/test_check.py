"""Problems that the check of a sthv1 dataset finds."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / 'configs' / 'recognition' / 'pan'
STHV1 = FOLDER / 'pan-lite_imagenet-pretrained-r50_8xb8-4x1x8-80e_sthv1-rgb.py'
UTD_MHAD = FOLDER / 'pan-lite_r18_1xb16-4x1x8-30e_utd-mhad-depth.py'
UCF101 = FOLDER / 'pan-lite_imagenet-pretrained-r50_8xb8-4x1x8-80e_ucf101-rgb.py'


def on(root, *more):
    roots = [f'{split}_dataloader.dataset.data_root={root}' for split in ('train', 'val')]
    return ['--cfg-options', *roots, *more]


def test_sound_dataset(tool, sthv1):
    result = tool('check.py', STHV1, '--decode', *on(sthv1))
    assert result.returncode == 0, result.stdout + result.stderr
    assert 'train: 2 videos of 2 classes' in result.stdout and 'No problem' in result.stdout


def test_the_embedded_dataset_is_rendered_and_checked(tool, tmp_path):
    few = [
        f'{split}_dataloader.dataset.{key}={value}'
        for split in ('train', 'val')
        for key, value in (('num_train', 12), ('num_val', 12), ('num_test', 1))
    ]
    config = 'pan-lite_r18_1xb16-4x1x8-4e_motionshapes-rgb.py'  # by its name, as mim run gives it
    result = tool('check.py', config, *on(tmp_path / 'shapes', *few))
    assert result.returncode == 0, result.stdout + result.stderr
    assert 'val: 12 videos of 12 classes' in result.stdout
    repeated = [
        'train_dataloader.dataset._delete_=True',
        'train_dataloader.dataset.type=RepeatDataset',
    ]
    result = tool('check.py', config, '--cfg-options', *repeated)
    assert result.returncode == 1 and 'RepeatDataset has no annotation list' in result.stderr


def test_frames(tool, sthv1):
    (sthv1 / 'rawframes' / '7' / '00003.jpg').unlink()
    result = tool('check.py', STHV1, *on(sthv1))
    assert result.returncode == 1
    assert '/7: 1 of 5 frames are missing, such as 00003.jpg' in result.stdout


def test_videos_in_both_splits(tool, own_videos):
    (own_videos / 'clap').rename(own_videos / 'YoYo')
    (own_videos / 'wave').rename(own_videos / 'Archery')
    for split, i in (('train', 0), ('val', 1)):
        (own_videos / f'ucf101_{split}_split_1_videos.txt').write_text(
            f'YoYo/{i}.mp4 100\nArchery/{i}.mp4 2\n'
        )
    place = [f'{split}_dataloader.dataset.data_prefix.video=.' for split in ('train', 'val')]
    result = tool('check.py', UCF101, '--decode', *on(own_videos, *place))
    assert result.returncode == 0, result.stdout + result.stderr
    path = own_videos / 'ucf101_train_split_1_videos.txt'
    path.write_text('YoYo/0.mp4 100\nArchery/1.mp4 2\n')
    (own_videos / 'Archery' / '1.mp4').write_bytes(b'no video')
    result = tool('check.py', UCF101, '--decode', *on(own_videos, *place))
    assert result.returncode == 1
    assert 'is not a video' in result.stdout
    assert '1 videos are in both, such as' in result.stdout


def test_without_a_validation_split(tool, own_videos):
    (own_videos / 'annotations').mkdir()
    for split, i in (('train', 0), ('test', 1)):
        (own_videos / 'annotations' / f'{split}.txt').write_text(f'wave/{i}.mp4 {i}\n')
    roots = [f'{split}_dataloader.dataset.data_root={own_videos}' for split in ('train', 'test')]
    result = tool('check.py', UTD_MHAD, '--cfg-options', *roots)
    assert result.returncode == 0, result.stdout + result.stderr
    assert 'test: 1 videos of 1 classes' in result.stdout
    result = tool('check.py', UTD_MHAD, '--splits', 'val', '--cfg-options', *roots)
    assert result.returncode == 1 and 'has no val_dataloader' in result.stderr


class TestWriteClean:
    def test_bad_lines_and_videos_are_left_out(self, tool, own_videos, tmp_path):
        lines = [f'{name}/{i}.mp4 {i % 2}\n' for name in ('wave', 'clap') for i in range(5)]
        bad = ['gone.mp4 0\n', 'wave/0.mp4 101\n', 'wave/1.mp4 one\n', 'bad.mp4 1\n']
        (own_videos / 'bad.mp4').write_bytes(b'no video')
        path = own_videos / 'ucf101_train_split_1_videos.txt'
        path.write_text(''.join([*bad, *lines]))
        options = on(own_videos, 'train_dataloader.dataset.data_prefix.video=.')
        clean = tmp_path / 'clean.txt'
        arguments = [UCF101, '--splits', 'train', '--write-clean', clean]
        result = tool('check.py', *arguments, *options)
        assert result.returncode == 0, result.stderr
        assert 'clean.txt: 11 of 14 lines' in result.stdout and 'no such video' in result.stdout
        assert clean.read_text() == ''.join(['bad.mp4 1\n', *lines])
        assert tool('check.py', *arguments, '--decode', *options).returncode == 0
        assert clean.read_text() == ''.join(lines)

    def test_nothing_sound_is_not_written(self, tool, own_videos, tmp_path):
        (own_videos / 'ucf101_train_split_1_videos.txt').write_text('gone.mp4 0\n')
        arguments = ['--splits', 'train', '--write-clean', tmp_path / 'clean.txt']
        result = tool('check.py', UCF101, *arguments, *on(own_videos))
        assert result.returncode == 1 and 'no line of it is sound' in result.stderr
        assert not (tmp_path / 'clean.txt').exists()


def test_list_that_cannot_be_read(tool, sthv1):
    (sthv1 / 'sthv1_train_list_rawframes.txt').write_text('7 five 5\n')
    (sthv1 / 'sthv1_val_list_rawframes.txt').unlink()
    result = tool('check.py', STHV1, *on(sthv1))
    assert result.returncode == 1
    assert (
        'expected "folder num_frames label"' in result.stdout
        and 'no such annotation file' in result.stdout
    )
    assert 'Traceback' not in result.stderr
