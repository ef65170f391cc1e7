"""What upstream says on every run and nobody who reads it can act on."""

import importlib.util
import inspect
import warnings

from .repair import Repair


def _warns_of_missing_ops(mmcv):
    return importlib.util.find_spec('mmcv._ext') is None


def _ignore_missing_ops(mmcv):
    warnings.filterwarnings(
        'ignore',
        'Fail to import ``MultiScaleDeformableAttention``',
        UserWarning,
        r'mmcv\.cnn\.bricks\.transformer',
    )


_DEPRECATIONS = ('"FileClient" will be deprecated', '"HardDiskBackend" is the alias')


def _logs_deprecations(file_client):
    return any(words in inspect.getsource(file_client) for words in _DEPRECATIONS)


def _leave_deprecations_out(file_client):
    print_log = file_client.print_log

    def print_others(message, *args, **kwargs):
        if not message.startswith(_DEPRECATIONS):
            print_log(message, *args, **kwargs)

    file_client.print_log = print_others


REPAIRS = (
    Repair(
        name='quiet-mmcv-lite',
        reason='mmcv-lite warns on import that an attention layer, which no recognizer here uses, '
        'needs the full mmcv (mmcv/cnn/bricks/transformer.py)',
        until='mmcv-lite imports without a warning',
        module='mmcv',
        only='environments with mmcv-lite',
        needed=_warns_of_missing_ops,
        apply=_ignore_missing_ops,
    ),
    Repair(
        name='quiet-file-client',
        reason="MMAction2's transforms use FileClient, which warns each time of its own end "
        '(mmengine/fileio/file_client.py)',
        until='MMAction2 reads files with mmengine.fileio.get',
        module='mmengine.fileio.file_client',
        needed=_logs_deprecations,
        apply=_leave_deprecations_out,
    ),
)
