"""Models that the pages compare, by the names of their configs."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = ROOT / 'configs' / 'recognition'
MODELS = {
    'TSN': 'tsn_r18_1xb16-1x1x8-30e_utd-mhad-depth',
    'TSM': 'tsm_r18_1xb16-1x1x8-30e_utd-mhad-depth',
    'TANet, ResNet-50': 'tanet_r50_1xb16-1x1x8-30e_utd-mhad-depth',
    'SlowOnly': 'slowonly_r18_1xb16-8x1-30e_utd-mhad-depth',
    'PAN RGB': 'pan-rgb_r18_1xb16-1x1x8-30e_utd-mhad-depth',
    'Differences': 'pan-difference_r18_1xb16-4x1x8-30e_utd-mhad-depth',
    'PAN PA': 'pan-pa_r18_1xb16-4x1x8-30e_utd-mhad-depth',
    'PAN PA, square roots': 'pan-pa-sqrt_r18_1xb16-4x1x8-30e_utd-mhad-depth',
    'PAN Lite': 'pan-lite_r18_1xb16-4x1x8-30e_utd-mhad-depth',
    'Lite with differences': 'pan-lite-difference_r18_1xb16-4x1x8-30e_utd-mhad-depth',
    'PAN Lite after MotionShapes': (
        'pan-lite_motionshapes-pretrained-r18_1xb16-4x1x8-30e_utd-mhad-depth'
    ),
    'PAN Full': 'pan-full_r18_4x1x8_utd-mhad-depth',
    'PAN En': 'pan-en_r18_4x1x8_utd-mhad-depth',
}
MODELS_64 = {
    'TSN': 'tsn_r18_1xb16-1x1x8-30e-64px_utd-mhad-depth',
    'TSM': 'tsm_r18_1xb16-1x1x8-30e-64px_utd-mhad-depth',
    'TSM, 4 × 8 frames': 'tsm_r18_1xb16-1x1x8-4view-30e-64px_utd-mhad-depth',
    'TSM, 32 frames': 'tsm_r18_1xb16-1x1x32-30e-64px_utd-mhad-depth',
    "TSM with VAP's dropout": 'tsm-dropout_r18_1xb16-1x1x8-30e-64px_utd-mhad-depth',
    'TSM with maximum': 'tsm-max_r18_1xb16-1x1x8-30e-64px_utd-mhad-depth',
    'PAN RGB': 'pan-rgb_r18_1xb16-1x1x8-30e-64px_utd-mhad-depth',
    'Stack': 'pan-stack_r18_1xb16-4x1x8-30e-64px_utd-mhad-depth',
    'Differences': 'pan-difference_r18_1xb16-4x1x8-30e-64px_utd-mhad-depth',
    'Signed differences': 'pan-signed-difference_r18_1xb16-4x1x8-30e-64px_utd-mhad-depth',
    'PAN PA': 'pan-pa_r18_1xb16-4x1x8-30e-64px_utd-mhad-depth',
    'PAN PA, square roots': 'pan-pa-sqrt_r18_1xb16-4x1x8-30e-64px_utd-mhad-depth',
    'PAN Lite': 'pan-lite_r18_1xb16-4x1x8-30e-64px_utd-mhad-depth',
    'Lite with differences': 'pan-lite-difference_r18_1xb16-4x1x8-30e-64px_utd-mhad-depth',
    'PAN Lite, distilled': 'pan-lite_r18_1xb16-distilled-4x1x8-30e-64px_utd-mhad-depth',
    'PAN Full': 'pan-full_r18_4x1x8-64px_utd-mhad-depth',
    'PAN En': 'pan-en_r18_4x1x8-64px_utd-mhad-depth',
}
# They meet the test split only if they are chosen on the dev split.
CANDIDATES_64 = {
    'PAN PA, normalized': 'pan-pa-norm_r18_1xb16-4x1x8-30e-64px_utd-mhad-depth',
    'PAN PA, two scales': 'pan-pa-scales_r18_1xb16-4x1x8-30e-64px_utd-mhad-depth',
    'PAN PA, signed': 'pan-pa-signed_r18_1xb16-4x1x8-30e-64px_utd-mhad-depth',
    'TSM, RandAugment': 'tsm_r18_1xb16-randaugment-1x1x8-30e-64px_utd-mhad-depth',
    'PAN Lite, RandAugment': 'pan-lite_r18_1xb16-randaugment-4x1x8-30e-64px_utd-mhad-depth',
}
# PA as attention, on UTD-MHAD and MotionShapes.
ATTENTION = (
    'pan-attention_r18_1xb16-4x1x8-30e_utd-mhad-depth',
    'pan-attention_r18_1xb16-4x1x8-4e_motionshapes-rgb',
)
MODELS_MOTIONSHAPES = {
    'PAN Lite': 'pan-lite_r18_1xb16-4x1x8-4e_motionshapes-rgb',
    'TSM': 'tsm_r18_1xb16-1x1x8-4e_motionshapes-rgb',
    'TSN': 'tsn_r18_1xb16-1x1x8-4e_motionshapes-rgb',
}
JHMDB = '_imagenet-pretrained-efficientnet-lite0_1xb16-{}x1x8-15e-112px_jhmdb-rgb'
MODELS_JHMDB = {
    'TSN': 'tsn' + JHMDB.format(1),
    'TSM': 'tsm' + JHMDB.format(1),
    'PAN RGB': 'pan-rgb' + JHMDB.format(1),
    'PAN PA': 'pan-pa' + JHMDB.format(4),
    'PAN Lite': 'pan-lite' + JHMDB.format(4),
    "PAN Lite, the paper's stem": 'pan-lite-mean' + JHMDB.format(4),
    'PAN Lite, motion from zero': 'pan-lite-zero-motion' + JHMDB.format(4),
    'Lite with differences': 'pan-lite-difference' + JHMDB.format(4),
    'TSM, RandAugment': 'tsm' + JHMDB.format('randaugment-1'),
    'PAN Lite, RandAugment': 'pan-lite' + JHMDB.format('randaugment-4'),
}
MODELS_IMAGENET = {
    model: MODELS_JHMDB[model].replace('jhmdb-rgb', 'utd-mhad-depth')
    for model in ('TSM', 'PAN RGB', 'PAN PA', 'PAN Lite')
}
SPLITS_JHMDB = {'split 1': 'test', 'split 2': 'split2', 'split 3': 'split3'}
STREAMS = {'rgb': 'PAN RGB', 'pa': 'PAN PA', 'lite': 'PAN Lite'}
LABEL_MAP = ROOT / 'tools' / 'data' / 'utd_mhad' / 'label_map.txt'
# Classes that are each other's reversal in time.
OPPOSITES = (
    ('swipe left', 'swipe right'),
    ('draw circle clockwise', 'draw circle counter-clockwise'),
    ('sit to stand', 'stand to sit'),
)
# The leads that are computed wherever both models have runs.
PAIRS = (
    ('TSM', 'TSN'),
    ('PAN RGB', 'TSM'),
    ('PAN Lite', 'TSM'),
    ('PAN Lite', 'PAN RGB'),
    ('PAN Lite', 'PAN PA'),
    ('PAN Lite', 'Lite with differences'),
    ('PAN Lite', "PAN Lite, the paper's stem"),
    ('PAN Lite', 'PAN Lite, motion from zero'),
    ('PAN PA', 'TSN'),
    ('PAN PA', 'TSM'),
    ('PAN PA', 'PAN RGB'),
    ('PAN PA', 'Differences'),
    ('PAN PA', 'Signed differences'),
    ('PAN PA', 'Stack'),
    ('PAN PA', 'TSM, 4 × 8 frames'),
    ('PAN PA', 'TSM, 32 frames'),
    ('PAN PA, square roots', 'PAN PA'),
    ('PAN PA, square roots', 'Differences'),
    ('PAN PA, square roots', 'Signed differences'),
    ('PAN Full', 'PAN Lite'),
    ('PAN Full', 'PAN PA'),
    ('PAN Lite, distilled', 'PAN Lite'),
    ('Differences', 'TSM'),
    ('TSM with maximum', 'TSM'),
    ('PAN RGB', 'TSM with maximum'),
    ("TSM with VAP's dropout", 'TSM'),
)
