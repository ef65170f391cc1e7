# PA's maps batch-normalized to a standard deviation of one; a leaf config may give other cues.
_base_ = '../../../../configs/_base_/models/pan_r18.py'

cues = [dict(type='PersistenceOfAppearance', init_std=0.1)]
cues = dict(_delete_=True, type='MotionCues', cues=cues, norm_scale=1.0)
model = dict(backbone=dict(motion_cue=cues))
