"""Models that the pages compare, read from compared.yaml."""

from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = ROOT / 'configs' / 'recognition'
LABEL_MAP = ROOT / 'tools' / 'data' / 'utd_mhad' / 'label_map.txt'
LABEL_MAP_EGOGEST = ROOT / 'tools' / 'data' / 'egogest' / 'label_map.txt'
_TABLES = yaml.safe_load(Path(__file__).with_suffix('.yaml').read_text(encoding='utf-8'))

# Names of configs by model.
MODELS = _TABLES['models']
MODELS_64 = _TABLES['models_64']
CANDIDATES_64 = _TABLES['candidates_64']
MODELS_MOTIONSHAPES = _TABLES['models_motionshapes']
MODELS_JHMDB = _TABLES['models_jhmdb']
MODELS_EGOGEST = _TABLES['models_egogest']
MODELS_IMAGENET = _TABLES['models_imagenet']
ATTENTION = _TABLES['attention']
STREAMS = _TABLES['streams']  # models by stream
SPLITS_JHMDB = _TABLES['splits_jhmdb']
SPLITS_EGOGEST = _TABLES['splits_egogest']
CLASSES_EGOGEST = _TABLES['classes_egogest']
OPPOSITES = _TABLES['opposites']
OPPOSITES_EGOGEST = _TABLES['opposites_egogest']
PAIRS = _TABLES['pairs']
PAIRS_EGOGEST = _TABLES['pairs_egogest']
SAME_SETTINGS = _TABLES['same_settings']
