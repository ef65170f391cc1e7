"""An exported ONNX model, run on the CPU."""

import json
from pathlib import Path
from typing import Union

import torch
from torch import Tensor, nn

from pan_mm.utils.errors import CheckpointError

METADATA = 'pan_mm'
SUFFIX = '.onnx'
DTYPES = {'uint8': torch.uint8, 'float32': torch.float32}


class ExportedModel(nn.Module):
    """An exported recognizer, called as a recognizer is in testing.

    Raises:
        CheckpointError: If the file is damaged, or is not of ``python -m pan_mm export``.
    """

    def __init__(self, path: Union[str, Path]) -> None:
        super().__init__()
        self.path = Path(path)
        if not self.path.is_file():
            raise FileNotFoundError(f'{path}: no such file')
        import onnxruntime

        try:
            self._session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
            text = self._session.get_modelmeta().custom_metadata_map[METADATA]
            metadata = json.loads(text)[METADATA]
            self.dataset_meta = {
                key: metadata[key] for key in ('classes', 'calibration') if key in metadata
            }
            self.num_classes = len(metadata['classes'])
            self.average_clips = metadata['average_clips']
            self.multi_class = metadata.get('multi_class', False)
            self.frames = tuple(map(int, metadata['frames']))  # (T·m, 3, H, W)
            self.dtype = DTYPES[metadata['dtype']]
            given = self._session.get_outputs()[0].shape[1:]
            if given != [self.num_classes]:
                raise ValueError(f'{self.num_classes} classes for logits of shape {given}')
        except Exception as error:  # the runtime has errors of its own
            raise CheckpointError(
                f'{path} is not a model that `python -m pan_mm export` wrote, or is damaged '
                f'({type(error).__name__}: {error})'
            ) from error

    def logits(self, frames: Tensor) -> Tensor:
        """Compute logits (N, num_classes) of RGB frames, 0 … 255, shape (N, T·m, 3, H, W)."""
        inputs = dict(frames=frames.to(self.dtype).numpy())
        return torch.from_numpy(self._session.run(None, inputs)[0])

    def test_step(self, data: dict) -> list:
        """Compute scores of N videos, as the recognizer's own ``test_step`` gives them.

        Args:
            data (dict): ``inputs``, N clips of shape (views·T·m, 3, H, W), and ``data_samples``.
        """
        frames = torch.stack(data['inputs'])
        if frames.shape[2:] != self.frames[1:] or frames.shape[1] % self.frames[0]:
            raise ValueError(
                f'{self.path} takes clips of shape {self.frames}, but the test pipeline gives '
                f'{tuple(frames.shape[1:])}; export again with this config'
            )
        logits = self.logits(frames.reshape(-1, *self.frames))
        logits = logits.unflatten(0, (len(frames), -1))  # (N, views, num_classes)
        scores = (logits.softmax(2) if self.average_clips == 'prob' else logits).mean(1)
        for sample, score in zip(data['data_samples'], scores):
            sample.set_pred_score(score)
        return data['data_samples']
