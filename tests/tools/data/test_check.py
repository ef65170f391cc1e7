"""Problems that the check of a sthv1 dataset finds."""

from builders import ROOT

FOLDER = ROOT / 'configs' / 'recognition' / 'pan'
STHV1 = FOLDER / 'pan-lite_imagenet-pretrained-r50_8xb8-4x1x8-80e_sthv1-rgb.py'
UTD_MHAD = FOLDER / 'pan-lite_r18_1xb16-4x1x8-30e_utd-mhad-depth.py'
UCF101 = FOLDER / 'pan-lite_imagenet-pretrained-r50_8xb8-4x1x8-80e_ucf101-rgb.py'


def on(root, *more):
    roots = [f'{split}_dataloader.dataset.data_root={root}' for split in ('train', 'val')]
    return ['--cfg-options', *roots, *more]


def test_sound_dataset(succeed, sthv1):
    said = succeed('check.py', STHV1, '--decode', *on(sthv1))
    assert 'train: 2 videos of 2 classes' in said and 'No problem' in said


def test_the_embedded_dataset_is_rendered_and_checked(succeed, fail, tmp_path):
    few = [
        f'{split}_dataloader.dataset.{key}={value}'
        for split in ('train', 'val')
        for key, value in (('num_train', 12), ('num_val', 12), ('num_test', 1))
    ]
    config = 'pan-lite_r18_1xb16-4x1x8-4e_motionshapes-rgb.py'  # by its name, as mim run gives it
    said = succeed('check.py', config, *on(tmp_path / 'shapes', *few))
    assert 'val: 12 videos of 12 classes' in said
    repeated = [
        'train_dataloader.dataset._delete_=True',
        'train_dataloader.dataset.type=RepeatDataset',
    ]
    assert 'RepeatDataset has no annotation list' in fail(
        'check.py', config, '--cfg-options', *repeated
    )


def test_videos_in_both_splits(succeed, fail, own_videos):
    (own_videos / 'clap').rename(own_videos / 'YoYo')
    (own_videos / 'wave').rename(own_videos / 'Archery')
    for split, i in (('train', 0), ('val', 1)):
        (own_videos / f'ucf101_{split}_split_1_videos.txt').write_text(
            f'YoYo/{i}.mp4 100\nArchery/{i}.mp4 2\n'
        )
    place = [f'{split}_dataloader.dataset.data_prefix.video=.' for split in ('train', 'val')]
    said = succeed('check.py', UCF101, '--decode', *on(own_videos, *place))
    path = own_videos / 'ucf101_train_split_1_videos.txt'
    path.write_text('YoYo/0.mp4 100\nArchery/1.mp4 2\n')
    (own_videos / 'Archery' / '1.mp4').write_bytes(b'no video')
    said = fail('check.py', UCF101, '--decode', *on(own_videos, *place))
    assert 'is not a video' in said
    assert '1 videos are in both, such as' in said


def test_without_a_validation_split(succeed, fail, own_videos):
    (own_videos / 'annotations').mkdir()
    for split, i in (('train', 0), ('test', 1)):
        (own_videos / 'annotations' / f'{split}.txt').write_text(f'wave/{i}.mp4 {i}\n')
    roots = [f'{split}_dataloader.dataset.data_root={own_videos}' for split in ('train', 'test')]
    said = succeed('check.py', UTD_MHAD, '--cfg-options', *roots)
    assert 'test: 1 videos of 1 classes' in said
    assert 'has no val_dataloader' in fail(
        'check.py', UTD_MHAD, '--splits', 'val', '--cfg-options', *roots
    )


class TestWriteClean:
    def test_bad_lines_and_videos_are_left_out(self, succeed, own_videos, tmp_path):
        lines = [f'{name}/{i}.mp4 {i % 2}\n' for name in ('wave', 'clap') for i in range(5)]
        bad = ['gone.mp4 0\n', 'wave/0.mp4 101\n', 'wave/1.mp4 one\n', 'bad.mp4 1\n']
        (own_videos / 'bad.mp4').write_bytes(b'no video')
        path = own_videos / 'ucf101_train_split_1_videos.txt'
        path.write_text(''.join([*bad, *lines]))
        options = on(own_videos, 'train_dataloader.dataset.data_prefix.video=.')
        clean = tmp_path / 'clean.txt'
        arguments = [UCF101, '--splits', 'train', '--write-clean', clean]
        said = succeed('check.py', *arguments, *options)
        assert 'clean.txt: 11 of 14 lines' in said and 'no such video' in said
        assert clean.read_text() == ''.join(['bad.mp4 1\n', *lines])
        succeed('check.py', *arguments, '--decode', *options)
        assert clean.read_text() == ''.join(lines)

    def test_nothing_sound_is_not_written(self, fail, own_videos, tmp_path):
        (own_videos / 'ucf101_train_split_1_videos.txt').write_text('gone.mp4 0\n')
        arguments = ['--splits', 'train', '--write-clean', tmp_path / 'clean.txt']
        assert 'no line of it is sound' in fail('check.py', UCF101, *arguments, *on(own_videos))
        assert not (tmp_path / 'clean.txt').exists()
