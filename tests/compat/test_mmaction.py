import importlib
import pickle
import pkgutil
import warnings
from importlib.machinery import PathFinder
from inspect import unwrap
from pathlib import Path
from types import SimpleNamespace

import mmaction
import mmaction.models
import numpy as np
import pytest
import torch
from mmaction.engine.hooks import VisualizationHook
from mmaction.models import MobileNetV2TSM, ResNetTSM, TSNHead
from mmaction.models.heads import BaseHead
from mmaction.models.localizers import DRN
from mmaction.registry import TRANSFORMS
from mmaction.structures import ActionDataSample

import pan_mm

ROOT = Path(__file__).resolve().parents[2]


class TestDRN:
    def test_construction_names_the_mend(self, upstream_fault):
        path = mmaction.models.localizers.__path__
        with upstream_fault('drn', AssertionError):
            assert PathFinder.find_spec('mmaction.models.localizers.drn', path)
            return
        with pytest.raises(NotImplementedError, match='mmaction2#2714'):
            DRN()

    def test_every_subpackage_imports(self):
        names = [
            module.name
            for module in pkgutil.walk_packages(mmaction.__path__, 'mmaction.')
            if module.ispkg
        ]
        assert len(names) > 20
        for name in names:
            try:
                importlib.import_module(name)
            except ModuleNotFoundError as error:
                # An optional package that MMAction2 asks for, as transformers.
                assert not error.name.startswith('mmaction'), name


class TestColorJitter:
    # Pure colours at full value: OpenCV's hue is in degrees / 2.
    @pytest.mark.parametrize(
        ('factor', 'expected'),
        # An offset of 60 (30, -60) takes red to green (yellow, blue), past 255 or below 0.
        [(60.5 / 255, (0, 255, 0)), (30.5 / 255, (255, 255, 0)), (-60.5 / 255, (0, 0, 255))],
    )
    def test_red_turns(self, factor, expected):
        jitter = TRANSFORMS.build(dict(type='ColorJitter'))
        red = np.full((2, 2, 3), (255, 0, 0), np.float32)
        assert (jitter.adjust_hue(red, factor) == expected).all()

    def test_large_offset_does_not_wrap_at_256(self):
        jitter = TRANSFORMS.build(dict(type='ColorJitter', hue=0.5))
        violet = np.full((1, 1, 3), (255, 0, 255), np.float32)  # hue 150
        # 150 + 120 = 270 = 90 (mod 180): cyan. In uint8 it would be 14.
        assert (jitter.adjust_hue(violet, 120.5 / 255) == (0, 255, 255)).all()

    def test_runs_in_a_pipeline(self):
        jitter = TRANSFORMS.build(dict(type='ColorJitter', hue=0.5))
        image = np.random.default_rng(0).integers(0, 255, (8, 8, 3), dtype=np.uint8)
        for _ in range(20):
            (result,) = jitter(dict(imgs=[image]))['imgs']
            assert result.dtype == np.uint8 and result.shape == image.shape

    @pytest.mark.slow
    def test_spawned_workers_unpickle_the_repair(self, python, tmp_path):
        jitter = TRANSFORMS.build(dict(type='ColorJitter', brightness=0.25))
        (tmp_path / 'jitter.pkl').write_bytes(pickle.dumps(jitter))
        result = python(
            'import pickle, sys, numpy as np\n'
            f'jitter = pickle.load(open({str(tmp_path / "jitter.pkl")!r}, "rb"))\n'
            'print(jitter.brightness, jitter.adjust_hue(np.ones((1, 1, 3)), -0.1).shape)'
        )
        assert result.stdout.strip() == '(0.75, 1.25) (1, 1, 3)', result.stderr


@pytest.mark.slow
def test_without_importlib_metadata(linked_environment, upstream_fault):
    # pkg_resources would let setuptools' own copy be found.
    env = linked_environment(without=['importlib_metadata*', 'setuptools*', 'pkg_resources*'])
    with upstream_fault('importlib-metadata', AssertionError, "No module.*'importlib_metadata'"):
        upstream = env.run('-c', 'import mmaction.utils.dependency')
        assert upstream.returncode == 0, upstream.stderr
    repaired = env.run(
        '-c',
        'import pan_mm, mmaction.utils.dependency as d; print(d.distribution("mmaction2").version)',
        PYTHONPATH=str(ROOT),
    )
    assert repaired.stdout.strip() == mmaction.__version__, repaired.stderr


class TestBFloat16:
    def samples(self):
        return [ActionDataSample().set_gt_label(label) for label in (0, 1)]

    def test_loss(self, upstream_fault):
        head = TSNHead(num_classes=6, in_channels=4)
        scores = torch.randn(2, 6)
        expected = head.loss_by_feat(scores, self.samples())
        losses = head.loss_by_feat(scores.bfloat16(), self.samples())
        assert losses['loss_cls'].dtype == torch.float32
        torch.testing.assert_close(losses['loss_cls'], expected['loss_cls'], rtol=0.02, atol=0.02)
        with upstream_fault('bfloat16-scores', TypeError, 'BFloat16'):
            unwrap(BaseHead.loss_by_feat)(head, scores.bfloat16(), self.samples())

    def test_gradient_reaches_the_features(self):
        scores = torch.randn(2, 6, dtype=torch.bfloat16, requires_grad=True)
        TSNHead(num_classes=6, in_channels=4).loss_by_feat(scores, self.samples())[
            'loss_cls'
        ].backward()
        assert scores.grad.dtype == torch.bfloat16 and scores.grad.abs().sum() > 0

    def test_predicted_scores_go_to_numpy(self):
        head = TSNHead(num_classes=6, in_channels=4, average_clips='prob')
        (sample, _) = head.predict_by_feat(torch.randn(2, 6).bfloat16(), self.samples())
        assert sample.pred_score.numpy().sum() == pytest.approx(1)


