#!/usr/bin/env python3
"""Train a recognizer, with the options of MMAction2's train.py."""

from pan_mm.engine import run_tool

if __name__ == '__main__':
    run_tool('train.py')
