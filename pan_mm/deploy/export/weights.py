"""The weights of a recognizer as a file to share: nothing in it can run."""

import ast
import hashlib
import io
from pathlib import Path
from typing import Optional, Union

import torch
from mmengine.config import Config

from pan_mm.inference.calibration import calibrate
from pan_mm.inference.recognizer import class_names, count_classes, load_config, load_recognizer
from pan_mm.utils.checkpoint import (
    check_finite,
    dataset_meta_of,
    dict_in,
    load_checkpoint_file,
    weights_of,
)
from pan_mm.utils.errors import CheckpointError
from pan_mm.utils.files import atomic_write
from pan_mm.utils.safetensors import plain_copies, save_safetensors
from pan_mm.version import __version__


def export_weights(
    config: Union[str, Path, Config],
    checkpoint: Union[str, Path],
    out: Union[str, Path],
    label_map: Optional[Union[str, Path]] = None,
    dtype: Optional[torch.dtype] = None,
    texts: Optional[dict] = None,
) -> None:
    """Write weights, config, class names and normalization as a safetensors file.

    Args:
        config (str | Path | Config): Config of the recognizer.
        checkpoint (str | Path): Its weights.
        out (str | Path): The file, ``NAME.safetensors``; replaced once the new one is whole.
        label_map (str | Path, optional): Class names, one a line.
        dtype (torch.dtype, optional): Type of the floating-point weights, such as
            ``torch.float16``. Defaults to their own.
        texts (dict, optional): Further texts, or others for those above.

    Raises:
        CheckpointError: If the checkpoint is damaged, does not fit the config, or holds NaN or
            infinite weights.
    """
    weights, own = _described(config, checkpoint, label_map)
    save_safetensors(out, weights, dtype, **{**own, **(texts or {})})


def _described(config, checkpoint, label_map=None):
    """Weights that fit a config, and what a reader of the file should know of them."""
    config = load_config(config)
    model = load_recognizer(config, checkpoint, 'cpu')
    check_finite(model.state_dict(), str(checkpoint))
    names = class_names(count_classes(model), label_map, model.dataset_meta, config)
    texts = dict(config=config.pretty_text, classes=names)
    for key in ('mean', 'std'):
        if hasattr(model.data_preprocessor, key):
            texts[key] = getattr(model.data_preprocessor, key).flatten().tolist()
    if 'calibration' in model.dataset_meta:
        texts['calibration'] = model.dataset_meta['calibration']
    return model.state_dict(), texts


PUBLISHED = ('custom_imports', 'default_scope', 'model', 'test_pipeline')


def publishable(text: str) -> str:
    """Extract the model and its input from the text of a config, without running it, or paths."""

    class WithoutSources(ast.NodeTransformer):
        def visit_keyword(self, node):
            if node.arg in ('pretrained', 'init_cfg'):
                node.value = ast.Constant(None)
            return self.generic_visit(node)

    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):  # not a config of MMEngine's
        return ''
    kept: list = [
        node
        for node in tree.body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], 'id', '') in PUBLISHED
    ]
    return ast.unparse(WithoutSources().visit(ast.Module(kept, [])))


def publish(
    checkpoint: Union[str, Path],
    out: Optional[Union[str, Path]] = None,
    config: Optional[Union[str, Path, Config]] = None,
    dtype: Optional[torch.dtype] = None,
    scores: Optional[Union[str, Path]] = None,
) -> Path:
    """Write the shareable part of a checkpoint: weights, config and classes, no optimizer.

    The file's name ends in the first digits of its SHA-256, as ``torch.hub`` checks them.

    Args:
        checkpoint (str | Path): A file of MMEngine's runner, of ``tools/convert``, or of this.
        out (str | Path, optional): ``NAME.pth``, for ``NAME-HASH.pth``. Defaults to the
            checkpoint's own name.
        config (str | Path | Config, optional): Its config; the weights must fit it. Defaults to
            the text that MMEngine's runner leaves in a checkpoint, which is not run.
        dtype (torch.dtype, optional): Type of the floating-point weights, such as
            ``torch.float16``. Defaults to their own.
        scores (str | Path, optional): Scores that ``tools/test.py --dump`` wrote of videos that the
            model was not trained on. They calibrate it
            (:class:`pan_mm.inference.calibration.Calibration`).

    Returns:
        Path: The file.

    Raises:
        FileExistsError: If it is there.
        CheckpointError: If the checkpoint is damaged, does not fit the config, holds none where
            none is given, or has weights too large for ``dtype``.
        ValueError: If ``out`` has another suffix.
    """
    source = str(checkpoint)
    out = Path(out or Path(source).with_suffix('.pth'))
    if out.suffix != '.pth':
        raise ValueError(f'{out}: the name must end in .pth (export writes .safetensors)')
    if config is not None:
        weights, texts = _described(config, source)
    else:
        state = load_checkpoint_file(source)
        weights, own = weights_of(state, source), dict_in(state, ('meta',), source)
        check_finite(weights, source)
        if not isinstance(own.get('cfg'), str):
            raise CheckpointError(f'{source} does not hold its config; give it with --config')
        weights = {name.removeprefix('module.'): weight for name, weight in weights.items()}
        texts = dict(own, config=own['cfg'], **dataset_meta_of(state, source))
    about: dict = {}
    meta = dict(cfg=publishable(texts['config']), dataset_meta=about, pan_mm_version=__version__)
    meta.update({key: texts[key] for key in ('mean', 'std') if key in texts})
    if texts.get('classes'):
        about['classes'] = list(texts['classes'])
    calibration = calibrate(scores)._asdict() if scores else texts.get('calibration')
    if calibration:
        about['calibration'] = calibration
    file = io.BytesIO()
    torch.save(dict(meta=meta, state_dict=plain_copies(weights, dtype)), file)
    digest = hashlib.sha256(file.getbuffer()).hexdigest()
    path = out.with_name(f'{out.stem}-{digest[:8]}.pth')
    if path.exists():
        raise FileExistsError(f'{path} is there already; nothing was written')
    with atomic_write(path) as part:
        Path(part).write_bytes(file.getbuffer())
        load_checkpoint_file(part)
    return path
