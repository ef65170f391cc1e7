"""Repairs around torchvision, which PAN never needs but MMEngine looks at."""

import importlib.util
import re
import sys
from pathlib import Path

from .repair import Repair

_libraries = []  # PyTorch drops a Library's declarations with the object


def _declare_operators(spec):
    """Declare the operators that torchvision describes without having loaded them.

    Its networks and transforms, which timm imports, use none of them; a call still gets
    torchvision's own error. Returns whether there was one to declare.
    """
    import torch

    source = Path(spec.origin).with_name('_meta_registrations.py')
    text = source.read_text(encoding='utf-8') if source.exists() else ''
    names = re.findall(r'register_fake\(["\']torchvision::(\w+)', text)
    missing = [name for name in names if not hasattr(torch.ops.torchvision, name)]
    if missing:
        _libraries.append(torch.library.Library('torchvision', 'FRAGMENT'))
        for name in missing:
            _libraries[-1].define(f'{name}(Tensor x) -> Tensor')
    return bool(missing)


class _Guard:
    """Makes a torchvision that does not fit the installed torch importable, or look absent.

    MMEngine imports torchvision for its environment dump and takes only
    ModuleNotFoundError for an answer. The guard acts on import, so a healthy torchvision
    costs nothing until somebody uses it.
    """

    reason = None

    def find_spec(self, fullname, path=None, target=None):
        if fullname != 'torchvision':
            return None
        if self.reason is not None:
            raise ModuleNotFoundError(self.reason, name=fullname)
        sys.meta_path.remove(self)
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            sys.meta_path.insert(0, self)
        if spec is None or spec.loader is None:
            return spec
        exec_module = spec.loader.exec_module

        def exec_declared(module):
            try:
                exec_module(module)
            except RuntimeError as error:
                if 'operator torchvision::' not in str(error) or not _declare_operators(spec):
                    raise
                exec_module(module)

        def exec_or_absent(module):
            try:
                exec_declared(module)
            except ModuleNotFoundError:
                raise
            except Exception as error:
                self.reason = (
                    f'the installed torchvision does not fit the installed torch ({error}); '
                    'reinstall it for this torch, or uninstall it: PAN does not need it'
                )
                raise ModuleNotFoundError(self.reason, name=fullname) from error

        spec.loader.exec_module = exec_or_absent
        return spec


def _installed(module):
    return 'torchvision' not in sys.modules and importlib.util.find_spec('torchvision') is not None


REPAIRS = (
    Repair(
        name='broken-torchvision',
        reason='a torchvision built for another torch raises RuntimeError on import '
        '("operator torchvision::nms does not exist") and stops every Runner '
        '(mmengine/utils/dl_utils/collect_env.py)',
        until='torchvision registers nothing of operators that it could not load',
        only='environments with a torchvision',
        needed=_installed,
        apply=lambda module: sys.meta_path.insert(0, _Guard()),
    ),
)
