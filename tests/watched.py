"""Runs a script; should its processes wait for one another for ever, each says where, and ends."""

import faulthandler
import runpy
import sys

faulthandler.dump_traceback_later(600, exit=True)
sys.argv.pop(0)
runpy.run_path(sys.argv[0], run_name='__main__')
