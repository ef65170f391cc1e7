"""Streams of real clips give what the offline pipeline gives, at the cost of what is new."""

import numpy as np
import pytest
import torch
from mmaction.apis import inference_recognizer
from mmaction.registry import MODELS
from mmengine.config import Config

from builders import CLIP, write_video
from pan_mm.deploy.streaming.recognizer import StreamRecognizer
from pan_mm.deploy.streaming.sources import read_frames

# 35 frames suit T = 4, m = 4, stride 8: 4 * 8 + 4 - 1
WINDOW = 35


@pytest.fixture(scope='module')
def build_pan(make_config):
    """Function that builds a PAN of 4 segments with random weights and a varied head."""

    def build(stream='lite'):
        torch.manual_seed(0)
        model = varied(Config.fromfile(make_config(stream, num_classes=5)))
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = 1.0
        with torch.no_grad():  # fit the norms, so that no signal dies out on its way
            model.train().backbone(torch.randn(2 * 4 * 4, 3, 32, 32))
        return model.eval()

    return build


def varied(cfg):
    """A model whose PA filters and classifiers do not start near zero."""
    model = MODELS.build(cfg.model)
    model.cfg = cfg
    for name, parameter in model.named_parameters():
        if 'persistence' in name or 'cls_head' in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return model


@pytest.fixture(scope='module')
def frames(clips_dir):
    return list(read_frames(clips_dir / CLIP))


def follow(recognizer, frames):
    found = [recognizer.push(f.image, f.timestamp, f.index, f.captured) for f in frames]
    return [prediction for prediction in found if prediction]


@pytest.mark.real_data
class TestScores:
    @pytest.mark.parametrize('stream', ['rgb', 'pa', 'lite'])
    def test_equal_to_the_offline_pipeline(self, build_pan, frames, tmp_path, stream):
        """A video of T * stride + m - 1 frames, where both take the same frames."""
        pictures = [frame.image for frame in frames[:WINDOW]]
        path = write_video(tmp_path / 'clip.avi', pictures, 'mjpeg', pix_fmt='yuvj420p')
        model = build_pan(stream)
        logits = inference_recognizer(model, str(path)).pred_score
        (prediction,) = follow(StreamRecognizer(model, stride=8), read_frames(path))
        torch.testing.assert_close(
            torch.from_numpy(prediction.scores), logits.softmax(0), atol=1e-5, rtol=1e-4
        )
        assert prediction.scores.std() > 1e-3  # the scores say something
        assert prediction.start == pytest.approx(4 / 25) and prediction.latency > 0

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
        """Each stream has PA filters and a head of its own; the logits are fused as offline."""
        cfg = build_pan('lite').cfg.copy()
        tsm = dict(cls_head=dict(type='TSMHead', num_segments=4))
        streams = dict(rgb=tsm, pa=dict(), lite=dict(weight=2.0))
        cfg.model.update(type='PANEnsemble', streams=streams)
        model = varied(cfg)
        recognizer = StreamRecognizer(model, stride=8)
        (prediction,) = follow(recognizer, frames[:WINDOW])
        images = torch.cat([recognizer._prepare(frame.image) for frame in frames[:WINDOW]])
        window = torch.cat([images[4 + 8 * k :][:4] for k in range(4)])
        logits, _ = model.extract_feat(window.unsqueeze(0))
        np.testing.assert_allclose(
            prediction.scores, logits[0].softmax(0).detach(), rtol=1e-4, atol=1e-5
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


class TestArguments:
    def test_other_models(self):
        with pytest.raises(ValueError, match='Recognizer2D with PANBackbone, got Linear'):
            StreamRecognizer(torch.nn.Linear(2, 2))

    def test_several_views(self, build_pan):
        model = build_pan('rgb')
        pipeline = [
            dict(type='ThreeCrop', crop_size=32),
            dict(type='FormatShape', input_format='NCHW'),
        ]
        recognizer = StreamRecognizer(model, stride=1, test_pipeline=pipeline)
        with pytest.raises(ValueError, match='one view'):
            recognizer.push(np.zeros((32, 40, 3), np.uint8))
