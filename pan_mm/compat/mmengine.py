"""Repairs of MMEngine."""

import functools
import importlib
import importlib.metadata
import importlib.util
import os
import sys
from pathlib import Path
from unittest import mock

from .repair import Repair, mentions


def _no_accelerator():
    from mmengine.device import get_device

    return get_device() == 'cpu'


# Checkpoints ----------------------------------------------------------------------------


def _leaves_torch_to_choose(runner_checkpoint):
    return not mentions(runner_checkpoint.load_from_local, 'weights_only=True')


def _load_data_only(runner_checkpoint):
    from pan_mm.utils.checkpoint import load_checkpoint_file, load_checkpoint_url

    # MMEngine logs the loader's name from its tenth letter.
    def load_from_local(filename, map_location):
        return load_checkpoint_file(filename)

    runner_checkpoint.CheckpointLoader.register_scheme('', load_from_local, force=True)
    # The loaders of all web schemes call this.
    runner_checkpoint.load_url = load_checkpoint_url


def _runs_config_text(runner):
    return 'fromstring' in runner.Runner.resume.__code__.co_names


def _leave_config_text_out(runner):
    from mmengine.runner.checkpoint import CheckpointLoader

    load_checkpoint = CheckpointLoader.load_checkpoint

    # Every runner, strategy, inferencer and load_checkpoint() reads through this.
    @functools.wraps(load_checkpoint)
    def load_data(filename, map_location=None, logger='current'):
        from mmengine.logging import print_log

        from pan_mm.utils.addresses import redact_url
        from pan_mm.utils.checkpoint import check_checkpoint

        load = CheckpointLoader._get_checkpoint_loader(filename)
        source = redact_url(filename)  # which upstream would log as it is
        print_log(f'Loads checkpoint from {source}', logger)
        return check_checkpoint(load(filename, map_location), source)

    CheckpointLoader.load_checkpoint = staticmethod(load_data)


def _writes_in_place(local_backend):
    return mentions(local_backend.LocalBackend.put, "open(filepath, 'wb')")


def _write_atomically(local_backend):
    backend = local_backend.LocalBackend
    for name in ('put', 'put_text'):
        setattr(backend, name, _atomic(getattr(backend, name)))


def _atomic(put):
    @functools.wraps(put)
    def put_whole(self, obj, filepath, *args, **kwargs):
        from pan_mm.utils.files import atomic_write

        os.makedirs(os.path.dirname(os.path.realpath(filepath)), exist_ok=True)
        with atomic_write(filepath) as part:
            return put(self, obj, part, *args, **kwargs)

    return put_whole


# Mixed precision ------------------------------------------------------------------------


def _wants_an_accelerator(amp_optimizer_wrapper):
    wrapper = amp_optimizer_wrapper.AmpOptimWrapper
    return _no_accelerator() and mentions(wrapper.__init__, 'only available training')


def _amp_on_cpu(amp_optimizer_wrapper):
    import torch
    from mmengine.logging import print_log

    # MMEngine is still being imported here, so names come from the module at hand.
    OptimWrapper = amp_optimizer_wrapper.OptimWrapper

    class AmpOptimWrapper(amp_optimizer_wrapper.AmpOptimWrapper):
        """bfloat16 autocast on the CPU, which needs no loss scaling."""

        def __init__(self, loss_scale='dynamic', dtype=None, use_fsdp=False, **kwargs):
            # Skip the parent's assertion that there is an accelerator.
            OptimWrapper.__init__(self, **kwargs)
            if dtype not in (None, 'bfloat16', torch.bfloat16):
                print_log(f'AmpOptimWrapper: bfloat16 instead of {dtype} on the CPU', 'current')
            self.cast_dtype = torch.bfloat16
            self.loss_scaler = torch.amp.GradScaler('cpu', enabled=False)
            self._scale_update_param = None

    amp_optimizer_wrapper.OPTIM_WRAPPERS.register_module(
        name='AmpOptimWrapper', module=AmpOptimWrapper, force=True
    )


# Processes ------------------------------------------------------------------------------


def _asks_for_cuda(dist_utils):
    return _no_accelerator() and mentions(
        dist_utils._init_dist_pytorch, 'else: torch.cuda.set_device(local_rank)'
    )


def _gloo(dist_utils):
    import torch

    init = dist_utils._init_dist_pytorch

    @functools.wraps(init)
    def init_on_cpu(backend, *args, **kwargs):
        with mock.patch.object(torch.cuda, 'set_device', lambda device: None):
            return init('gloo', *args, **kwargs)

    dist_utils._init_dist_pytorch = init_on_cpu


def _passes_device_ids(runner):
    return _no_accelerator() and mentions(runner.Runner.wrap_model, "device_ids=[int(os.environ['")


def _no_device_ids(runner):
    distributed = runner.MMDistributedDataParallel
    init = distributed.__init__

    @functools.wraps(init)
    def __init__(self, module, *args, **kwargs):
        if all(parameter.device.type == 'cpu' for parameter in module.parameters()):
            kwargs['device_ids'] = None
        init(self, module, *args, **kwargs)

    distributed.__init__ = __init__


