"""The order of classes in the authors' files and in MMAction2's annotations.

The authors' scripts for Something-Something V1 and Jester number the classes by their sorted
names; MMAction2 numbers them by their place in the official CSV file, which is the order of
``label_map.txt``. For Something-Something V2 both keep the numbers of the official file.
"""

from collections.abc import Sequence
from pathlib import Path

LABEL_ORDERS = ('sthv1', 'jester')


def class_names(dataset: str) -> list:
    """List the names of the classes of 'sthv1' or 'jester' in MMAction2's order.

    Raises:
        ValueError: If the dataset is another one.
        FileNotFoundError: If the project's tools, which hold the lists, are not installed.
    """
    if dataset not in LABEL_ORDERS:
        raise ValueError(f'label order must be one of {", ".join(LABEL_ORDERS)}, got {dataset!r}')
    package = Path(__file__).parents[1]
    installed, checkout = package / '.mim' / 'tools', package.parent / 'tools'
    tools = installed if installed.is_dir() else checkout
    path = tools / 'data' / dataset / 'label_map.txt'
    return path.read_text(encoding='utf-8').splitlines()


def label_permutation(names: Sequence) -> list:
    """Find the place of each class of ``names`` in the authors' order.

    Args:
        names (Sequence[str]): Class names in the wanted order, each once.

    Returns:
        list[int]: ``weight[label_permutation(names)]`` has the authors' classifier rows in the
        order of ``names``.

    Example:
        >>> label_permutation(['Up', 'Down', 'Left'])  # the authors: Down, Left, Up
        [2, 0, 1]
    """
    authors = sorted(names)
    return [authors.index(name) for name in names]
