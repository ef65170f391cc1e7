"""Several streams of PAN on one clip: PAN_Full and PAN_En (paper section 3.4)."""

from typing import Optional

import torch
from mmaction.registry import MODELS
from mmaction.utils import SampleList
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.runner import load_checkpoint
from torch import Tensor, nn

from .pan_backbone import STREAMS


def stream_configs(model: dict) -> dict:
    """Expand the config of a :class:`PANEnsemble` into one of each stream.

    Args:
        model (dict): Config of the ensemble.

    Returns:
        dict[str, tuple]: For each stream its recognizer's config, weight and checkpoint.

    Raises:
        ValueError: If there is no stream.
    """
    if not model.get('streams'):
        raise ValueError('PANEnsemble needs at least one stream, such as streams=dict(rgb=dict())')
    shared = {key: model[key] for key in ('backbone', 'cls_head', 'test_cfg') if model.get(key)}
    configs = {}
    for name, own in model['streams'].items():
        cfg = Config(dict(type='Recognizer2D', **shared))
        if name in STREAMS:
            cfg.merge_from_dict(dict(backbone=dict(stream=name)))
        cfg.merge_from_dict(own)
        weight, checkpoint = cfg.pop('weight', 1.0), cfg.pop('checkpoint', None)
        configs[name] = cfg._cfg_dict, weight, checkpoint
    return configs


def normalized(weights: dict) -> dict:
    """Divide the weights of streams by their sum.

    Raises:
        ValueError: If one is not a finite number, or is negative, or all are zero.
    """
    numbers = [each for each in weights.values() if isinstance(each, (int, float))]
    total = sum(numbers)
    if len(numbers) < len(weights) or min(numbers) < 0 or not 0 < total < float('inf'):
        raise ValueError(f"the streams' weights must be finite numbers >= 0, not all 0: {weights}")
    return {name: weight / total for name, weight in weights.items()}


