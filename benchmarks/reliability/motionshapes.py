"""PAN_Lite on a few small clips of MotionShapes, for trials that train."""

from pathlib import Path

from mmengine.config import Config

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / 'configs/recognition/pan/pan-lite_r18_1xb16-4x1x8-4e_motionshapes-rgb.py'
RESULTS = ROOT / 'results' / 'reliability.json'


def small_config(folder: Path, batch_size: int, options: dict, **dataset) -> Config:
    """Config of a short training without data workers.

    Args:
        folder (Path): Gets the rendered clips, in its folder ``data``.
        batch_size (int): The same in all splits.
        options (dict): As for ``--cfg-options``.
        **dataset: Settings of ``MotionShapesDataset``, such as ``num_train``.
    """
    cfg = Config.fromfile(CONFIG)
    for split in ('train', 'val', 'test'):
        loader = cfg[f'{split}_dataloader']
        loader.update(batch_size=batch_size, num_workers=0, persistent_workers=False)
        loader.dataset.update(dataset, data_root=str(folder / 'data'), size=48, num_test=1)
    cfg.merge_from_dict(dict(options, custom_hooks=[dict(type='EpochSeedHook')]))
    return cfg
