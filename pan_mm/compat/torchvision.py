"""A torchvision that does not fit the installed torch, which MMEngine and timm import."""

import importlib.util
import re
import sys
from pathlib import Path

from .repair import Repair

_libraries = []  # PyTorch drops a Library's declarations with the object


def _declare_operators(spec):
    """Declare the operators that torchvision describes without having loaded them.

    Its networks and transforms, which timm imports, use none of them; a call still gets
    torchvision's own error.
    """
    import torch

    source = Path(spec.origin).with_name('_meta_registrations.py')
    names = re.findall(r'register_fake\(["\']torchvision::(\w+)', source.read_text('utf-8'))
    _libraries.append(torch.library.Library('torchvision', 'FRAGMENT'))
    for name in names:
        if not hasattr(torch.ops.torchvision, name):
            _libraries[-1].define(f'{name}(Tensor x) -> Tensor')


class _SecondTry:
    """Imports torchvision, once more with its operators declared where that fails for one.

    It acts on import, so a healthy torchvision costs nothing until it is used.
    """

    def find_spec(self, fullname, path=None, target=None):
        if fullname != 'torchvision':
            return None
        sys.meta_path.remove(self)  # looking for it is not importing it, so it stays
        spec = importlib.util.find_spec(fullname)
        sys.meta_path.insert(0, self)
        exec_module = spec.loader.exec_module

        def exec_or_declare(module):
            try:
                exec_module(module)
            except RuntimeError as error:
                if 'operator torchvision::' not in str(error):
                    raise
                _declare_operators(spec)
                exec_module(module)

        spec.loader.exec_module = exec_or_declare
        return spec


REPAIRS = (
    Repair(
        name='broken-torchvision',
        reason='a torchvision built for another torch raises RuntimeError on import '
        '("operator torchvision::nms does not exist") and stops every Runner '
        '(mmengine/utils/dl_utils/collect_env.py)',
        until='torchvision registers nothing of operators that it could not load',
        needed=lambda module: (
            'torchvision' not in sys.modules and importlib.util.find_spec('torchvision') is not None
        ),
        apply=lambda module: sys.meta_path.insert(0, _SecondTry()),
    ),
)
