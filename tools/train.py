#!/usr/bin/env python3
"""Train a recognizer, with the options of MMAction2's train.py."""

import sys

from pan_mm.engine import upstream_tool
from pan_mm.utils.errors import PANError


def main():
    try:
        upstream_tool('train.py').main()
    except PANError as error:
        sys.exit(f'error: {error}')


if __name__ == '__main__':
    main()
