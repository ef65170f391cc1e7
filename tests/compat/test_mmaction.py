from importlib.machinery import PathFinder
from inspect import unwrap
from types import SimpleNamespace

import mmaction
import mmaction.models
import numpy as np
import pytest
import torch
from mmaction.engine.hooks import VisualizationHook
from mmaction.evaluation import ConfusionMatrix
from mmaction.models import Recognizer2D, TSNHead
from mmaction.models.heads import BaseHead
from mmaction.models.localizers import DRN
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample

import pan_mm


def test_construction_of_drn_names_the_fix(upstream_fault):
    path = mmaction.models.localizers.__path__
    with upstream_fault('drn', AssertionError):
        assert PathFinder.find_spec('mmaction.models.localizers.drn', path)
        return
    with pytest.raises(NotImplementedError, match='mmaction2#2714'):
        DRN()


@pytest.mark.slow
def test_with_transformers(python, tmp_path, upstream_fault):
    """A package that lacks, as transformers 5, names that VindLU imports from it."""
    package = tmp_path / 'transformers'
    package.mkdir()
    (package / '__init__.py').write_text('')
    (package / 'modeling_utils.py').write_text('')
    info = tmp_path / 'transformers-5.0.dist-info'
    info.mkdir()
    (info / 'METADATA').write_text('Metadata-Version: 2.1\nName: transformers\nVersion: 5.0\n')
    use = 'from mmaction.registry import MODELS; MODELS.build(dict(type="VindLUVQA"))'
    with upstream_fault('multimodal', AssertionError, "No module named 'transformers."):
        unrepaired = 'import pan_mm; from mmaction.utils import dependency as d; '
        unrepaired += 'd.WITH_MULTIMODAL = True; import mmaction.models'
        done = python(unrepaired, path=[tmp_path])
        assert done.returncode == 0, done.stderr
    done = python(f'import pan_mm, mmaction.models; print("imported"); {use}', path=[tmp_path])
    assert done.stdout.strip() == 'imported' and 'mmaction2[multimodal]' in done.stderr, done.stderr


def test_loss_of_bfloat16_scores(upstream_fault):
    head = TSNHead(num_classes=6, in_channels=4)
    samples = [ActionDataSample().set_gt_label(label) for label in (0, 1)]
    scores = torch.randn(2, 6)
    expected = head.loss_by_feat(scores, samples)
    losses = head.loss_by_feat(scores.bfloat16(), samples)
    assert losses['loss_cls'].dtype == torch.float32
    torch.testing.assert_close(losses['loss_cls'], expected['loss_cls'], rtol=0.02, atol=0.02)
    with upstream_fault('bfloat16-scores', TypeError, 'BFloat16'):
        unwrap(BaseHead.loss_by_feat)(head, scores.bfloat16(), samples)


def test_heads_count_feature_maps(upstream_fault):
    """Two views of 4 segments of 4 frames, behind heads that count on ``num_segs``."""
    backbone = dict(type='PANBackbone', num_segments=4, backbone=dict(type='ResNet', depth=18))
    backbone['backbone']['pretrained'] = None
    frames = torch.randn(1, 32, 3, 32, 32)
    for head, shape in (
        (dict(type='TSNHead', num_classes=6, in_channels=512, average_clips='score'), (1, 6)),
        (dict(type='FeatureHead', average_clips='score'), (1, 512)),
    ):
        model = MODELS.build(dict(type='Recognizer2D', backbone=backbone, cls_head=head)).eval()
        assert model.extract_feat(frames, stage='head')[0].shape == shape
        (found,) = model.predict(frames, [ActionDataSample()])
        assert (found.shape if torch.is_tensor(found) else found.pred_score.shape) == shape[1:]
        assert model.extract_feat(frames)[1]['num_segs'] == 8
        with upstream_fault('feature-maps', RuntimeError, 'invalid for input|is invalid'):
            unwrap(Recognizer2D.extract_feat)(model, frames, stage='head')


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


def test_report_names_every_repair():
    report = pan_mm.compat.report()
    assert len({status.name for status in report}) == len(report) > 10
    for name, state, reason, until in report:
        assert state in ('active', 'not needed') and reason and until, name


def test_letters_of_a_confusion_matrix(caplog, recwarn):
    """U+10FFFD is for private use, so no font has it."""

    def labels(*names):
        figure = ConfusionMatrix.plot(torch.eye(2), classes=list(names), show=False)
        figure.canvas.draw()
        return [text.get_text() for text in figure.axes[0].get_xticklabels()]

    assert labels('clap', 'Füße') == ['clap', 'Füße']
    assert labels('wave', 'a\U0010fffd') == ['0', '1']
    assert 'numbers stand for the classes' in caplog.text
    assert not [each for each in recwarn if 'missing from' in str(each.message)]
