"""Models that :func:`pan_mm.deploy.export.exporter.export` wrote, run on the CPU."""

import io
import json
from pathlib import Path
from typing import Union

import torch
from torch import Tensor, nn

from pan_mm.utils.errors import CheckpointError

from .exported_program import check_program

METADATA = 'pan_mm'
SUFFIXES = ('.onnx', '.xml', '.pt2')
COMPILED = '.aoti.pt2'


class ExportedModel(nn.Module):
    """An exported recognizer, called as a recognizer is in testing.

    Args:
        path (str | Path): A file ending in .onnx, .xml (OpenVINO), .aoti.pt2 (AOTInductor) or .pt2
            (``torch.export``).
        allow_native_code (bool): Load .aoti.pt2, which is compiled code that runs with the rights
            of this process. Defaults to False.

    Raises:
        FileNotFoundError: If there is no such file.
        ImportError: If its runtime is not installed.
        CheckpointError: If the file is damaged, is not of ``python -m pan_mm export``, or could run
            code.
    """

    def __init__(self, path: Union[str, Path], allow_native_code: bool = False) -> None:
        super().__init__()
        self.path = Path(path)
        if not self.path.is_file():
            raise FileNotFoundError(f'{path}: no such file')
        if self.path.name.endswith(COMPILED) and not allow_native_code:
            raise CheckpointError(
                f'{path} was refused: it is compiled code, which runs with your rights. If you '
                'trust whoever made it, give --allow-native-code (allow_native_code=True)'
            )
        load = {'.onnx': _load_onnx, '.xml': _load_openvino, '.pt2': _load_torch}[self.path.suffix]
        try:
            self._run, metadata = load(self.path)
            metadata = json.loads(metadata)[METADATA]
        except (ImportError, CheckpointError):
            raise
        except Exception as error:  # each runtime has errors of its own
            raise CheckpointError(
                f'{path} is not a model that `python -m pan_mm export` wrote, or is damaged '
                f'({type(error).__name__}: {error})'
            ) from error
        self.dataset_meta = dict(classes=metadata['classes'])
        self.num_classes = len(metadata['classes'])
        self.average_clips = metadata['average_clips']
        self.multi_class = metadata.get('multi_class', False)
        self.frames = tuple(metadata['frames'])  # (T·m, 3, H, W)
        self.dtype = getattr(torch, metadata['dtype'])

    def logits(self, frames: Tensor) -> Tensor:
        """Logits (N, num_classes) of RGB frames of values 0 … 255, shape (N, T·m, 3, H, W)."""
        # Compiled code expects the memory layout that it was compiled for.
        return self._run(frames.to(self.dtype).contiguous())

    def test_step(self, data: dict) -> list:
        """Scores of N videos, as the recognizer's own ``test_step`` gives them.

        Args:
            data (dict): ``inputs``, N clips of shape (views·T·m, 3, H, W), and ``data_samples``.

        Raises:
            ValueError: If the frames have not the number or the size that was exported.
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


def _load_onnx(path):
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])

    def run(frames):
        return torch.from_numpy(session.run(None, {'frames': frames.numpy()})[0])

    return run, session.get_modelmeta().custom_metadata_map[METADATA]


def _load_openvino(path):
    import openvino

    network = openvino.Core().read_model(path)
    # Its default on recent processors is bfloat16.
    options = {'INFERENCE_PRECISION_HINT': 'f32'}
    compiled = openvino.Core().compile_model(network, 'CPU', options)

    def run(frames):
        return torch.from_numpy(compiled(frames.numpy())[0].copy())

    return run, network.get_rt_info(METADATA).astype(str)


def _load_torch(path):
    if path.name.endswith(COMPILED):
        module = torch._inductor.aoti_load_package(str(path))
        return torch.no_grad()(module.__call__), module.get_metadata()[METADATA]
    content = path.read_bytes()
    check_program(content, str(path))
    files = {METADATA: ''}
    module = torch.export.load(io.BytesIO(content), extra_files=files).module()

    def run(frames):
        with torch.no_grad():
            return module(frames)

    return run, files[METADATA]
