"""Streams of real clips give what the offline pipeline gives, at the cost of what is new."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmaction.apis import inference_recognizer
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from builders import CLIP, Camera
from pan_mm.deploy.streaming.events import Event, EventDetector, ScoreSmoother
from pan_mm.deploy.streaming.recognizer import (
    Prediction,
    StreamRecognizer,
    StreamStats,
    recognize_stream,
)
from pan_mm.deploy.streaming.sources import FileSource, LiveSource
from pan_mm.utils.errors import VideoError

ROOT = Path(__file__).resolve().parents[3]
PIPELINE = [
    dict(type='VideoInit'),
    dict(type='PANSampleFrames', clip_len=4, num_clips=4, test_mode=True),
    dict(type='VideoDecode'),
    dict(type='Resize', scale=(-1, 40)),
    dict(type='CenterCrop', crop_size=32),
    dict(type='FormatShape', input_format='NCHW'),
    dict(type='PackActionInputs'),
]

# 35 frames suit T = 4, m = 4, stride 8: 4 * 8 + 4 - 1
WINDOW = 35


@pytest.fixture(scope='module')
def build_pan():
    """Function that builds a PAN of 4 segments with random weights and a varied head."""

    def build(stream='lite', backbone=None, num_segments=4, **head):
        init_default_scope('mmaction')
        cfg = Config.fromfile(ROOT / 'configs/_base_/models/pan_r18.py')
        cfg.model.backbone.update(stream=stream, num_segments=num_segments)
        cfg.model.backbone.backbone.update(backbone or {})
        cfg.model.cls_head.update(num_classes=5, num_segments=num_segments, **head)
        cfg.test_pipeline = PIPELINE
        torch.manual_seed(0)
        model = MODELS.build(cfg.model)
        for name, parameter in model.named_parameters():
            if 'persistence' in name or 'cls_head' in name:  # start near zero otherwise
                torch.nn.init.normal_(parameter, std=0.1)
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = 1.0
        with torch.no_grad():  # fit the norms, so that no signal dies out on its way
            model.train().backbone(torch.randn(2 * num_segments * 4, 3, 32, 32))
        model.cfg = cfg
        return model.eval()

    return build


@pytest.fixture(scope='module')
def frames(clips_dir):
    return list(FileSource(clips_dir / CLIP))


def follow(recognizer, frames):
    return [r for r in recognize_stream(frames, recognizer) if isinstance(r, Prediction)]


@pytest.mark.real_data
class TestScores:
    @pytest.mark.parametrize('stream', ['rgb', 'pa', 'lite'])
    def test_file_and_pushed_frames_agree(self, build_pan, clips_dir, frames, stream):
        recognizer = StreamRecognizer(build_pan(stream), stride=4)
        from_file = follow(recognizer, FileSource(clips_dir / CLIP))
        recognizer.reset()
        pushed = [recognizer.push(frame.image, frame.timestamp) for frame in frames]
        pushed = [prediction for prediction in pushed if prediction]
        assert len(from_file) == len(pushed) == 6
        for one, other in zip(from_file, pushed):
            assert (one.scores == other.scores).all()
            assert (one.start, one.end) == (other.start, other.end)

    @pytest.mark.parametrize('stream', ['rgb', 'pa', 'lite'])
    def test_equal_to_the_offline_pipeline(self, build_pan, frames, tmp_path, stream):
        """A video of T * stride + m - 1 frames, where both take the same frames."""
        path = tmp_path / 'clip.avi'
        height, width = frames[0].image.shape[:2]
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'MJPG'), 15, (width, height))
        for frame in frames[:WINDOW]:
            writer.write(frame.image[..., ::-1])
        writer.release()
        model = build_pan(stream)
        logits = inference_recognizer(model, str(path)).pred_score
        (prediction,) = follow(StreamRecognizer(model, stride=8), FileSource(path))
        torch.testing.assert_close(
            torch.from_numpy(prediction.scores), logits.softmax(0), atol=1e-5, rtol=1e-4
        )
        assert prediction.scores.std() > 1e-3  # the scores say something

    def test_several_labels(self, build_pan, frames):
        models = build_pan(), build_pan(multi_class=True)
        for model in models:
            model.cls_head.fc_cls.weight.data *= 0.01  # no sigmoid is 1
        one, several = (follow(StreamRecognizer(model, stride=8), frames) for model in models)
        assert len(one) == len(several) > 0
        for softmax, sigmoid in zip(one, several):
            odds = sigmoid.scores / (1 - sigmoid.scores)
            np.testing.assert_allclose(odds / odds.sum(), softmax.scores, rtol=1e-4)

    def test_segments_may_overlap(self, build_pan, frames):
        """At stride 2 < m a pair belongs to several segments and is computed once."""
        model = build_pan('pa')
        pairs = []
        hook = model.backbone.persistence.register_forward_hook(
            lambda module, args, output: pairs.append(args[0])
        )
        recognizer = StreamRecognizer(model, stride=2)
        predictions = follow(recognizer, frames)
        hook.remove()
        # segments start at 1, 3, 5, …: the frames 1 … 37 and the pairs between them
        assert len(pairs) == 36
        assert len(predictions) == len(range(1 + 3 * 2 + 3, 38, 2))
        images = torch.cat([recognizer._prepare(frame.image) for frame in frames])
        starts = [1 + 2 * k for k in range(4)]
        window = torch.cat([images[start : start + 4] for start in starts])
        logits = model.cls_head(model.backbone(window))
        np.testing.assert_allclose(
            predictions[0].scores, logits[0].softmax(0).detach(), rtol=1e-4, atol=1e-5
        )

    def test_ensemble(self, build_pan, frames):
        """Each stream has PA filters of its own; the logits are fused as offline."""
        cfg = build_pan('lite').cfg.copy()
        streams = dict(rgb=dict(), pa=dict(), lite=dict(weight=2.0))
        cfg.model.update(type='PANEnsemble', streams=streams)
        model = MODELS.build(cfg.model)
        model.cfg = cfg
        for name, parameter in model.named_parameters():
            if 'persistence' in name or 'cls_head' in name:
                torch.nn.init.normal_(parameter, std=0.1)
        recognizer = StreamRecognizer(model, stride=8)
        (prediction,) = follow(recognizer, frames[:WINDOW])
        images = torch.cat([recognizer._prepare(frame.image) for frame in frames[:WINDOW]])
        window = torch.cat([images[4 + 8 * k :][:4] for k in range(4)])
        logits, _ = model.extract_feat(window.unsqueeze(0))
        np.testing.assert_allclose(
            prediction.scores, logits[0].softmax(0).detach(), rtol=1e-4, atol=1e-5
        )

    def test_each_pa_map_is_computed_once(self, build_pan, frames):
        model = build_pan('lite')
        calls = []
        model.backbone.persistence.register_forward_hook(lambda *args: calls.append(1))
        recognizer = StreamRecognizer(model, stride=4)
        assert len(follow(recognizer, frames)) == 6
        assert len(calls) == 9 * 3  # 9 segments of 3 pairs; windows overlap
        newest = torch.stack([recognizer._prepare(f.image)[0] for f in frames[34:38]])
        expected = model.backbone.persistence(newest[None])[0].detach()  # (3, H, W)
        np.testing.assert_allclose(recognizer.pa_maps, expected, rtol=1e-4, atol=1e-5)

    def test_hop(self, build_pan, frames):
        model = build_pan('rgb')
        every = follow(StreamRecognizer(model, stride=4), frames)
        third = follow(StreamRecognizer(model, stride=4, hop=3), frames)
        assert [p.end for p in third] == [p.end for p in every][::3]


@pytest.mark.real_data
class TestCausal:
    def test_costs_one_segment_and_equals_the_window(self, build_pan, frames):
        model = build_pan('lite', backbone=dict(type='ResNetCausalTSM'))
        batches = []
        model.backbone.backbone.conv1.register_forward_hook(
            lambda module, args, output: batches.append(len(args[0]))
        )
        recognizer = StreamRecognizer(model, stride=4)
        predictions = follow(recognizer, frames)
        assert len(predictions) == 6
        assert set(batches) == {1}
        # the first window has no past, so that it equals the batch computation of a clip
        images = torch.cat([recognizer._prepare(frame.image) for frame in frames])
        window = torch.cat([images[2 + 4 * k :][:4] for k in range(4)])
        logits = model.cls_head(model.backbone(window))
        np.testing.assert_allclose(
            predictions[0].scores, logits[0].softmax(0).detach(), rtol=1e-4, atol=1e-5
        )


@pytest.mark.real_data
class TestGaps:
    def test_no_segment_spans_a_gap_and_the_window_stays(self, build_pan, frames):
        recognizer = StreamRecognizer(build_pan('lite'), stride=4)
        kept = [frame for frame in frames if frame.index != 20]  # in the segment 18 … 21
        whole = follow(recognizer, frames)
        recognizer.reset()
        broken = follow(recognizer, kept)
        ends = [round(p.end * 15) for p in broken]
        assert ends == [17, 25, 29, 33, 37]
        assert [round(p.end * 15) for p in whole] == [17, 21, 25, 29, 33, 37]
        assert (broken[0].scores == whole[0].scores).all()
        assert (broken[-1].scores == whole[-1].scores).all()

    @pytest.mark.filterwarnings('ignore:.*opening it again')
    def test_the_window_outlives_a_camera_that_goes_away(self, build_pan, clips_dir):
        recognizer = StreamRecognizer(build_pan('lite'), stride=4)
        camera = Camera(clips_dir / CLIP, frames=18)
        camera.ready.release(100)
        buffer = recognizer.buffer(100, patience=60)
        predictions = []
        source = LiveSource(0, buffer, retries=3, capture=camera, backoff=0.01)
        with pytest.raises(VideoError, match='could not be opened again'), source:
            for prediction in recognize_stream(source, recognizer):
                predictions.append(prediction)
        # frames 0 … 17 and 19 … 36: the segments 22, 26 and 30 join those from before the break
        assert len(predictions) == 4
        assert predictions[1].start < predictions[0].end

    def test_another_frame_size_starts_anew(self, build_pan, frames):
        model = build_pan('lite')
        pipeline = [t for t in model.cfg.test_pipeline if t['type'] not in ('Resize', 'CenterCrop')]
        recognizer = StreamRecognizer(model, stride=4, test_pipeline=pipeline)
        small = [f._replace(image=f.image[:32, :32]) for f in frames[:10]]
        large = [f._replace(image=f.image[:48, :48]) for f in frames[10:]]
        ends = [round(p.end * 15) for p in follow(recognizer, small + large)]
        assert ends == [25, 29, 33, 37]  # segments from 10 on

    def test_no_rgb_frame(self, build_pan):
        recognizer = StreamRecognizer(build_pan('lite'))
        with pytest.raises(ValueError, match='RGB image, uint8'):
            recognizer.push(np.zeros((32, 32), np.uint8))


@pytest.mark.real_data
class TestRecognizeStream:
    def test_smoothed_scores_and_events(self, build_pan, frames):
        recognizer = StreamRecognizer(build_pan('lite'), stride=4)
        plain = follow(recognizer, frames)
        recognizer.reset()
        stats = StreamStats()
        results = list(
            recognize_stream(frames, recognizer, ScoreSmoother(0.5), EventDetector(0.2, 0.2), stats)
        )
        predictions = [r for r in results if isinstance(r, Prediction)]
        expected = (plain[0].scores + plain[1].scores) / 2
        np.testing.assert_allclose(predictions[1].scores, expected, rtol=1e-6)
        label = int(predictions[-1].scores.argmax())
        event = next(r for r in results if isinstance(r, Event) and r.label == label)
        assert event.end == predictions[-1].end
        assert event.score == pytest.approx(max(p.scores[label] for p in predictions))
        summary = stats.as_dict()
        assert (summary['frames'], summary['predictions']) == (38, 6)
        assert 0 < summary['latency_ms']['p50'] <= summary['latency_ms']['max']


class TestArguments:
    def test_other_models(self):
        with pytest.raises(ValueError, match='Recognizer2D with PANBackbone, got Linear'):
            StreamRecognizer(torch.nn.Linear(2, 2))

    def test_stride(self, build_pan):
        with pytest.raises(ValueError, match='at least 1'):
            StreamRecognizer(build_pan('rgb'), stride=0)

    def test_several_views(self, build_pan):
        model = build_pan('rgb')
        pipeline = [
            dict(type='ThreeCrop', crop_size=32),
            dict(type='FormatShape', input_format='NCHW'),
        ]
        recognizer = StreamRecognizer(model, stride=1, test_pipeline=pipeline)
        with pytest.raises(ValueError, match='one view'):
            recognizer.push(np.zeros((32, 40, 3), np.uint8))
