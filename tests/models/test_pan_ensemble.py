import pytest
import torch
from mmaction.apis import inference_recognizer, init_recognizer
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample
from mmengine.config import Config
from mmengine.runner import load_checkpoint

from builders import PIPELINE, ROOT, SAMPLE
from pan_mm.convert import merge_streams, model_config
from pan_mm.engine import preflight
from pan_mm.utils.errors import DataError

SHARED = {
    key: value
    for key, value in model_config('lite', 18, num_segments=2, num_classes=3).items()
    if key != 'type'
}
FRAMES = torch.randn(2, 8, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def config(*names, **changes):
    streams = dict.fromkeys(names or ('rgb', 'pa', 'lite'), {})
    return dict(type='PANEnsemble', streams=streams, **SHARED) | changes


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


def test_weighted_mean_of_the_streams_logits(checkpoints):
    weights = dict(rgb=1, pa=3)
    streams = {
        name: dict(checkpoint=checkpoints[name][0], weight=weight)
        for name, weight in weights.items()
    }
    model = MODELS.build(config(streams=streams)).eval()
    expected = (checkpoints['rgb'][1] + 3 * checkpoints['pa'][1]) / 4
    torch.testing.assert_close(logits(model), expected)
    model.init_weights()  # loads them again
    torch.testing.assert_close(logits(model), expected)


class TestPredict:
    def predict(self, model, views=1):
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

    def test_what_only_a_stream_does(self):
        model = build(config('rgb'))
        with pytest.raises(NotImplementedError, match='train each stream with its own config'):
            model(FRAMES, mode='loss')
        with pytest.raises(ValueError, match=r"model.streams\['rgb'\]"):
            model(FRAMES, mode='tensor', stage='backbone')


class TestErrors:
    @pytest.mark.parametrize(
        ('streams', 'message'),
        [
            ({}, 'needs at least one stream'),
            (dict(rgb=dict(weight=-1), pa={}), "finite numbers >= 0, not all 0: {'rgb': -1"),
            (dict(rgb=dict(weight=float('nan'))), 'finite numbers >= 0'),
            (dict(rgb=dict(weight='a'), pa={}), "finite numbers >= 0, not all 0: {'rgb': 'a'"),
            (dict(rgb=dict(weight=0)), 'not all 0'),
            (dict(rgb=dict(backbone=dict(clip_len=1)), pa={}), 'clip_len, num_segments .* differ'),
            (dict(rgb=dict(cls_head=dict(num_classes=5)), pa={}), 'num_classes differ'),
        ],
    )
    def test_streams(self, streams, message):
        with pytest.raises(ValueError, match=message):
            MODELS.build(config(streams=streams))

    def test_checkpoint_of_one_stream_alone(self, checkpoints):
        with pytest.raises(
            ValueError,
            match=r'a single model, .* no weights of the stream\(s\) pa, rgb.*merge_streams',
        ):
            load_checkpoint(build(config('rgb', 'pa')), checkpoints['pa'][0])

    def test_sampling_is_checked_for_the_streams(self):
        pipeline = [dict(type='PANSampleFrames', clip_len=1, num_clips=2)]
        dataset = dict(type='Own', pipeline=pipeline)
        cfg = Config(dict(model=config(), test_dataloader=dict(dataset=dataset)))
        with pytest.raises(DataError, match='1 problem.*\n.*clip_len=1 of PANSampleFrames'):
            preflight(cfg, ('test',))


class TestMerge:
    def test_what_does_not_fit_leaves_no_file(self, checkpoints, tmp_path):
        cfg = Config(dict(model=config('rgb', 'pa')))
        rgb, lite = checkpoints['rgb'][0], checkpoints['lite'][0]
        with pytest.raises(ValueError, match="streams of the config are .'rgb', 'pa'"):
            merge_streams(cfg, dict(rgb=rgb), tmp_path / 'a.pth')
        with pytest.raises(ValueError, match='another PAN stream'):
            merge_streams(cfg, dict(rgb=rgb, pa=lite), tmp_path / 'a.pth')
        assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_merged_by_the_tool_for_those_of_mmaction(checkpoints, videos, tmp_path, run_tool):
    pipeline = list(PIPELINE)
    pipeline[1] = dict(SAMPLE, clip_len=4, num_clips=2, test_mode=True, twice_sample=True)
    path, fused = tmp_path / 'full.py', tmp_path / 'full.pth'
    base = dict(_base_=[str(ROOT / 'configs/_base_/default_runtime.py')])
    Config(dict(base, model=config('rgb', 'pa'), test_pipeline=pipeline)).dump(path)
    pairs = [f'{name}={checkpoints[name][0]}' for name in ('rgb', 'pa')]
    merged = run_tool('tools/convert/merge_streams.py', path, fused, *pairs, check=True)
    assert 'tools/test.py' in merged.stdout
    model = init_recognizer(str(path), str(fused), device='cpu')
    found = inference_recognizer(model, str(videos / '1.mp4')).pred_score
    alone = []
    for recognizer in model.streams.values():
        recognizer.data_preprocessor, recognizer.cfg = model.data_preprocessor, model.cfg
        alone.append(inference_recognizer(recognizer, str(videos / '1.mp4')).pred_score)
    torch.testing.assert_close(found, sum(alone) / 2)
