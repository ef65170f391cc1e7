#!/usr/bin/env python3
"""Train a recognizer, with the options of MMAction2's train.py."""

from pan_mm.engine import run_tool

EXAMPLE = 'python tools/train.py pan-lite_r18_1xb16-4x1x8-4e_motionshapes-rgb.py --seed 0'

if __name__ == '__main__':
    run_tool('train.py', EXAMPLE)
