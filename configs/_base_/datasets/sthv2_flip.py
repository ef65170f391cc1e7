# Something-Something V2, flipped too: a mirrored `pulling from left to right` is `from right
# to left`.
_base_ = './sthv2.py'

mirrored = {86: 87, 87: 86, 93: 94, 94: 93, 166: 167, 167: 166}
flip = dict(type='Flip', flip_ratio=0.5, flip_label_map=mirrored)
_base_.train_dataloader.dataset.pipeline.insert(-2, flip)
