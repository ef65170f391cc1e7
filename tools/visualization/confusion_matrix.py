#!/usr/bin/env python3
"""Draw a confusion matrix, with the options of MMAction2's confusion_matrix.py."""

from pan_mm.engine import run_tool

EXAMPLE = (
    'python tools/visualization/confusion_matrix.py '
    'pan-lite_r18_1xb16-4x1x8-4e_motionshapes-rgb.py scores.pkl --show-path confusion.png'
)

if __name__ == '__main__':
    run_tool('confusion_matrix.py', EXAMPLE)
