"""Repairs around torchvision, which PAN never needs but MMEngine looks at."""

import importlib.util
import sys

from .repair import Repair


class _Guard:
    """Lets a torchvision that cannot be imported look absent.

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

        def exec_or_absent(module):
            try:
                exec_module(module)
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
        until='MMEngine reads any failing import of torchvision as absent',
        only='environments with a torchvision',
        needed=_installed,
        apply=lambda module: sys.meta_path.insert(0, _Guard()),
    ),
)
