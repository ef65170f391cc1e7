#!/usr/bin/env python3
"""Test a recognizer, with the options of MMAction2's test.py."""

from pan_mm.engine import run_tool

if __name__ == '__main__':
    run_tool('test.py')
