"""MMEngine's runner, with a look at config, data and checkpoint before the work starts."""

import copy
import logging
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Optional

import torch
from mmaction.registry import RUNNERS
from mmengine.config import Config
from mmengine.device import get_device
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
from pan_mm.utils.errors import CheckpointError, DataError, PANError, listed, shown

from .half import without_slow_half
from .hooks.checkpoint_hook import latest_checkpoint
from .preflight import preflight
from .resume import ConfiguredSettings
from .work_dir import locked_work_dir

DEPRECATIONS = ('"FileClient" will be deprecated', '"HardDiskBackend" is the alias')


@RUNNERS.register_module()
class CheckedRunner(Runner):
    """A ``Runner`` that checks config, data and checkpoint before it works.

    Chosen by ``runner_type = 'CheckedRunner'`` in a config, so it works under any tool that
    honors ``runner_type``. ``preflight = False`` in the config leaves out the checks of config and
    data (:mod:`pan_mm.engine.preflight`). Testing needs a checkpoint that fits the model to the
    last weight. A run continues from its last whole checkpoint.

    On the terminal a run begins with the config's name and the device; MMEngine's description of
    the system, config and hooks is only in the log file.

    Raises:
        ConfigError: From :meth:`from_cfg`, naming each setting that nothing takes.
        DataError: From :meth:`train` and :meth:`test`, naming each problem.
        RuntimeError: From :meth:`test`, if the checkpoint does not fit the model.
    """

    own_settings = (*SCALE, 'preflight')  # config keys that it reads besides Runner's

    def __init__(self, *args, **kwargs) -> None:
        self._terminals: list = []
        if isinstance(kwargs.get('cfg'), Config):  # only written; parts are built from the others
            kwargs['cfg'] = copy.copy(kwargs['cfg'])
            object.__setattr__(kwargs['cfg'], '_cfg_dict', redact(kwargs['cfg']._cfg_dict))
        try:
            super().__init__(*args, **kwargs)
        finally:
            for handler, level in self._terminals:
                handler.setLevel(level)

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
        """Build it, name config and device, and show only warnings on the terminal for now."""
        logger = super().build_logger(*args, **kwargs)
        logger.addFilter(redact_record)
        # MMEngine's own hooks use what these warnings deprecate.
        logger.addFilter(lambda record: not record.getMessage().startswith(DEPRECATIONS))
        name = Path(self.cfg.filename).name if self.cfg.filename else self.experiment_name
        logger.info(f'{name} on {get_device()}, log in {self.log_dir}')
        for handler in logger.handlers:
            if type(handler) is logging.StreamHandler:
                self._terminals.append((handler, handler.level))
                handler.setLevel(max(handler.level, logging.WARNING))
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
        self.logger.info(describe_run())
        self._preflight('train', *(['val'] if self.cfg.get('val_cfg') else []))
        with locked_work_dir(self.work_dir) if is_main_process() else nullcontext():
            return super().train()

    def test(self) -> dict:
        """Test a checkpoint that fits to the last weight."""
        self.logger.info(describe_run())
        self._preflight('test')
        self._strict, self._resume = True, False  # the config may be of a resumed training
        return super().test()

    def _preflight(self, *splits: str) -> None:
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

    def _compare_classes(self, checkpoint, filename):
        """Refuse to resume with classes in another order; say it where only weights are taken."""
        meta = checkpoint.get('meta', {}).get('dataset_meta') or {}
        dataset = getattr(self._train_loop, 'dataloader', None)
        own = getattr(getattr(dataset, 'dataset', None), 'metainfo', {}).get('classes')
        theirs = meta.get('classes') if isinstance(meta, dict) else None
        if not own or not isinstance(theirs, (list, tuple)) or list(own) == list(theirs):
            return
        message = (
            f'{filename} was trained on the classes {shown(theirs)}, which differ in names or '
            'order from the classes of the config; its labels mean other classes'
        )
        if self._resume:
            raise CheckpointError(message)
        self.logger.warning(message)

    def load_checkpoint(self, filename, map_location='cpu', strict=False, **kwargs):
        """Load weights; in testing and resuming all must be there, and fit.

        A training may start from the weights of a model that differs in parts, such as in the
        number of classes. The log then names the parameters that start from scratch.

        Raises:
            CheckpointError: If it is damaged, or a training is to be resumed from only weights.
            DataError: If no weight of the checkpoint fits.
        """
        strict = strict or getattr(self, '_strict', False) or bool(self._resume)
        begun = {}
        if not strict:
            begun = {name: p.detach().clone() for name, p in self.model.named_parameters()}
        checkpoint = super().load_checkpoint(filename, map_location, strict, **kwargs)
        source = redact_url(filename)
        if self._resume:
            check_resumable(checkpoint, source)
        self._compare_classes(checkpoint, source)
        parameters = self.model.named_parameters() if begun else ()
        kept = [name for name, parameter in parameters if torch.equal(parameter, begun[name])]
        if begun and len(kept) == len(begun):
            raise DataError(f'no weight of {source} fits the model; is it of another one?')
        if kept:
            self.logger.info(
                f'{len(begun) - len(kept)} of {len(begun)} parameters are from {source}; these '
                f'start from scratch:{listed(kept)}'
            )
        return checkpoint
