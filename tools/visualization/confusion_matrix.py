#!/usr/bin/env python3
"""Draw a confusion matrix, with the options of MMAction2's confusion_matrix.py."""

from pan_mm.engine import run_tool

if __name__ == '__main__':
    run_tool('confusion_matrix.py')
