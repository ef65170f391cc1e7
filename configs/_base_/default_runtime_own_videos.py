# For your own videos, on a processor or a GPU: the end of the training says what was learned.
_base_ = './default_runtime.py'

custom_hooks = [dict(type='ChannelsLastHook'), dict(type='VerdictHook')]
