"""MMEngine's runner, with a look at config, data and checkpoint before the work starts."""

import copy
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Optional

from filelock import FileLock, Timeout
from mmaction.registry import RUNNERS
from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.logging import MMLogger
from mmengine.runner import Runner
from mmengine.runner.runner import ConfigType
from torch import nn
from torch.utils.data import DataLoader

from pan_mm.config.overrides import SCALE, check_settings
from pan_mm.config.scale import apply_scale
from pan_mm.utils.addresses import redact, redact_record, redact_url
from pan_mm.utils.checkpoint import check_resumable
from pan_mm.utils.environment import describe_run
from pan_mm.utils.errors import CheckpointError, PANError, shown

from .half import without_slow_half
from .hooks.checkpoint_hook import latest_checkpoint
from .preflight import preflight
from .resume import ConfiguredSettings

LOCK = '.training.lock'  # in a work dir, which belongs to one training at a time


@RUNNERS.register_module()
class CheckedRunner(Runner):
    """A ``Runner`` that checks config, data and checkpoint before it works.

    A config chooses it by ``runner_type = 'CheckedRunner'``, and leaves out the checks of config
    and data (:mod:`pan_mm.engine.preflight`) by ``preflight = False``. Testing needs a checkpoint
    that fits the model to the last weight. A run continues from its last whole checkpoint.

    Raises:
        ConfigError: From :meth:`from_cfg`, naming each setting that nothing takes.
        DataError: From :meth:`train` and :meth:`test`, naming each problem.
        PANError: From :meth:`train`, if another training is in the work dir.
        RuntimeError: From :meth:`test`, if the checkpoint does not fit the model.
    """

    own_settings = (*SCALE, 'preflight')  # config keys that it reads besides Runner's

    def __init__(self, *args, **kwargs) -> None:
        if isinstance(kwargs.get('cfg'), Config):  # only written; parts are built from the others
            kwargs['cfg'] = copy.copy(kwargs['cfg'])
            object.__setattr__(kwargs['cfg'], '_cfg_dict', redact(kwargs['cfg']._cfg_dict))
        super().__init__(*args, **kwargs)

    @classmethod
    def from_cfg(cls, cfg: ConfigType) -> 'CheckedRunner':
        """Build it from a config, whose options ``size`` and ``epochs`` are resolved first."""
        cfg = copy.deepcopy(cfg)
        apply_scale(cfg)
        if cfg.get('preflight', True):
            check_settings(cfg, cls)
        change = without_slow_half(cfg)
        runner = super().from_cfg(cfg)
        if change:
            runner.logger.warning(change)
        return runner

    def build_logger(self, *args, **kwargs) -> MMLogger:
        """Build a logger that hides passwords in addresses."""
        logger = super().build_logger(*args, **kwargs)
        logger.addFilter(redact_record)
        return logger

    @staticmethod
    def build_dataloader(dataloader: Any, *args, **kwargs) -> DataLoader:
        """Build it, ignoring workers' options where there are no workers."""
        if isinstance(dataloader, dict) and dataloader.get('num_workers') == 0:
            left = ('persistent_workers', 'prefetch_factor')
            dataloader = {key: value for key, value in dataloader.items() if key not in left}
        return Runner.build_dataloader(dataloader, *args, **kwargs)

    def train(self) -> nn.Module:
        """Train, as described in the log."""
        self._begin('train', *(['val'] if self.cfg.get('val_cfg') else []))
        lock = FileLock(Path(self.work_dir, LOCK), timeout=0)
        try:
            with lock if is_main_process() else nullcontext():
                return super().train()
        except Timeout as error:  # each would remove the checkpoints of the other
            raise PANError(
                f'{self.work_dir}: another training is writing here; wait for its end, or give '
                'another --work-dir'
            ) from error

    def test(self) -> dict:
        """Test a checkpoint that fits to the last weight."""
        self._begin('test')
        self._strict, self._resume = True, False  # the config may be of a resumed training
        return super().test()

    def _begin(self, *splits: str) -> None:
        self.logger.info(describe_run())
        if self.cfg.get('preflight', True):
            preflight(self.cfg, splits)

    def load_or_resume(self) -> None:
        """Load or resume; where no checkpoint is named, the last whole one of ``work_dir``."""
        if self._resume and not self._load_from:
            self._load_from: Optional[str] = latest_checkpoint(self.work_dir)
        super().load_or_resume()

    def resume(self, filename: str, *args, **kwargs) -> None:
        """Continue where a checkpoint was written, with the optimizer settings of the config.

        Raises:
            CheckpointError: If it is damaged, holds only weights, or belongs to another model.
        """
        self._resume, self._load_from = True, filename
        alone = not hasattr(self.optim_wrapper, 'optim_wrappers')
        own = ConfiguredSettings(self.optim_wrapper, self.param_schedulers) if alone else None
        try:
            super().resume(filename, *args, **kwargs)
            for change in own.apply(self.optim_wrapper) if own else ():
                self.logger.warning(f'the config differs from {filename}: {change}')
        except PANError:
            raise
        except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
            raise CheckpointError(
                f'{filename}: no training can be resumed from it ({type(error).__name__}: {error})'
            ) from error
        if self.epoch >= self.max_epochs or self.iter >= self.max_iters:
            self.logger.warning(
                f'{filename} ends the training of {self.max_epochs} epochs, so nothing is left to '
                f'do; epochs={2 * self.max_epochs} would train on'
            )

    def load_checkpoint(self, filename, map_location='cpu', strict=False, **kwargs):
        """Load weights; in testing and resuming all must be there, and fit.

        Raises:
            CheckpointError: If it is damaged, or a training is to be resumed from only weights or
                with classes in another order.
        """
        strict = strict or getattr(self, '_strict', False) or bool(self._resume)
        checkpoint = super().load_checkpoint(filename, map_location, strict, **kwargs)
        source = redact_url(filename)
        if self._resume:
            check_resumable(checkpoint, source)
        self._compare_classes(checkpoint.get('meta', {}).get('dataset_meta'), source)
        return checkpoint

    def _compare_classes(self, meta, source):
        loader = getattr(self._train_loop, 'dataloader', None)
        own = getattr(getattr(loader, 'dataset', None), 'metainfo', {}).get('classes')
        theirs = meta.get('classes') if isinstance(meta, dict) else None
        if not own or not isinstance(theirs, (list, tuple)) or list(own) == list(theirs):
            return
        message = (
            f'{source} was trained on the classes {shown(theirs)}, which differ in names or '
            'order from the classes of the config; its labels mean other classes'
        )
        if self._resume:
            raise CheckpointError(message)
        self.logger.warning(message)
