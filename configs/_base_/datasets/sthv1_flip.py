# Something-Something V1, flipped too: a mirrored `pulling from left to right` is `from right
# to left`.
_base_ = './sthv1.py'

mirrored = {2: 4, 4: 2, 30: 41, 41: 30, 52: 66, 66: 52}
flip = dict(type='Flip', flip_ratio=0.5, flip_label_map=mirrored)
_base_.train_dataloader.dataset.pipeline.insert(-2, flip)
