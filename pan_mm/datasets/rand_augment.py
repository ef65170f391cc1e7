"""RandAugment of a whole clip, of MMCV's image operations."""

import mmcv
import numpy as np
from mmaction.registry import TRANSFORMS
from mmcv.transforms import BaseTransform

GRAY = (128, 128, 128)
# By name: (image, strength from -1 to 1) -> image.
OPERATIONS = {
    'auto_contrast': lambda x, s: mmcv.auto_contrast(x),
    'equalize': lambda x, s: mmcv.imequalize(x),
    'posterize': lambda x, s: mmcv.posterize(x, 8 - round(4 * abs(s))),
    'solarize': lambda x, s: mmcv.solarize(x, 256 * (1 - abs(s))),
    'color': lambda x, s: mmcv.adjust_color(x, 1 + 0.9 * s, backend='cv2'),
    'contrast': lambda x, s: mmcv.adjust_contrast(x, 1 + 0.9 * s, backend='cv2'),
    'brightness': lambda x, s: mmcv.adjust_brightness(x, 1 + 0.9 * s, backend='cv2'),
    'sharpness': lambda x, s: mmcv.adjust_sharpness(x, 1 + 0.9 * s),
    'rotate': lambda x, s: mmcv.imrotate(x, 30 * s, border_value=GRAY),
    'shear_x': lambda x, s: mmcv.imshear(x, 0.3 * s, 'horizontal', GRAY),
    'shear_y': lambda x, s: mmcv.imshear(x, 0.3 * s, 'vertical', GRAY),
    'translate_x': lambda x, s: mmcv.imtranslate(x, 0.3 * s * x.shape[1], 'horizontal', GRAY),
    'translate_y': lambda x, s: mmcv.imtranslate(x, 0.3 * s * x.shape[0], 'vertical', GRAY),
}


@TRANSFORMS.register_module()
class ClipRandAugment(BaseTransform):
    """RandAugment (arXiv 1909.13719) that does the same to all frames of a clip.

    Draws operations for a clip, not for a frame, so that nothing moves that stood still: a motion
    cue would see it. Goes behind the decoder and the crops, before ``FormatShape``.

    Required keys: imgs, (H, W, 3), RGB, uint8. Modified keys: imgs.

    Args:
        num_ops (int): Operations in turn, of ``OPERATIONS``. Defaults to 2.
        magnitude (float): Their strength, 0 to 10. Directions are drawn. Defaults to 9.

    Raises:
        ValueError: If ``magnitude`` is out of range.
    """

    def __init__(self, num_ops: int = 2, magnitude: float = 9) -> None:
        if not 0 <= magnitude <= 10:
            raise ValueError(f'magnitude must be from 0 to 10, got {magnitude}')
        self.num_ops = num_ops
        self.magnitude = magnitude

    def transform(self, results: dict) -> dict:
        """Change all frames alike."""
        for name in np.random.choice(list(OPERATIONS), self.num_ops):
            strength = self.magnitude / 10 * np.random.choice([-1, 1])
            results['imgs'] = [OPERATIONS[name](image, strength) for image in results['imgs']]
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(num_ops={self.num_ops}, magnitude={self.magnitude})'
