"""Recognition of real clips, good and bad ones."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmaction.apis import inference_recognizer
from mmengine.config import Config

from pan_mm.apis import PANInferencer
from pan_mm.inference.recognizer import load_recognizer
from pan_mm.utils.errors import CheckpointError

real_data = pytest.mark.real_data
ROOT = Path(__file__).resolve().parents[2]


def score_by_label(result):
    return torch.tensor([item['score'] for item in sorted(result['top'], key=label)])


def label(item):
    return item['label']


@pytest.fixture(scope='module')
def clips(clips_dir):
    names = ('ucf11_v_biking_01_01.mpg', 'hmdb51_golf.avi', 'mmskeleton_tai_chi.mp4')
    names += ('sthv2_166766_vp9_in_webm_named.mp4', 'tennis_m024_p178_bh00_serve.mp4')
    return [str(clips_dir / 'labelled' / name) for name in names]


@real_data
class TestScores:
    def test_equals_mmaction2(self, config, checkpoint, clips):
        """The scores are the softmax of what MMAction2 computes for one video at a time."""
        results = PANInferencer(config, checkpoint, 'cpu', batch_size=3, topk=99)(clips)
        model = load_recognizer(config, checkpoint, 'cpu')
        for clip, result in zip(clips, results):
            expected = inference_recognizer(model, clip).pred_score.softmax(0)
            assert result['video'] == clip
            torch.testing.assert_close(score_by_label(result), expected, rtol=1e-4, atol=1e-6)
        assert results[0]['top'][0]['score'] > results[0]['top'][-1]['score']
        scores = torch.stack([score_by_label(result) for result in results])
        assert (scores - scores[0]).abs().max() > 0.01

    @pytest.mark.parametrize('average', ['prob', None])
    def test_two_clips_of_a_video(self, config, checkpoint, clips, average):
        cfg = Config.fromfile(config)
        cfg.test_pipeline[1].twice_sample = True
        cfg.model.cls_head.average_clips = average
        (result,) = PANInferencer(cfg, checkpoint, 'cpu', topk=99)(clips[0])
        model = load_recognizer(cfg, checkpoint, 'cpu')
        expected = inference_recognizer(model, clips[0]).pred_score
        if average is None:
            expected = expected.mean(0)
        if average != 'prob':
            expected = expected.softmax(0)
        torch.testing.assert_close(score_by_label(result), expected, rtol=1e-4, atol=1e-6)

    def test_batch_does_not_change_scores(self, config, checkpoint, clips):
        """Videos whose frames differ in size are not padded to one another's."""
        cfg = Config.fromfile(config)
        del cfg.test_pipeline[4]  # the crop
        alone = PANInferencer(cfg, checkpoint, 'cpu', batch_size=1, topk=99)(clips)
        together = PANInferencer(cfg, checkpoint, 'cpu', batch_size=8, topk=99)(clips)
        for one, other in zip(alone, together):
            assert one['video'] == other['video']
            torch.testing.assert_close(
                score_by_label(one), score_by_label(other), rtol=1e-4, atol=1e-6
            )


@real_data
class TestBadVideos:
    def test_the_rest_goes_on(self, config, checkpoint, clips, clips_dir, tmp_path):
        bad = [str(path) for path in sorted((clips_dir / 'negative').iterdir())]
        assert len(bad) == 4
        missing, folder = str(tmp_path / 'missing.mp4'), str(tmp_path)
        videos = [bad[0], clips[0], *bad[1:], missing, folder, clips[1]]
        results = PANInferencer(config, checkpoint, 'cpu', batch_size=4)(videos)
        assert [result['video'] for result in results] == videos
        assert [result['video'] for result in results if 'top' in result] == clips[:2]
        errors = {result['video']: result['error'] for result in results if 'error' in result}
        assert 'cannot be decoded (Invalid data' in errors[bad[0]]
        assert all('remove or replace' in errors[video] for video in bad[1:])
        assert errors[missing] == 'no such file'


