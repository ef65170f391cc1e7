"""Training in bfloat16 where the machine has units for it."""

from typing import Optional

import torch
from mmengine.config import Config

from pan_mm.ops.cpu import has_bfloat16_units


def multiplies_bfloat16() -> bool:
    """Tell whether the GPU or, without one, the processor does not emulate bfloat16."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return has_bfloat16_units()


def without_slow_half(cfg: Config) -> Optional[str]:
    """Let a config train in float32, in place, if it asks for bfloat16 that is only emulated here.

    Returns words for the log where it does.
    """
    wrapper = cfg.get('optim_wrapper') or {}
    if not str(wrapper.get('type')).endswith('AmpOptimWrapper') or multiplies_bfloat16():
        return None
    if torch.cuda.is_available() and 'bfloat16' not in str(wrapper.get('dtype')):
        return None  # float16, which GPUs have longer; processors get bfloat16 for it
    wrapper['type'] = 'OptimWrapper'
    for key in ('dtype', 'loss_scale'):
        wrapper.pop(key, None)
    return 'this machine has no units for bfloat16, so the training is in float32'
