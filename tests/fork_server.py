"""Runs scripts, each in a process forked from this one, which has imported what takes seconds.

Reads requests from standard input, a line of JSON each: ``argv`` (the script first), ``cwd``,
``env`` and ``out``, the file that gets both outputs' text as ``out`` and ``out.err``. Answers each
with a line that holds the exit status. A script that hangs ends, and says where it was.
"""

import atexit
import faulthandler
import gc
import importlib
import json
import os
import runpy
import signal
import sys
import threading

import formatting  # noqa: F401
import matplotlib.pyplot  # noqa: F401
import mmaction.apis  # noqa: F401
import mmengine.runner  # noqa: F401
import torch._dynamo  # noqa: F401
from mmaction.utils import register_all_modules

import pan_mm.datasets
import pan_mm.engine
import pan_mm.models  # noqa: F401

register_all_modules(init_default_scope=False)
# After pan_mm, which keeps a torchvision that does not load out of it.
importlib.import_module('timm')


def redirect(number, path, flags):
    file = os.open(path, flags | os.O_CREAT)
    os.dup2(file, number)
    os.close(file)


def serve():
    """Answer requests; returns one in the process that is to fulfil it."""
    gc.freeze()  # nobody searches what all share, which would copy it
    for line in sys.stdin:
        request = json.loads(line)
        pid = os.fork()
        if not pid:
            return request
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)
    return None


def fulfil(asked):
    """Run the script; returns the exit status."""
    redirect(0, os.devnull, os.O_RDONLY)
    redirect(1, asked['out'], os.O_WRONLY | os.O_TRUNC)
    redirect(2, f'{asked["out"]}.err', os.O_WRONLY | os.O_TRUNC)
    # Not dump_traceback_later: a process forked from this one would wait for its thread for ever.
    faulthandler.register(signal.SIGALRM, chain=True)
    signal.alarm(500)
    os.chdir(asked['cwd'])
    os.environ.clear()
    os.environ.update(asked['env'])
    sys.argv = asked['argv']
    sys.path[0] = os.path.dirname(os.path.abspath(sys.argv[0]))
    try:
        if sys.argv[0].endswith('.py'):
            runpy.run_path(sys.argv[0], run_name='__main__')
        else:
            runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
        return 1
    return 0


if __name__ == '__main__' and (asked := serve()):
    status = fulfil(asked)
    # What the interpreter does at its end, but for freeing all modules: that takes a second.
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
