#!/usr/bin/env python3
"""Test a recognizer, with the options of MMAction2's test.py."""

from pan_mm.engine import run_tool

EXAMPLE = (
    'python tools/test.py '
    'pan-lite_r18_1xb16-4x1x8-4e_motionshapes-rgb.py latest.pth --dump scores.pkl'
)

if __name__ == '__main__':
    run_tool('test.py', EXAMPLE)
