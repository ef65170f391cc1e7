"""A recognizer as one file for other runtimes, checked before it is kept."""

import json
import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Optional, Union

import torch
from mmengine.config import Config
from torch import Tensor, nn

from pan_mm.config.pipelines import VideoPipeline, video_info
from pan_mm.inference.recognizer import (
    class_names,
    count_classes,
    load_config,
    load_recognizer,
)
from pan_mm.inference.runtime import METADATA, ExportedModel
from pan_mm.models import PersistenceOfAppearance
from pan_mm.utils.checkpoint import check_finite
from pan_mm.utils.safetensors import SUFFIX as SAFETENSORS

from .quantization import quantize
from .weights import export_weights

OPSETS = (17, 18)  # of ONNX: for older TensorRT, and the usual one
TOLERANCE = 1e-3  # of a logit, relative to the largest


class FramesToLogits(nn.Module):
    """A 2D recognizer of MMAction2, or ``PANEnsemble``, from raw frames on: with normalization."""

    def __init__(self, recognizer: nn.Module) -> None:
        super().__init__()
        preprocessor = recognizer.data_preprocessor
        normalizes = hasattr(preprocessor, 'mean')
        self.recognizer = recognizer
        self.flip = preprocessor.to_rgb
        for module in recognizer.modules():
            if isinstance(module, PersistenceOfAppearance):
                module.backend = 'reference'  # the file runs without pan_mm's operator
        self.register_buffer('mean', preprocessor.mean if normalizes else torch.tensor(0.0))
        self.register_buffer('std', preprocessor.std if normalizes else torch.tensor(1.0))

    def forward(self, frames: Tensor) -> Tensor:
        """Logits (N, num_classes) of RGB frames of values 0 … 255, shape (N, T·m, 3, H, W)."""
        frames = frames.float()
        if self.flip:
            frames = frames.flip(2)
        frames = (frames - self.mean) / self.std
        return self.recognizer(frames, mode='tensor', stage='head')


def export(
    config: Union[str, Path, Config],
    checkpoint: Union[str, Path],
    out: Union[str, Path],
    videos: Iterable = (),
    label_map: Optional[Union[str, Path]] = None,
    int8: bool = False,
    opset: int = OPSETS[-1],
) -> float:
    """Write a recognizer as ONNX or ``torch.export`` and compare it with PyTorch.

    The model takes RGB frames, uint8, shape (N, T·m, 3, H, W), N free, and gives logits
    (N, num_classes); normalization is inside.

    Args:
        config (str | Path | Config): Config of the recognizer.
        checkpoint (str | Path): Its weights.
        out (str | Path): ``NAME.onnx``, ``NAME.pt2`` (``torch.export``), or
            ``NAME.safetensors`` (the weights, see
            :func:`pan_mm.deploy.export.weights.export_weights`).
        videos (Iterable[str | Path]): Compare on these as well as on random frames.
        label_map (str | Path, optional): Class names to store in the file, one a line.
        int8 (bool): Quantize the ONNX model, calibrated on ``videos``; see
            :func:`pan_mm.deploy.export.quantization.quantize`. Defaults to False.
        opset (int): Version of ONNX's operators, 17 or 18. Defaults to 18.

    Returns:
        float: Largest difference of a logit, relative to the largest logit; with ``int8`` of the
        videos.

    Raises:
        ValueError: If an argument is wrong, or the file's logits differ from PyTorch's by more
            than 0.1 % (before they are quantized); nothing is then left at ``out``.
        ImportError: If a package of the extra ``export`` is missing.
    """
    out, videos = Path(out), list(videos)
    if out.suffix not in (*WRITERS, SAFETENSORS):
        raise ValueError(f'{out}: the name must end in one of {", ".join((*WRITERS, SAFETENSORS))}')
    if opset not in OPSETS:
        raise ValueError(f'opset must be one of {OPSETS}, got {opset}')
    if int8 and (out.suffix != '.onnx' or not videos):
        raise ValueError('int8 needs a name that ends in .onnx, and videos to calibrate on')
    if out.suffix == SAFETENSORS:
        export_weights(config, checkpoint, out, label_map)
        return 0.0
    config = load_config(config)
    shape = VideoPipeline(config).view_shape()
    recognizer = load_recognizer(config, checkpoint, 'cpu')
    check_finite(recognizer.state_dict(), str(checkpoint))
    model = FramesToLogits(recognizer).eval()
    samples = [random_frames(n, shape, seed=n) for n in (2, 1, 3)]
    real = [_real_frames(config, video, shape) for video in videos]
    metadata = dict(_metadata(model, config, label_map, shape), opset=opset)
    # Next to the target, so that the finished file can be moved there atomically.
    with tempfile.TemporaryDirectory(dir=out.absolute().parent) as folder:
        path = Path(folder) / out.name
        run = WRITERS[out.suffix](model, samples[0], path, metadata)
        error = difference(run, model, [*samples, *real])
        if int8:
            quantize(path, [clip[None].numpy() for sample in real for clip in sample])
            error = difference(ExportedModel(path).logits, model, real, float('inf'))
        os.replace(path, out)
    return error


