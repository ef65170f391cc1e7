"""Learning rate and weight decay of each parameter, as in the authors' recipe."""

from typing import Optional

from mmaction.registry import OPTIM_WRAPPER_CONSTRUCTORS
from mmengine.optim import DefaultOptimWrapperConstructor
from mmengine.utils.dl_utils.parrots_wrapper import _BatchNorm, _ConvNd
from torch import nn

from pan_mm.models import PersistenceOfAppearance


def recipe_multipliers(layer: nn.Module, name: str, is_pa: bool) -> tuple:
    """Multipliers (lr, weight decay) of the parameter ``name`` that ``layer`` itself holds.

    ======================== ========= ========
    layer                    weight    bias
    ======================== ========= ========
    PA's filters, any Linear 5, 1      10, 0
    any other convolution    1, 1      2, 0
    batch norm               1, 0      1, 0
    anything else            1, 1      1, 1
    ======================== ========= ========
    """
    if is_pa or isinstance(layer, nn.Linear):
        return (10, 0) if name == 'bias' else (5, 1)
    if isinstance(layer, _ConvNd):
        return (2, 0) if name == 'bias' else (1, 1)
    if isinstance(layer, _BatchNorm):
        return 1, 0
    return 1, 1


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class PANOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """Builds one parameter group per parameter with the multipliers of the authors' recipe.

    ``TSMOptimWrapperConstructor`` has others. Of MMEngine's ``paramwise_cfg``, ``custom_keys``
    with ``lr_mult`` and ``decay_mult`` are honored, on top of the recipe.

    Args:
        optim_wrapper_cfg (dict): Config of the optimizer wrapper; its optimizer has an ``lr``.
        paramwise_cfg (dict, optional): May hold ``custom_keys``, and nothing else.

    Raises:
        ValueError: If there is no ``lr``, or ``paramwise_cfg`` holds something else.
    """

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: Optional[dict] = None) -> None:
        # MMEngine skips add_params when paramwise_cfg is empty.
        super().__init__(optim_wrapper_cfg, paramwise_cfg or dict(custom_keys={}))
        if unknown := sorted(set(self.paramwise_cfg) - {'custom_keys'}):
            raise ValueError(
                f'paramwise_cfg of PANOptimWrapperConstructor takes only custom_keys, got '
                f'{", ".join(unknown)}; the recipe sets the multipliers of layers'
            )
        if self.base_lr is None:
            raise ValueError('PANOptimWrapperConstructor multiplies lr; set it in the optimizer')

    def add_params(self, params: list, module: nn.Module, **kwargs) -> None:
        """Append a group for each trainable parameter of ``module`` to ``params``."""
        custom_keys = self.paramwise_cfg.get('custom_keys', {})
        by_length = sorted(custom_keys, key=len, reverse=True)  # the longest wins, as in MMEngine
        pa_layers = [m.conv for m in module.modules() if isinstance(m, PersistenceOfAppearance)]
        seen = set()
        for path, layer in module.named_modules():
            for name, param in layer.named_parameters(recurse=False):
                if not param.requires_grad or param in seen:
                    continue
                seen.add(param)
                lr_mult, decay_mult = recipe_multipliers(layer, name, layer in pa_layers)
                key = next((key for key in by_length if key in f'{path}.{name}'), None)
                custom = custom_keys.get(key, {})
                group = dict(params=[param], lr=self.base_lr * lr_mult * custom.get('lr_mult', 1))
                if self.base_wd is not None:
                    decay_mult *= custom.get('decay_mult', 1)
                    group['weight_decay'] = self.base_wd * decay_mult
                params.append(group)
