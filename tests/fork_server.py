"""Runs scripts, each in a process forked from this one, which has imported what takes seconds.

Reads requests from standard input, a line of JSON each: ``argv`` (the script first), ``cwd``,
``env`` and ``out``, the file that gets both outputs' text as ``out`` and ``out.err``. Answers each
with a line that holds the exit status.
"""

import json
import os
import runpy
import sys

import matplotlib.pyplot  # noqa: F401
import mmaction.apis  # noqa: F401
import mmengine.runner  # noqa: F401
from mmaction.utils import register_all_modules

import pan_mm.datasets
import pan_mm.engine
import pan_mm.models  # noqa: F401

register_all_modules(init_default_scope=False)


def redirect(number, path, flags):
    file = os.open(path, flags | os.O_CREAT)
    os.dup2(file, number)
    os.close(file)


def serve():
    """Answer requests; returns one in the process that is to fulfil it."""
    for line in sys.stdin:
        request = json.loads(line)
        pid = os.fork()
        if not pid:
            return request
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)
    return None


if __name__ == '__main__' and (asked := serve()):
    redirect(0, os.devnull, os.O_RDONLY)
    redirect(1, asked['out'], os.O_WRONLY | os.O_TRUNC)
    redirect(2, f'{asked["out"]}.err', os.O_WRONLY | os.O_TRUNC)
    os.chdir(asked['cwd'])
    os.environ.clear()
    os.environ.update(asked['env'])
    sys.argv = asked['argv']
    sys.path[0] = os.path.dirname(os.path.abspath(sys.argv[0]))
    if sys.argv[0].endswith('.py'):
        runpy.run_path(sys.argv[0], run_name='__main__')
    else:
        runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)