# Packages -------------------------------------------------------------------------------


def is_installed(package: str) -> bool:
    """Tell whether an importable module or a distribution has this name."""
    return importlib.util.find_spec(package2module(package)) is not None


def get_installed_path(package: str) -> str:
    """Folder of a package; editable installs and packages on PYTHONPATH included.

    Raises:
        ModuleNotFoundError: No such distribution or module.
    """
    spec = importlib.util.find_spec(package2module(package))
    if spec is None:
        raise ModuleNotFoundError(f'{package} is not installed', name=package)
    return os.path.dirname(spec.origin)


def package2module(package: str) -> str:
    """Name of the module that a distribution installs."""
    try:
        names = importlib.metadata.distribution(package).read_text('top_level.txt')
    except importlib.metadata.PackageNotFoundError:
        return package
    # The first line of an editable install of pan_mm is its folder, for mim.
    return next((name for name in (names or '').splitlines() if name.isidentifier()), package)


def _looks_in_the_wrong_place(package_utils):
    # Editable installs have their metadata in site-packages and their code elsewhere.
    return 'pkg_resources' in Path(package_utils.__file__).read_text('utf-8')


def _look_up_packages(package_utils):
    # Also replace them in modules that already imported them by name.
    holders = ('mmengine.utils', 'mmengine.config.config', 'mmengine.hub.hub')
    modules = [package_utils, *(sys.modules[name] for name in holders if name in sys.modules)]
    for function in (is_installed, get_installed_path, package2module):
        for module in modules:
            if hasattr(module, function.__name__):
                setattr(module, function.__name__, function)


# The scope pan_mm -----------------------------------------------------------------------


def _name_the_scope(config_utils):
    config_utils.MODULE2PACKAGE['pan_mm'] = 'pan_mm'


REPAIRS = (
    Repair(
        name='checkpoint-loading',
        reason='torch>=2.6 refuses the HistoryBuffers in the checkpoints that MMEngine writes, '
        'so --resume, load_from and test fail (mmengine#1655)',
        until='MMEngine reads its own checkpoints with weights_only=True',
        module='mmengine.runner.checkpoint',
        needed=_leaves_torch_to_choose,
        apply=_load_data_only,
    ),
    Repair(
        name='config-in-checkpoint',
        reason='Runner.resume, FlexibleRunner.resume and the inferencers run the text of the '
        'config that a checkpoint holds, as Python (since mmcv#844; mmengine/runner/runner.py)',
        until='Runner.resume no longer calls Config.fromstring',
        module='mmengine.runner.runner',
        needed=_runs_config_text,
        apply=_leave_config_text_out,
    ),
    Repair(
        name='whole-files',
        reason='LocalBackend writes checkpoints in place, so a process that dies or a full disk '
        'leaves half a file under the name of a whole one '
        '(mmengine/fileio/backends/local_backend.py)',
        until='LocalBackend.put writes a temporary file and renames it',
        module='mmengine.fileio.backends.local_backend',
        needed=_writes_in_place,
        apply=_write_atomically,
    ),
    Repair(
        name='amp-on-cpu',
        reason='AmpOptimWrapper asserts an accelerator, so --amp fails on a CPU '
        '(mmpretrain#1556; mmengine/optim/optimizer/amp_optimizer_wrapper.py)',
        until='AmpOptimWrapper accepts the CPU',
        module='mmengine.optim.optimizer.amp_optimizer_wrapper',
        needed=_wants_an_accelerator,
        apply=_amp_on_cpu,
    ),
    Repair(
        name='gloo-on-cpu',
        reason='init_dist sets a CUDA device and asks for NCCL where there is none '
        '(mmengine/dist/utils.py)',
        until='init_dist chooses gloo without an accelerator',
        module='mmengine.dist.utils',
        needed=_asks_for_cuda,
        apply=_gloo,
    ),
    Repair(
        name='ddp-on-cpu',
        reason='Runner.wrap_model passes device_ids for modules on the CPU, which '
        'DistributedDataParallel refuses',
        until='Runner.wrap_model passes device_ids only for accelerators',
        module='mmengine.runner.runner',
        needed=_passes_device_ids,
        apply=_no_device_ids,
    ),
    Repair(
        name='package-look-up',
        reason='"package::config" needs pkg_resources, which setuptools 82 dropped, and looks '
        'for editable installs in site-packages (mmengine#1676; mmengine/utils/package_utils.py)',
        until='a release of MMEngine has #1676, which looks packages up with importlib',
        module='mmengine.utils.package_utils',
        needed=_looks_in_the_wrong_place,
        apply=_look_up_packages,
    ),
    Repair(
        name='scope-pan_mm',
        reason='"pan_mm::config" needs an entry in a fixed table of MMEngine '
        '(mmengine#1410; mmengine/config/utils.py)',
        until='MODULE2PACKAGE takes third parties in',
        module='mmengine.config.utils',
        needed=lambda config_utils: 'pan_mm' not in config_utils.MODULE2PACKAGE,
        apply=_name_the_scope,
    ),
)