@MODELS.register_module()
class PANEnsemble(BaseModel):
    """Recognizes with several streams and fuses their logits.

    Each stream sees the same frames. The fused logits are the weighted mean of the streams'
    logits; views of a video are averaged afterwards. PAN_En is::

        model = dict(
            type='PANEnsemble',
            streams=dict(rgb=dict(), pa=dict(), lite=dict()),
            backbone=dict(type='PANBackbone', clip_len=4, ...),
            cls_head=dict(type='VAPHead', ...),
            data_preprocessor=...,
        )

    Weights come from one file of all streams, which ``tools/convert/merge_streams.py`` makes and
    every tool of MMAction2 takes, or from ``checkpoint`` of each stream. It is not trained: train
    each stream with its own config.

    The RGB stream sees the first frame of each segment of ``clip_len`` frames. Tested by itself
    with ``clip_len=1`` it gets frames up to ``clip_len - 1`` later; to fuse scores made so, use
    MMAction2's ``report_accuracy.py``.

    Args:
        streams (dict[str, dict]): For each stream what differs from the shared arguments below:
            ``backbone``, ``cls_head``, and besides ``weight`` (float, defaults to 1) and
            ``checkpoint`` (path or URL). A stream called 'rgb', 'pa' or 'lite' needs no
            ``backbone.stream``.
        backbone (dict, optional): Arguments shared by the streams' backbones.
        cls_head (dict, optional): Arguments shared by the streams' heads.
        data_preprocessor (dict, optional): Config of the one preprocessor.
        test_cfg (dict, optional): As for ``Recognizer2D``; each stream gets it.
        train_cfg (dict, optional): Not used; MMAction2's configs may hold it.
        init_cfg (dict, optional): Initialization config of MMEngine.

    Raises:
        ValueError: If there is no stream, a weight is not a finite number >= 0, all are 0, or the
            streams do not take the same clips or tell the same classes.
    """

    def __init__(
        self,
        streams: dict,
        backbone: Optional[dict] = None,
        cls_head: Optional[dict] = None,
        data_preprocessor: Optional[dict] = None,
        test_cfg: Optional[dict] = None,
        train_cfg: Optional[dict] = None,
        init_cfg: Optional[dict] = None,
    ) -> None:
        super().__init__(data_preprocessor or dict(type='ActionDataPreprocessor'), init_cfg)
        configs = stream_configs(
            dict(streams=streams, backbone=backbone, cls_head=cls_head, test_cfg=test_cfg)
        )
        self.streams = nn.ModuleDict({n: MODELS.build(cfg) for n, (cfg, _, _) in configs.items()})
        sizes = {
            name: (each.backbone.clip_len, each.backbone.num_segments, each.cls_head.num_classes)
            for name, each in self.streams.items()
        }
        if len(set(sizes.values())) > 1:
            raise ValueError(
                'the streams see one clip and are fused, but their clip_len, num_segments and '
                f'num_classes differ: {sizes}'
            )
        weights = {name: weight for name, (_, weight, _) in configs.items()}
        self.weights = normalized(weights)
        self.checkpoints = {name: path for name, (_, _, path) in configs.items() if path}
        self._load_streams()

    def _load_streams(self):
        for name, path in self.checkpoints.items():
            load_checkpoint(self.streams[name], path, map_location='cpu', strict=True)

    def init_weights(self) -> None:
        """Initialize; streams with a checkpoint load it."""
        super().init_weights()
        self._load_streams()

    def _load_from_state_dict(self, state_dict, prefix, *args, **kwargs):
        names = {key[len(prefix) :] for key in state_dict}
        held = {name.split('.')[1] for name in names if name.startswith('streams.')}
        if missing := self.streams.keys() - held:
            single = '' if held else 'holds a single model, to be tested with its own config: it '
            raise ValueError(
                f'the checkpoint {single}has no weights of the stream(s) '
                f"{', '.join(sorted(missing))}; join the streams' checkpoints with "
                'tools/convert/merge_streams.py'
            )
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def extract_feat(
        self, inputs: Tensor, stage: str = 'head', test_mode: bool = False, **kwargs
    ) -> tuple:
        """Fuse the streams' logits, called as ``Recognizer2D.extract_feat`` is.

        Features of MMAction2's ``FeatureHead``, a head without classes, are joined instead.

        Args:
            inputs (Tensor): Normalized frames, shape (N, views·T·m, 3, H, W).
            stage (str): 'head'; the streams' features are not fused.
            test_mode (bool): Whether ``test_cfg`` is heeded. Defaults to False.

        Returns:
            tuple: Logits of shape (N·views, num_classes), or features of shape
            (N·views, streams·C), and an empty dict.

        Raises:
            ValueError: If ``stage`` is another one.
        """
        if stage != 'head':
            raise ValueError(
                f"PANEnsemble fuses logits, stage='head'; for stage={stage!r} ask a stream, such "
                f'as model.streams[{next(iter(self.streams))!r}]'
            )
        own = {
            name: recognizer.extract_feat(inputs, stage='head', test_mode=test_mode)[0]
            for name, recognizer in self.streams.items()
        }
        if all(recognizer.cls_head.num_classes is None for recognizer in self.streams.values()):
            return torch.cat(list(own.values()), dim=1), {}  # (N·views, streams·C)
        return sum(self.weights[name] * logits for name, logits in own.items()), {}

    def forward(
        self,
        inputs: Tensor,
        data_samples: Optional[SampleList] = None,
        mode: str = 'tensor',
        **kwargs,
    ):
        """Recognize, as ``Recognizer2D`` does.

        Returns:
            Tensor | list[ActionDataSample]: Logits of shape (N·views, num_classes) for the mode
            'tensor', the data samples with scores for 'predict'.

        Raises:
            NotImplementedError: If ``mode`` is another one.
        """
        if mode == 'tensor':
            return self.extract_feat(inputs, **kwargs)[0]
        if mode == 'predict':
            logits, _ = self.extract_feat(inputs, test_mode=True)
            head = next(iter(self.streams.values())).cls_head
            return head.predict_by_feat(logits, data_samples)
        raise NotImplementedError(
            f'PANEnsemble has no mode {mode!r}: train each stream with its own config'
        )
