"""Runs a script as torchrun does, in processes forked from one that has imported all they need.

    launched.py PROCESSES SCRIPT [ARGUMENT ...]

Should they wait for one another for ever, each says where, and ends.
"""

import faulthandler
import runpy
import sys

from torch.distributed.launcher.api import LaunchConfig, elastic_launch


def run(*argv):
    faulthandler.dump_traceback_later(450, exit=True)
    sys.argv = list(argv)
    runpy.run_path(argv[0], run_name='__main__')


if __name__ == '__main__':
    config = LaunchConfig(
        *(1, 1, int(sys.argv[1])),
        rdzv_backend='c10d',
        rdzv_endpoint='localhost:0',
        max_restarts=0,
        start_method='fork',
    )
    elastic_launch(config, run)(*sys.argv[2:])