def random_frames(batch: int, shape: tuple, seed: int) -> Tensor:
    """Moving noise, uint8, shape (batch, *shape)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (batch, *shape), generator=generator, dtype=torch.uint8)


@torch.no_grad()
def difference(
    run: Callable, model: nn.Module, samples: list, tolerance: float = TOLERANCE
) -> float:
    """Compute the largest difference of a logit, relative to the largest logit of its sample.

    Raises ``ValueError`` if it exceeds ``tolerance``, or a logit is not a number.
    """
    worst = 0.0
    for frames in samples:
        found, logits = run(frames.contiguous()), model(frames)
        error = ((found - logits).abs().max() / logits.abs().max().clamp(min=1e-12)).item()
        if not error <= tolerance:  # also when it is NaN
            raise ValueError(
                f"the exported model's logits differ from PyTorch's by {error:.2%} of the largest; "
                'nothing was written'
            )
        worst = max(worst, error)
    return worst


def _metadata(model, config, label_map, shape):
    """Describe the inputs and outputs of the file, for programs that run it."""
    recognizer = model.recognizer
    heads = [module for module in recognizer.modules() if hasattr(module, 'average_clips')]
    num_classes = count_classes(recognizer)
    metadata = dict(
        classes=class_names(num_classes, label_map, recognizer.dataset_meta, config),
        average_clips=heads[0].average_clips if heads else None,
        multi_class=any(getattr(head, 'multi_class', False) for head in recognizer.modules()),
        frames=[*shape],
        dtype='uint8',
        mean=model.mean.flatten().tolist(),  # inside the model already
        std=model.std.flatten().tolist(),
        pipeline=VideoPipeline(config).of_kind('sample', 'change'),
    )
    if 'calibration' in recognizer.dataset_meta:
        metadata['calibration'] = recognizer.dataset_meta['calibration']
    return metadata


def _real_frames(config, video, shape):
    frames = VideoPipeline(config).reader()(video_info(video))['inputs']  # (views·T·m, 3, H, W)
    return frames.unflatten(0, (-1, shape[0]))


def _write_torch(model, frames, path, metadata):
    batch = torch.export.Dim('batch')
    program = torch.export.export(model, (frames,), dynamic_shapes=({0: batch},))
    text = json.dumps({METADATA: metadata}, default=str)
    torch.export.save(program, path, extra_files={METADATA: text})
    return torch.export.load(path).module()


def _write_onnx(model, frames, path, metadata):
    import onnx

    program = torch.onnx.export(
        model,
        (frames,),
        dynamo=True,
        dynamic_shapes=({0: torch.export.Dim('batch')},),
        input_names=['frames'],
        output_names=['logits'],
        opset_version=OPSETS[-1],
        verbose=False,
    )
    proto = program.model_proto
    if metadata['opset'] < OPSETS[-1]:
        _lower(proto, metadata['opset'])
    onnx.helper.set_model_props(proto, {METADATA: json.dumps({METADATA: metadata}, default=str)})
    onnx.checker.check_model(proto)
    onnx.save(proto, path)
    return ExportedModel(path).logits


def _lower(proto, opset):
    """Write reductions as before opset 18: their axes are an attribute. ONNX's converter cannot."""
    import onnx

    graph = proto.graph
    values = {each.name: onnx.numpy_helper.to_array(each) for each in graph.initializer}
    for node in graph.node:
        if node.op_type.startswith('Reduce') and node.op_type != 'ReduceSum' and node.input[1:]:
            axes = onnx.helper.make_attribute('axes', values[node.input.pop()].tolist())
            keepdims = [each for each in node.attribute if each.name == 'keepdims']
            del node.attribute[:]
            node.attribute.extend([*keepdims, axes])
    used = {name for node in graph.node for name in node.input}
    for each in [each for each in graph.initializer if each.name not in used]:
        graph.initializer.remove(each)
    proto.opset_import[0].version = opset


WRITERS = {'.onnx': _write_onnx, '.pt2': _write_torch}
