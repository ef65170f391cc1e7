from pathlib import Path

import pytest
import torch
from mmaction.apis import ActionRecogInferencer, inference_recognizer, init_recognizer
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.runner import load_checkpoint

from pan_mm.convert import merge_streams, model_config
from pan_mm.engine import preflight
from pan_mm.inference.scores import load_scores
from pan_mm.utils.errors import DataError

ROOT = Path(__file__).parents[2]
SHARED = {
    key: value
    for key, value in model_config('lite', 18, num_segments=2, num_classes=3).items()
    if key != 'type'
}
FRAMES = torch.randn(2, 8, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def config(*streams, **changes):
    own = {name: {} for name in streams} if streams else {'rgb': {}, 'pa': {}, 'lite': {}}
    return dict(type='PANEnsemble', streams=own, **SHARED) | changes


def build(cfg, seed=0):
    torch.manual_seed(seed)
    model = MODELS.build(cfg)
    for parameter in model.parameters():  # the initial classifier hardly tells streams apart
        if parameter.ndim == 2:
            torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


def logits(model, frames=FRAMES):
    with torch.no_grad():
        return model(frames, mode='tensor', stage='head')


@pytest.fixture(scope='module')
def checkpoints(tmp_path_factory):
    """A checkpoint of each stream, and its logits for FRAMES."""
    folder = tmp_path_factory.mktemp('streams')
    saved = {}
    for seed, stream in enumerate(('rgb', 'pa', 'lite')):
        model = build(model_config(stream, 18, 2, 3), seed + 1)
        path = str(folder / f'{stream}.pth')
        torch.save(dict(state_dict=model.state_dict()), path)
        saved[stream] = path, logits(model)
    return saved


class TestFusion:
    def test_mean_of_the_streams_logits(self, checkpoints):
        streams = {name: dict(checkpoint=path) for name, (path, _) in checkpoints.items()}
        expected = sum(own for _, own in checkpoints.values()) / 3
        model = build_loaded(config(streams=streams))
        torch.testing.assert_close(logits(model), expected)
        assert (logits(model) - checkpoints['rgb'][1]).abs().max() > 0.01

    def test_weights(self, checkpoints):
        weights = dict(rgb=1, pa=3)
        streams = {
            name: dict(checkpoint=checkpoints[name][0], weight=weight)
            for name, weight in weights.items()
        }
        expected = (checkpoints['rgb'][1] + 3 * checkpoints['pa'][1]) / 4
        torch.testing.assert_close(logits(build_loaded(config(streams=streams))), expected)

    def test_init_weights_keeps_the_checkpoints(self, checkpoints):
        model = MODELS.build(config(streams=dict(pa=dict(checkpoint=checkpoints['pa'][0]))))
        model.init_weights()
        torch.testing.assert_close(logits(model.eval()), checkpoints['pa'][1])

    def test_streams_of_their_own(self):
        whole = model_config('lite', 18, 2, 3)
        streams = dict(
            small=dict(backbone=whole['backbone'], cls_head=whole['cls_head']),
            plain=dict(
                backbone=dict(
                    whole['backbone'], stream='rgb', backbone=dict(type='ResNet', depth=34)
                ),
                cls_head=whole['cls_head'],
            ),
        )
        model = build(dict(type='PANEnsemble', streams=streams))
        assert {name: r.backbone.stream for name, r in model.streams.items()} == dict(
            small='lite', plain='rgb'
        )
        own = [logits(recognizer) for recognizer in model.streams.values()]
        torch.testing.assert_close(logits(model), (own[0] + own[1]) / 2)


def build_loaded(cfg):
    return MODELS.build(cfg).eval()


class TestPredict:
    def predict(self, model, views):
        samples = [ActionDataSample() for _ in range(len(FRAMES) // views)]
        frames = FRAMES.reshape(len(samples), -1, 3, 32, 32)
        with torch.no_grad():
            return model(frames, samples, mode='predict')

    @pytest.mark.parametrize('average', ['score', 'prob'])
    def test_views_are_averaged_after_fusion(self, average):
        model = build(config(cls_head=dict(SHARED['cls_head'], average_clips=average)))
        fused = logits(model)  # two views of one video
        expected = fused.softmax(1).mean(0) if average == 'prob' else fused.mean(0)
        (sample,) = self.predict(model, views=2)
        torch.testing.assert_close(sample.pred_score, expected)
        assert sample.pred_label.item() == expected.argmax().item()

    def test_one_view(self):
        model = build(config('rgb', 'pa'))
        for sample, expected in zip(self.predict(model, views=1), logits(model)):
            torch.testing.assert_close(sample.pred_score, expected)

    def test_fully_convolutional(self):
        model = build(config('rgb', test_cfg=dict(fcn_test=True)))
        for sample, expected in zip(self.predict(model, views=1), logits(model)):
            torch.testing.assert_close(sample.pred_score, expected)

    def test_training_is_refused(self):
        with pytest.raises(NotImplementedError, match='train each stream with its own config'):
            build(config('rgb'))(FRAMES, mode='loss')

    def test_features_are_those_of_a_stream(self):
        with pytest.raises(ValueError, match=r"model.streams\['rgb'\]"):
            build(config('rgb'))(FRAMES, mode='tensor', stage='backbone')


class TestArguments:
    @pytest.mark.parametrize(
        ('streams', 'message'),
        [
            ({}, 'needs at least one stream'),
            (dict(rgb=dict(weight=-1), pa={}), 'weights must not be negative'),
            (dict(rgb=dict(weight=0)), 'weights must not be negative'),
            (
                dict(rgb=dict(backbone=dict(clip_len=1)), pa={}),
                "clip_len differ: {'rgb': 1, 'pa': 4}",
            ),
            (dict(rgb=dict(cls_head=dict(num_classes=5)), pa={}), 'num_classes differ'),
            (dict(rgb=dict(data_preprocessor=dict(type='ActionDataPreprocessor'))), 'of its own'),
        ],
    )
    def test_what_does_not_fit(self, streams, message):
        with pytest.raises(ValueError, match=message):
            MODELS.build(config(streams=streams))

    def test_checkpoint_of_another_stream(self, checkpoints):
        path = checkpoints['lite'][0]
        with pytest.raises(ValueError, match=r"(?s)stream 'pa' does not load from .*another PAN"):
            MODELS.build(config(streams=dict(pa=dict(checkpoint=path))))

    def test_checkpoint_of_other_classes(self, checkpoints):
        stream = dict(checkpoint=checkpoints['pa'][0], cls_head=dict(num_classes=7))
        with pytest.raises(ValueError, match=r'(?s)fc_cls.*\[3, 512\].*\[7, 512\]'):
            MODELS.build(config(streams=dict(pa=stream)))

    def test_checkpoint_of_one_stream_alone(self, checkpoints):
        with pytest.raises(
            ValueError, match=r'no weights of the stream\(s\) rgb, pa.*merge_streams'
        ):
            load_checkpoint(build(config('rgb', 'pa')), checkpoints['pa'][0])


class TestMerge:
    def test_one_file_holds_all(self, checkpoints, tmp_path):
        cfg = Config(dict(model=config()))
        merge_streams(
            cfg, {name: path for name, (path, _) in checkpoints.items()}, tmp_path / 'a.pth'
        )
        model = build(cfg.model)
        load_checkpoint(model, str(tmp_path / 'a.pth'), strict=True)
        torch.testing.assert_close(logits(model), sum(own for _, own in checkpoints.values()) / 3)

    @pytest.mark.parametrize('given', [['rgb'], ['rgb', 'pa', 'lite', 'flow'], []])
    def test_one_for_each_stream(self, checkpoints, tmp_path, given):
        paths = dict.fromkeys(given, checkpoints['rgb'][0])
        with pytest.raises(ValueError, match='the streams of the config are rgb, pa, lite'):
            merge_streams(Config(dict(model=config())), paths, tmp_path / 'a.pth')
        assert not (tmp_path / 'a.pth').exists()

    def test_wrong_checkpoint_leaves_no_file(self, checkpoints, tmp_path):
        paths = dict(rgb=checkpoints['rgb'][0], pa=checkpoints['lite'][0])
        with pytest.raises(ValueError, match="stream 'pa' does not load"):
            merge_streams(Config(dict(model=config('rgb', 'pa'))), paths, tmp_path / 'a.pth')
        assert list(tmp_path.iterdir()) == []

    def test_other_models(self, tmp_path):
        cfg = Config(dict(model=model_config('rgb', 18, 2, 3)))
        with pytest.raises(ValueError, match='a Recognizer2D, not a PANEnsemble'):
            merge_streams(cfg, {}, tmp_path / 'a.pth')


class TestPreflight:
    def cfg(self, clip_len=4):
        dataset = dict(
            type='ConcatDataset',
            datasets=[
                dict(
                    type='Own',
                    pipeline=[dict(type='PANSampleFrames', clip_len=clip_len, num_clips=2)],
                )
            ],
        )
        return Config(
            dict(
                model=config(),
                train_dataloader=dict(dataset=dict(type='VideoDataset', ann_file='lost.txt')),
                test_dataloader=dict(dataset=dataset),
            )
        )

    def test_sampling_is_checked_for_the_streams(self):
        preflight(self.cfg(), ('test',))
        with pytest.raises(DataError, match='1 problem.*\n.*clip_len=1 of PANSampleFrames'):
            preflight(self.cfg(clip_len=1), ('test',))


@pytest.mark.slow
def test_tools_and_inferencers(checkpoints, videos, tmp_path, run_tool):
    """merge, test with twice_sample, dump, init_recognizer and the inferencer, on one config."""
    (tmp_path / 'list.txt').write_text(''.join(f'{i}.mp4 {i % 3}\n' for i in range(4)))
    pipeline = [
        dict(type='DecordInit'),
        dict(type='PANSampleFrames', clip_len=4, num_clips=2, test_mode=True, twice_sample=True),
        dict(type='DecordDecode'),
        dict(type='Resize', scale=(-1, 32)),
        dict(type='ThreeCrop', crop_size=32),
        dict(type='FormatShape', input_format='NCHW'),
        dict(type='PackActionInputs'),
    ]
    dataset = dict(
        type='VideoDataset',
        ann_file=str(tmp_path / 'list.txt'),
        data_prefix=dict(video=str(videos)),
        pipeline=pipeline,
        test_mode=True,
    )
    dataloader = dict(
        batch_size=2, sampler=dict(type='DefaultSampler', shuffle=False), dataset=dataset
    )
    cfg = Config(
        dict(
            _base_=[str(ROOT / 'configs/_base_/default_runtime.py')],
            model=config('rgb', 'pa'),
            test_pipeline=pipeline,
            val_dataloader=dataloader,
            test_dataloader=dataloader,
        )
    )
    path, fused = tmp_path / 'full.py', tmp_path / 'full.pth'
    cfg.dump(path)
    pairs = [f'{name}={checkpoints[name][0]}' for name in ('rgb', 'pa')]
    merged = run_tool('tools/convert/merge_streams.py', path, fused, *pairs, check=True)
    assert 'tools/test.py' in merged.stdout
    dump = tmp_path / 'scores.pkl'
    options = ['--dump', dump, '--work-dir', tmp_path / 'work']
    run_tool('tools/test.py', path, fused, *options, check=True)
    scores = [sample['pred_score'] for sample in load_scores(dump)]
    assert len(scores) == 4

    model = init_recognizer(str(path), str(fused), device='cpu')
    sample = inference_recognizer(model, str(videos / '1.mp4'))
    torch.testing.assert_close(sample.pred_score, scores[1], rtol=1e-4, atol=1e-5)
    inferencer = ActionRecogInferencer(str(path), str(fused), device='cpu')
    told = inferencer(str(videos / '1.mp4'))['predictions'][0]['pred_scores']
    pipeline[4] = dict(type='CenterCrop', crop_size=32)  # as the inferencer changes it
    sample = inference_recognizer(model, str(videos / '1.mp4'), Compose(pipeline))
    torch.testing.assert_close(torch.tensor(told), sample.pred_score, rtol=1e-4, atol=1e-5)
