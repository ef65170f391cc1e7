"""Repairs of MMAction2."""

import functools
import importlib
import importlib.metadata
import importlib.util
import logging
import sys
from pathlib import Path
from types import ModuleType

from .repair import Repair, mentions

# DRN --------------------------------------------------------------------------------------

_DRN = 'mmaction.models.localizers.drn'


def _drn_missing(module):
    drn = Path(importlib.util.find_spec('mmaction').origin).parent / 'models/localizers/drn'
    # In its source it imports torchvision.
    return not drn.exists() or importlib.util.find_spec('torchvision') is None


def _explain_drn(module):
    class DRN:
        """In the place of MMAction2's DRN."""

        def __init__(self, *args, **kwargs):
            raise NotImplementedError(
                'DRN needs torchvision, and is missing from the MMAction2 that PyPI has '
                '(mmaction2#2714); to use it install both, MMAction2 from its source: '
                'pip install git+https://github.com/open-mmlab/mmaction2.git'
            )

    for name in (_DRN, f'{_DRN}.drn'):
        sys.modules[name] = ModuleType(name)
        sys.modules[name].DRN = DRN


# Heads ------------------------------------------------------------------------------------


def _loss_takes_no_bfloat16(base):
    return not mentions(base.BaseHead.loss_by_feat, '.float()')


def _float_scores(base):
    import torch

    def in_float(method):
        @functools.wraps(method)
        def with_float_scores(self, cls_scores, *args, **kwargs):
            if isinstance(cls_scores, torch.Tensor) and cls_scores.dtype == torch.bfloat16:
                cls_scores = cls_scores.float()
            return method(self, cls_scores, *args, **kwargs)

        return with_float_scores

    # NumPy, which computes top-k and stores the scores, has no bfloat16.
    base.BaseHead.loss_by_feat = in_float(base.BaseHead.loss_by_feat)
    base.BaseHead.predict_by_feat = in_float(base.BaseHead.predict_by_feat)


# Recognizers ------------------------------------------------------------------------------


def _counts_frames(recognizer2d):
    return mentions(recognizer2d.Recognizer2D.extract_feat, 'num_segs = inputs.shape[1]')


def _count_feature_maps(recognizer2d):
    extract_feat = recognizer2d.Recognizer2D.extract_feat

    @functools.wraps(extract_feat)
    def with_segments(self, inputs, stage='neck', *args, **kwargs):
        before_head = 'neck' if stage == 'head' else stage
        feats, head_kwargs = extract_feat(self, inputs, before_head, *args, **kwargs)
        if not self.with_neck:
            head_kwargs['num_segs'] //= getattr(self.backbone, 'clip_len', 1)
        if stage == 'head':
            feats = self.cls_head(feats, **head_kwargs)
        return feats, head_kwargs

    recognizer2d.Recognizer2D.extract_feat = with_segments


# Visualization ----------------------------------------------------------------------------


def _hook_passes_show(visualization_hook):
    return mentions(visualization_hook.VisualizationHook.__init__, "'show': show")


def _draw_any_layout(visualization_hook):
    hook = visualization_hook.VisualizationHook
    draw_samples = hook._draw_samples

    @functools.wraps(draw_samples)
    def _draw_samples(self, batch_idx, data_batch, data_samples, step=0):
        if 'show' in self.draw_args:
            self.draw_args['show_frames'] = self.draw_args.pop('show')
        if self.enable:
            videos = [_channels_first(video) for video in data_batch['inputs']]
            data_batch = {**data_batch, 'inputs': videos}
        draw_samples(self, batch_idx, data_batch, data_samples, step=step)

    hook._draw_samples = _draw_samples


def _channels_first(video):
    """One sample as FormatShape gives it, to the (C, T, H, W) that the hook draws."""
    if video.dim() == 5:  # NCTHW: (M, C, T, H, W), M clips one after another
        return video.transpose(0, 1).flatten(1, 2)
    if video.shape[1] == 3:  # NCHW: (T, C, H, W)
        return video.transpose(0, 1)
    return video


# importlib_metadata ----------------------------------------------------------------------


def _backport_missing(module):
    return importlib.util.find_spec('importlib_metadata') is None


def _standard_library_stands_in(module):
    sys.modules['importlib_metadata'] = importlib.metadata


# Multimodal models ------------------------------------------------------------------------


def _transformers_moved_on(dependency):
    spec = dependency.WITH_MULTIMODAL and importlib.util.find_spec('transformers')
    if not spec:
        return False
    # Its import takes seconds; the name is enough.
    modeling_utils = Path(spec.origin).parent / 'modeling_utils.py'
    return 'apply_chunking_to_forward' not in modeling_utils.read_text(encoding='utf-8')


