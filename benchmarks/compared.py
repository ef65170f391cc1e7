"""Models that the pages compare, read from compared.yaml."""

from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = ROOT / 'configs' / 'recognition'
LABEL_MAP = ROOT / 'tools' / 'data' / 'utd_mhad' / 'label_map.txt'
_TABLES = yaml.safe_load(Path(__file__).with_suffix('.yaml').read_text(encoding='utf-8'))

# Names of configs by model.
MODELS = _TABLES['models']
MODELS_64 = _TABLES['models_64']
CANDIDATES_64 = _TABLES['candidates_64']
MODELS_MOTIONSHAPES = _TABLES['models_motionshapes']
MODELS_JHMDB = _TABLES['models_jhmdb']
MODELS_IMAGENET = _TABLES['models_imagenet']
ATTENTION = _TABLES['attention']
STREAMS = _TABLES['streams']  # models by stream
SPLITS_JHMDB = _TABLES['splits_jhmdb']
OPPOSITES = _TABLES['opposites']
PAIRS = _TABLES['pairs']
SAME_SETTINGS = _TABLES['same_settings']
