"""An exported ONNX model in eight bits, calibrated on videos."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

# The convolutions, which are nearly all the work, and the layers between them in a ResNet, so
# that a block stays in eight bits. The rest (normalization, PA's norm, VAP) stays in float32.
OPERATORS = ['Conv', 'Gemm', 'Add', 'MaxPool']


def quantize(path: Path, clips: Iterable[np.ndarray]) -> None:
    """Quantize weights (int8, per channel) and activations (uint8) of an ONNX model, in place.

    The ranges of the activations are the extremes over ``clips``.

    Args:
        path (Path): File that :func:`pan_mm.deploy.export.exporter.export` wrote, in a folder
            for temporary files.
        clips (Iterable[np.ndarray]): Inputs of the model, such as (1, T·m, 3, H, W), like those
            that it will see.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Clips(CalibrationDataReader):
        left = iter(clips)

        def get_next(self):
            clip = next(self.left, None)
            return None if clip is None else dict(frames=clip)

    properties = {prop.key: prop.value for prop in onnx.load(path).metadata_props}
    prepared = path.with_suffix('.prepared.onnx')
    # Folds batch norms into convolutions; its symbolic shapes would need sympy for nothing.
    quant_pre_process(path, prepared, skip_symbolic_shape=True)
    quantize_static(
        prepared,
        path,
        Clips(),
        op_types_to_quantize=OPERATORS,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    quantized = onnx.load(path)
    onnx.helper.set_model_props(quantized, properties)
    onnx.save(quantized, path)