class TestFromScratch:
    @pytest.mark.parametrize(
        'build', [lambda: ResNetTSM(18, pretrained=None), lambda: MobileNetV2TSM(pretrained=None)]
    )
    def test_none(self, build, upstream_fault):
        backbone = build()
        before = [parameter.clone() for parameter in backbone.parameters()]
        backbone.init_weights()
        assert any(not torch.equal(a, b) for a, b in zip(before, backbone.parameters()))
        with upstream_fault(f'{type(backbone).__name__} from scratch', TypeError):
            unwrap(type(backbone).init_weights)(backbone)

    def test_weights_still_load(self, tmp_path):
        source = ResNetTSM(18, is_shift=False)
        torch.save(source.state_dict(), tmp_path / 'r18.pth')
        backbone = ResNetTSM(18, is_shift=False, pretrained=str(tmp_path / 'r18.pth'))
        backbone.init_weights()
        torch.testing.assert_close(backbone.conv1.conv.weight, source.conv1.conv.weight)


class TestVisualizationHook:
    @pytest.fixture
    def drawn(self, monkeypatch):
        """Hook that gathers what it would have drawn."""
        calls = []
        visualizer = SimpleNamespace(add_datasample=lambda name, **kwargs: calls.append(kwargs))
        monkeypatch.setattr(
            'mmaction.engine.hooks.visualization_hook.Visualizer',
            SimpleNamespace(get_current_instance=lambda: visualizer),
        )
        hook = VisualizationHook(enable=True, interval=1)

        def draw(video):
            hook.after_test_iter(None, 0, dict(inputs=[video]), [ActionDataSample()])
            return calls[-1]

        return draw

    def test_layouts(self, drawn):
        frames = torch.randint(0, 255, (8, 3, 5, 6), dtype=torch.uint8)  # T C H W
        expected = frames.permute(0, 2, 3, 1).numpy()
        np.testing.assert_array_equal(drawn(frames)['video'], expected)
        # FormatShape's NCTHW: two clips of four frames.
        clips = frames.unflatten(0, (2, 4)).transpose(1, 2)
        np.testing.assert_array_equal(drawn(clips)['video'], expected)
        np.testing.assert_array_equal(drawn(frames.transpose(0, 1))['video'], expected)

    def test_arguments_are_those_of_the_visualizer(self, drawn):
        from inspect import signature

        from mmaction.visualization import ActionVisualizer

        known = signature(ActionVisualizer.add_datasample).parameters
        assert drawn(torch.zeros(8, 3, 5, 6)).keys() <= known.keys()

    def test_upstream_fails(self, upstream_fault):
        hook = SimpleNamespace(enable=True, interval=1, out_dir=None, draw_args={})
        with upstream_fault('visualization-hook', RuntimeError, 'permute'):
            unwrap(VisualizationHook._draw_samples)(
                hook, 0, dict(inputs=[torch.zeros(1, 3, 4, 5, 6)]), [ActionDataSample()]
            )


class TestPyAV:
    def test_webm_without_frame_count(self, tmp_path, upstream_fault):
        av = pytest.importorskip('av', reason='PyAV is not installed')
        path = tmp_path / 'clip.webm'
        with av.open(str(path), 'w') as container:
            stream = container.add_stream('libvpx-vp9', rate=10)
            stream.width = stream.height = 64
            stream.pix_fmt = 'yuv420p'
            for value in range(7):
                image = np.full((64, 64, 3), 20 * value, np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format='rgb24')))
            container.mux(stream.encode())
        results = dict(filename=str(path), start_index=0, modality='RGB')
        init = TRANSFORMS.build(dict(type='PyAVInit'))
        with upstream_fault('pyav-frame-count', AssertionError):
            assert unwrap(type(init).transform)(init, dict(results))['total_frames'] == 7
        for step in (
            init,
            TRANSFORMS.build(dict(type='SampleFrames', clip_len=7, num_clips=1, test_mode=True)),
            TRANSFORMS.build(dict(type='PyAVDecode')),
        ):
            results = step(results)
        assert results['total_frames'] == 7
        means = [image.mean() for image in results['imgs']]
        np.testing.assert_allclose(means, 20 * np.arange(7), atol=6)


def test_report_names_every_repair():
    report = pan_mm.compat.report()
    assert len({status.name for status in report}) == len(report) > 10
    for name, state, reason, until in report:
        assert state in ('active', 'not needed', 'due to go')
        assert reason and until
        if state == 'due to go':
            warnings.warn(f'the repair {name} is due to go: {until}', stacklevel=1)
