# Something-Something V2, flipped with exchanged labels and changed in color and place.
_base_ = './sthv2_flip.py'

_base_.train_dataloader.dataset.pipeline.insert(-2, dict(type='ClipRandAugment'))