class TestCheckpoint:
    def test_missing_weights_are_named_but_not_all(self, config, checkpoint, tmp_path):
        state = torch.load(checkpoint)['state_dict']
        state = {name: weight for name, weight in state.items() if 'layer2' not in name}
        torch.save(state, tmp_path / 'half.pth')
        with pytest.raises(ValueError, match='layer2.0.conv1.* …') as caught:
            PANInferencer(config, tmp_path / 'half.pth', 'cpu')
        assert len(str(caught.value)) < 1000

    def test_weights_that_are_no_numbers(self, config, checkpoint, clips, tmp_path):
        state = torch.load(checkpoint)
        state['state_dict']['cls_head.fc_cls.bias'][3] = float('nan')
        torch.save(state, tmp_path / 'nan.pth')
        recognize = PANInferencer(config, tmp_path / 'nan.pth', device='cpu')
        with pytest.raises(CheckpointError, match='not finite numbers'):
            recognize(clips[:1])

    def test_no_checkpoint(self, config, checkpoint, tmp_path):
        with pytest.raises(FileNotFoundError, match=r'nowhere\.pth'):
            PANInferencer(config, 'nowhere.pth', 'cpu')
        (tmp_path / 'cut.pth').write_bytes(checkpoint.read_bytes()[:100_000])
        for content in (config, tmp_path / 'cut.pth'):
            with pytest.raises(ValueError, match='not a checkpoint, or is damaged'):
                PANInferencer(config, content, 'cpu')


class TestClasses:
    def test_from_label_map(self, config, checkpoint, tmp_path):
        names = [f'class {i}' for i in range(19)]
        (tmp_path / 'map.txt').write_text('\n'.join(names) + '\n')
        inferencer = PANInferencer(config, checkpoint, 'cpu', label_map=tmp_path / 'map.txt')
        assert inferencer.classes == names

    def test_from_checkpoint_before_config(self, make_config, make_checkpoint):
        words = [f'word {i}' for i in range(19)]
        config = make_config(
            more=f'test_dataloader = dict(dataset=dict(metainfo=dict(classes={words})))'
        )
        assert PANInferencer(config, device='cpu').classes == words
        names = [f'name {i}' for i in range(19)]
        checkpoint = make_checkpoint(config, dataset_meta=dict(classes=names))
        assert PANInferencer(config, checkpoint, 'cpu').classes == names

    @pytest.mark.parametrize(
        ('text', 'message'),
        [
            ('run\njump', 'names 2 classes, but the model has 19'),
            ('run\n\njump', ':2: empty line'),
        ],
    )
    def test_bad_label_map(self, config, checkpoint, tmp_path, text, message):
        (tmp_path / 'map.txt').write_text(text)
        with pytest.raises(ValueError, match=message):
            PANInferencer(config, checkpoint, 'cpu', label_map=tmp_path / 'map.txt')


class TestConfig:
    def test_pipeline_of_test_dataset(self, config):
        cfg = Config.fromfile(config)
        pipeline = cfg.pop('test_pipeline')
        cfg.test_dataloader = dict(dataset=dict(type='VideoDataset', pipeline=pipeline))
        assert len(PANInferencer(cfg, device='cpu').pipeline.transforms) == len(pipeline)
        assert 'test_pipeline' not in cfg

    def test_no_config(self, tmp_path):
        (tmp_path / 'empty.py').write_text('')
        (tmp_path / 'config.txt').write_text('model')
        for name, error in (
            ('nowhere.py', FileNotFoundError),
            ('empty.py', ValueError),
            ('config.txt', OSError),
        ):
            with pytest.raises(error, match=f'{name}|Only py'):
                PANInferencer(tmp_path / name)

    def test_numbers(self, config):
        with pytest.raises(ValueError, match='batch_size and topk must be positive, got 0 and 5'):
            PANInferencer(config, device='cpu', batch_size=0)


@pytest.mark.parametrize('videos', [np.zeros((2, 4, 4, 3))])
def test_what_is_not_a_name_is_refused(config, checkpoint, videos):
    with pytest.raises(TypeError, match='expected str, bytes or os.PathLike'):
        PANInferencer(config, checkpoint, 'cpu')(videos)