def _do_without_multimodal_models(dependency):
    dependency.WITH_MULTIMODAL = False  # MMAction2 then explains itself where one is built


# Names in pictures ------------------------------------------------------------------------


def _draws_any_letter(acc_metric):
    return not mentions(acc_metric.ConfusionMatrix.plot, 'font')


def _draw_names_that_fonts_have(acc_metric):
    plot = acc_metric.ConfusionMatrix.plot

    @functools.wraps(plot)
    def draw(confusion_matrix, *args, classes=None, **kwargs):
        return plot(confusion_matrix, *args, classes=classes and _legible(classes), **kwargs)

    acc_metric.ConfusionMatrix.plot = staticmethod(draw)


def _legible(names):
    """Add a font that has the letters of the names to Matplotlib's, or give numbers instead."""
    from matplotlib import font_manager, rcParams

    def lacks(path):
        return letters - font_manager.get_font(path).get_charmap().keys()

    names = list(map(str, names))
    letters = set(map(ord, ''.join(names)))
    letters = lacks(font_manager.findfont(font_manager.FontProperties()))
    if not letters:
        return names
    for font in font_manager.fontManager.ttflist:
        if 'Last Resort' not in font.name and not lacks(font.fname):  # that one has boxes
            rcParams['font.family'] = [*rcParams['font.family'], font.name]
            return names
    logging.getLogger('pan_mm').warning(
        'No font here has the letters of %s; numbers stand for the classes. Install one that has '
        'them, such as Noto Sans CJK.',
        ', '.join(name for name in names if letters & set(map(ord, name))),
    )
    return list(map(str, range(len(names))))


REPAIRS = (
    Repair(
        name='importlib-metadata',
        reason='MMAction2 imports importlib_metadata and declares it nowhere; mim leaves it out, '
        "taking setuptools' private copy for an installed one (mmaction/utils/dependency.py)",
        until='MMAction2 imports importlib.metadata',
        needed=_backport_missing,
        apply=_standard_library_stands_in,
    ),
    Repair(
        name='multimodal',
        reason='VindLU imports names that transformers 5 has moved, so mmaction.models cannot be '
        'imported where that is installed (mmaction/models/multimodal/vindlu/modeling_bert.py)',
        until='VindLU works with transformers 5',
        module='mmaction.utils.dependency',
        needed=_transformers_moved_on,
        apply=_do_without_multimodal_models,
    ),
    Repair(
        name='drn',
        reason="mmaction.models.localizers.drn is missing from MMAction2's wheel; in its source it "
        'imports torchvision, so that mmaction.models cannot be imported (mmaction2#2714)',
        until='the wheel on PyPI has the package drn, which does without torchvision',
        needed=_drn_missing,
        apply=_explain_drn,
    ),
    Repair(
        name='bfloat16-scores',
        reason='BaseHead takes bfloat16 scores to NumPy, which has no such type '
        '(mmaction/models/heads/base.py)',
        until='BaseHead.loss_by_feat casts the scores',
        module='mmaction.models.heads.base',
        needed=_loss_takes_no_bfloat16,
        apply=_float_scores,
    ),
    Repair(
        name='feature-maps',
        reason='Recognizer2D gives its head the number of frames instead of feature maps; '
        'PANBackbone gives one for each clip_len frames, so that FeatureHead and TSNHead fail '
        '(mmaction/models/recognizers/recognizer2d.py)',
        until='num_segs is counted behind the backbone',
        module='mmaction.models.recognizers.recognizer2d',
        needed=_counts_frames,
        apply=_count_feature_maps,
    ),
    Repair(
        name='visualization-hook',
        reason='VisualizationHook passes "show", which ActionVisualizer does not take, and draws '
        'neither (N, C, H, W) nor (N, C, T, H, W) '
        '(mmaction/engine/hooks/visualization_hook.py)',
        until='test.py --show-dir works with both formats',
        module='mmaction.engine.hooks.visualization_hook',
        needed=_hook_passes_show,
        apply=_draw_any_layout,
    ),
    Repair(
        name='confusion-matrix-letters',
        reason='ConfusionMatrix.plot draws boxes for letters that Matplotlib has no font for, such '
        'as Chinese ones (mmaction/evaluation/metrics/acc_metric.py)',
        until='names in other scripts can be read',
        module='mmaction.evaluation.metrics.acc_metric',
        needed=_draws_any_letter,
        apply=_draw_names_that_fonts_have,
    ),
)
