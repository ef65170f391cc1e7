"""The weights of a recognizer as a safetensors file, to hand on."""

from pathlib import Path
from typing import Optional, Union

import torch
from mmengine.config import Config

from pan_mm.inference.recognizer import class_names, count_classes, load_config, load_recognizer
from pan_mm.utils.safetensors import save_safetensors


def export_weights(
    config: Union[str, Path, Config],
    checkpoint: Union[str, Path],
    out: Union[str, Path],
    label_map: Optional[Union[str, Path]] = None,
    dtype: Optional[torch.dtype] = None,
) -> None:
    """Write weights, config, class names and normalisation; nothing in the file can run.

    Args:
        config (str | Path | Config): Config of the recognizer.
        checkpoint (str | Path): Its weights.
        out (str | Path): The file, ``NAME.safetensors``; replaced once the new one is whole.
        label_map (str | Path, optional): Class names, one a line.
        dtype (torch.dtype, optional): Of the floating-point weights, such as ``torch.float16``.
            Defaults to their own.

    Raises:
        CheckpointError: If the checkpoint is damaged or does not fit the config.
    """
    config = load_config(config)
    model = load_recognizer(config, checkpoint, 'cpu')
    names = class_names(count_classes(model), label_map, model.dataset_meta, config)
    preprocessor = model.data_preprocessor
    normalisation = {
        key: getattr(preprocessor, key).flatten().tolist()
        for key in ('mean', 'std')
        if hasattr(preprocessor, key)
    }
    save_safetensors(
        out,
        model.state_dict(),
        dtype,
        config=config.pretty_text,
        classes=names,
        **normalisation,
    )
