"""Recognition of video files with a trained recognizer."""

import itertools
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Optional, Union

import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate

from pan_mm.config.pipelines import VideoPipeline
from pan_mm.models.probabilities import to_probabilities

from . import optimization
from .calibration import read_calibration
from .recognizer import class_names, count_classes, load_config, load_recognizer, require_finite
from .runtime import SUFFIX, ExportedModel
from .videos import read_videos
from .zoo import choose


class PANInferencer:
    """Names the actions in video files, with any recognizer of MMAction2.

    Unlike MMAction2's ``ActionRecogInferencer``, it runs the config's own test pipeline, so that
    its scores are the test's, yields results while it works, and continues after a bad file.

    Args:
        config (str | Path | Config, optional): Config of a recognizer, or the name of a model
            (:func:`pan_mm.list_models`). Defaults to the trained model that comes with the package.
        checkpoint (str | Path, optional): File or URL of its weights, or an ONNX model that
            ``python -m pan_mm export`` wrote. Defaults to the weights of a trained model; for a
            config they are random without one.
        device (str | torch.device, optional): Defaults to the accelerator, or the CPU, where an
            exported model always runs.
        batch_size (int): Videos in a batch. Defaults to 8.
        label_map (str | Path, optional): Text file of class names, one a line. Defaults to the
            names in checkpoint or config, then the labels' numbers.
        topk (int): Classes in a result. Defaults to 5.
        num_workers (int): Processes that decode, so that a crash of a decoder costs only its
            video; 0 decodes in this one. Defaults to 0.
        optimize (Sequence[str], optional): Extras of
            :func:`pan_mm.inference.optimization.optimize`; () keeps the scores. Defaults to None:
            the model as it was trained.
        reject (bool): Mark results below the threshold of the model's calibration as unsure.
            Defaults to True.

    Raises:
        FileNotFoundError: If a file is missing.
        CheckpointError: If the checkpoint is damaged, or would run code.
        ValueError: If the checkpoint or the label map does not fit the model, the config has no
            pipeline that opens videos, or an exported model is to be optimized.

    Example:
        >>> recognize = PANInferencer('config.py', 'checkpoint.pth')   # doctest: +SKIP
        >>> recognize(['clips/biking.mp4'])                             # doctest: +SKIP
        [{'video': 'clips/biking.mp4', 'top': [{'label': 3, 'name': 'biking', 'score': 0.93}, …]}]
    """

    def __init__(
        self,
        config: Union[str, Path, Config, None] = None,
        checkpoint: Optional[Union[str, Path]] = None,
        device: Union[str, torch.device, None] = None,
        batch_size: int = 8,
        label_map: Optional[Union[str, Path]] = None,
        topk: int = 5,
        num_workers: int = 0,
        optimize: Optional[Sequence[str]] = None,
        reject: bool = True,
    ) -> None:
        if batch_size < 1 or topk < 1:
            raise ValueError(f'batch_size and topk must be positive, got {batch_size} and {topk}')
        config, checkpoint = choose(config, checkpoint)
        self.config = load_config(config)
        suffix = Path(str(checkpoint)).suffix
        if suffix in ('.pt2', '.xml'):
            raise ValueError(f'{checkpoint}: give the checkpoint, or export it as {SUFFIX}')
        if suffix == SUFFIX:
            if optimize is not None:
                raise ValueError(f'{checkpoint} is exported and cannot be optimized; leave it out')
            self.model = ExportedModel(checkpoint)
            num_classes = self.model.num_classes
        else:
            self.model = load_recognizer(self.config, checkpoint, device)
            num_classes = count_classes(self.model)
            if optimize is not None:
                optimization.optimize(self.model, optimize)
        meta = self.model.dataset_meta
        self.classes = class_names(num_classes, label_map, meta, self.config)
        self.calibration = read_calibration(meta, str(checkpoint))
        self.threshold = self.calibration.threshold if reject else 0.0
        self.pipeline = VideoPipeline(self.config).reader()
        self.batch_size = batch_size
        self.topk = min(topk, num_classes)
        self.num_workers = num_workers

    def __call__(self, videos: Union[str, Path, Iterable], features: bool = False) -> list:
        """Recognize one or more videos; see :meth:`iterate`."""
        videos = [videos] if isinstance(videos, (str, Path)) else videos
        return list(self.iterate(videos, features))

    def iterate(self, videos: Iterable, features: bool = False) -> Iterator[dict]:
        """Recognize videos, batch by batch.

        Args:
            videos (Iterable[str | Path]): Video files.
            features (bool): Give what :meth:`features` computes instead of classes. Defaults to
                False.

        Yields:
            dict: For each video, in the order given, ``video`` and either ``top``, a list of
            ``dict(label, name, score)`` with the most probable class first, or ``features``, a list
            of C floats, or ``error``, a message about the file. Scores are probabilities. If the
            model has a threshold, ``unsure`` says whether the first class is below it.

        Raises:
            TypeError: If a video is not the name of a file.
            ValueError: If features are asked of an exported model.
        """
        if features and isinstance(self.model, ExportedModel):
            raise ValueError(f'{self.model.path} gives only logits; give the checkpoint')
        read = read_videos(map(os.fspath, videos), self.pipeline, self.num_workers)
        while batch := list(itertools.islice(read, self.batch_size)):
            yield from self.recognize(batch, features)

    def recognize(self, batch: list, features: bool = False) -> Iterator[dict]:
        """Recognize a batch of what :func:`read_videos` yields, as :meth:`iterate`."""
        compute = self.features if features else self.probabilities
        results = {}
        # Frames of another shape or count would be padded, which changes the scores.
        groups = defaultdict(list)
        for video, data, error in batch:
            if error is None:
                groups[data['inputs'].shape].append((video, data))
        for group in groups.values():
            names, data = zip(*group)
            results.update(zip(names, compute(data)))
        for video, _, error in batch:
            if error is not None:
                yield dict(video=video, error=error)
            elif features:
                yield dict(video=video, features=results[video].tolist())
            else:
                yield dict(video=video, **self.result(results[video]))

    @torch.no_grad()
    def probabilities(self, data: Iterable) -> torch.Tensor:
        """Compute probabilities (N, num_classes) of N outputs of the pipeline."""
        samples = self.model.test_step(pseudo_collate(list(data)))
        scores = torch.stack([sample.pred_score for sample in samples]).float().cpu()
        require_finite(scores)
        if scores.ndim == 3:  # no average_clips: (N, views, num_classes)
            scores = scores.mean(dim=1)
        modules = self.model.modules()
        if not any(getattr(module, 'average_clips', None) == 'prob' for module in modules):
            scores = to_probabilities(scores, self.model)
        return self.calibration(scores)

    @torch.no_grad()
    def features(self, data: Iterable) -> torch.Tensor:
        """Compute features (N, C) of N outputs of the pipeline.

        They are the backbone's maps, averaged over views, time and space as by MMAction2's
        ``FeatureHead``. The streams of a ``PANEnsemble`` follow one another, as do pathways.
        """
        inputs = self.model.data_preprocessor(pseudo_collate(list(data)))['inputs']
        maps: list = []
        for recognizer in getattr(self.model, 'streams', {'': self.model}).values():
            own, _ = recognizer.extract_feat(inputs, stage='backbone', test_mode=True)
            maps += own if isinstance(own, (tuple, list)) else [own]  # (N·views·…, C, …)
        means = [m.float().flatten(2).mean(2).unflatten(0, (len(inputs), -1)).mean(1) for m in maps]
        features = torch.cat(means, dim=1).cpu()
        require_finite(features)
        return features

    def result(self, probabilities: torch.Tensor) -> dict:
        """Return ``top``, and ``unsure`` of a model that has a threshold, of one video."""
        found: dict = dict(top=self.top(probabilities))
        if self.threshold:
            found['unsure'] = found['top'][0]['score'] < self.threshold
        return found

    def top(self, probabilities: torch.Tensor) -> list:
        """List the most probable classes of one video."""
        scores, labels = probabilities.topk(self.topk)
        return [
            dict(label=label, name=self.classes[label], score=score)
            for label, score in zip(labels.tolist(), scores.tolist())
        ]
