"""Checkpoints of other layouts: the authors' files, and the streams of an ensemble."""

from .labels import class_names, label_permutation
from .merge import merge_streams
from .official import (
    convert_official_checkpoint,
    convert_official_state_dict,
    model_config,
    read_architecture,
)

__all__ = [
    'class_names',
    'convert_official_checkpoint',
    'convert_official_state_dict',
    'label_permutation',
    'merge_streams',
    'model_config',
    'read_architecture',
]
