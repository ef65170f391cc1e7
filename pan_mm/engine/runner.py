"""MMEngine's runner, with a look at config, data and checkpoint before the work starts."""

from mmaction.registry import RUNNERS
from mmengine.runner import Runner
from torch import nn

from .preflight import preflight


@RUNNERS.register_module()
class CheckedRunner(Runner):
    """A ``Runner`` that refuses what would fail later or give wrong scores silently.

    Chosen by ``runner_type = 'CheckedRunner'`` in a config, so it works under any tool that
    honours ``runner_type``. :func:`pan_mm.engine.preflight` runs before training and testing,
    and testing needs a checkpoint that fits the model to the last weight.

    Raises:
        DataError: From :meth:`train` and :meth:`test`, naming what is wrong.
        RuntimeError: From :meth:`test`, if the checkpoint does not fit the model.
    """

    def train(self) -> nn.Module:
        """Check, then train."""
        preflight(self.cfg, ('train', 'val') if self.cfg.get('val_cfg') else ('train',))
        return super().train()

    def test(self) -> dict:
        """Check, then test."""
        preflight(self.cfg, ('test',))
        self._strict = True
        return super().test()

    def load_checkpoint(self, filename, map_location='cpu', strict=False, **kwargs):
        """Load weights; in testing none may be missing, left over or of another shape."""
        strict = strict or getattr(self, '_strict', False)
        return super().load_checkpoint(filename, map_location, strict, **kwargs)
