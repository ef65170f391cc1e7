"""Values of a config whose type or range is wrong, such as a number that is still a text."""

import functools
import inspect
from contextlib import suppress
from typing import Any, Union, get_args, get_origin, get_type_hints

# The least value of settings that count something, wherever they are.
LEAST = dict(batch_size=1, num_workers=0, num_classes=1, max_epochs=1, val_interval=1)
NUMBERS = {int, float, bool, type(None)}
# Settings that are numbers although their annotations allow more.
ALWAYS_NUMBERS = {*LEAST, 'lr', 'weight_decay', 'momentum'}


def fault_of(name: str, value: Any, hint: Any) -> str:
    """Say what is wrong with a value; an empty text if nothing is.

    Only what cannot be meant is refused: a text where a number is expected, and a fraction where a
    whole number is. Annotations of other libraries are not always complete.

    Args:
        name (str): Name of the argument.
        value: What the config has.
        hint: Annotation of the argument, or None.
    """
    kinds = set(get_args(hint)) if get_origin(hint) is Union else {hint} - {None}
    if isinstance(value, str) and (name in ALWAYS_NUMBERS or kinds and kinds <= NUMBERS):
        return f'{value!r} is a text, not a number'
    if isinstance(value, float) and (name in LEAST or kinds and kinds <= NUMBERS - {float}):
        return f'{value!r} is not a whole number'
    if name in LEAST and type(value) in (int, float) and value < LEAST[name]:
        return f'{value!r} is too small; the least is {LEAST[name]}'
    return ''


@functools.lru_cache
def hints_of(part: Any) -> dict:
    """Annotations of the arguments of a class, its parents' included, or of a function."""
    owners = inspect.getmro(part) if inspect.isclass(part) else [part]
    found: dict = {}
    for owner in reversed(owners):
        function = vars(owner).get('__init__') if inspect.isclass(owner) else owner
        if inspect.isfunction(function):
            with suppress(NameError, TypeError):  # what the annotations name is not there
                found.update(get_type_hints(function))
    return found
