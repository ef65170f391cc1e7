"""What a file of ``torch.export`` may hold, so that loading it runs no code from it.

``torch.export.load`` unpickles what it finds, one way or the other. The graph is code as well:
SymPy evaluates the sizes as Python, guards are executed, operators and enumerations are looked up
by dotted names, through any module. So a file may hold only what ``python -m pan_mm export``
writes: arrays, pickles that are data, and a graph of PyTorch's own operators on tensors.
"""

import io
import json
import re
from typing import Any

import torch
from torch._ops import OpOverload

from pan_mm.utils.checkpoint import check_archive, load_data
from pan_mm.utils.errors import CheckpointError

# PyTorch 2.8 keeps all weights in one model.pt; later ones list them, each in an entry of its own.
ENTRY = re.compile(
    r'[^/]+/(archive_format|archive_version|byteorder|\.data/\w+|extra/pan_mm|models/model\.json|'
    r'data/(sample_inputs|weights|constants)/model\.pt|'
    r'data/(weights|constants)/(model_\w+_config\.json|(weight|tensor)_\d+))'
)
# Arithmetic of symbols and integers: no other name, no attribute, no power.
EXPRESSION = re.compile(
    r"Symbol\('[su]\d+'(, (positive|nonnegative|integer)=True)*\)|\b[su]\d+\b|\b\d{1,18}\b|"
    r'\b(Integer|Add|Mul|Max|Min|Mod|PythonMod|FloorDiv|CleanDiv)\b|//|[-+*(), ]'
)
PYTHON_OPERATOR = re.compile(
    r'_operator\.(add|sub|mul|truediv|floordiv|mod|neg|getitem|eq|ne|lt|le|gt|ge)|'
    r'torch\.sym_(max|min|int|float|not)'
)
TENSOR_OPERATOR = re.compile(r'torch\.ops\.aten\.(\w+)\.(\w+)')
# Graphs within the graph, operators as arguments, objects of classes written in C++.
FORBIDDEN = {'as_graph', 'as_operator', 'as_custom_obj', 'custom_obj'}


def check_program(content: bytes, source: str) -> None:
    """Refuse a ``.pt2`` file that could run code when it is loaded or called.

    A graph that is let through may still ask for any amount of time and memory.

    Args:
        content (bytes): The file.
        source (str): Its name, for the error.

    Raises:
        CheckpointError: If anything in it is not data, or its zip is damaged.
    """
    try:
        _check_entries(check_archive(io.BytesIO(content), source), source)
    except CheckpointError:
        raise
    except Exception as error:  # from the zip, from JSON, or from misplaced entries
        raise CheckpointError(
            f'{source} is not a file of torch.export, or is damaged ({type(error).__name__}: '
            f'{error})'
        ) from error


def _check_entries(archive, source):
    for name in archive.namelist():
        if not ENTRY.fullmatch(name):
            raise CheckpointError(
                f'{source} was refused: it holds {name!r}, which `python -m pan_mm export` does '
                'not write and which could run code'
            )
        if name.endswith('/model.pt'):
            load_data(io.BytesIO(archive.read(name)), f'{source}, {name}')
        elif name.endswith('_config.json'):
            for item in json.loads(archive.read(name))['config'].values():
                if item['use_pickle']:
                    pickled = f'{name.rpartition("/")[0]}/{item["path_name"]}'
                    load_data(io.BytesIO(archive.read(pickled)), f'{source}, {pickled}')
        elif name.endswith('/models/model.json'):
            _check_graph(json.loads(archive.read(name)), source)


def _check_graph(node: Any, source: str) -> None:
    pairs = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in pairs:
        if not _allowed(key, value):
            raise CheckpointError(
                f'{source} was refused: its graph has {str(value)[:80]!r} as {key!r}, which could '
                'run code'
            )
        if isinstance(value, (dict, list)):
            _check_graph(value, source)


def _allowed(key, value):
    if key == 'expr_str':
        return not EXPRESSION.sub('', value) and '**' not in value
    if key == 'target':
        return _is_operator(value)
    if key == 'guards_code':
        return not value
    if key == 'range_constraints':
        return all(re.fullmatch(r'[su]\d+', symbol) for symbol in value)
    if key in ('in_spec', 'out_spec'):  # an escape could hide the mark of an enumeration
        return '__enum__' not in value and '\\u' not in value
    return key not in FORBIDDEN


def _is_operator(target):
    if PYTHON_OPERATOR.fullmatch(target):
        return True
    found = TENSOR_OPERATOR.fullmatch(target)
    packet = getattr(torch.ops.aten, found.group(1), None) if found else None
    operator = getattr(packet, found.group(2), None) if found else None
    return isinstance(operator, OpOverload) and all(
        argument.name != 'filename' for argument in operator._schema.arguments
    )
