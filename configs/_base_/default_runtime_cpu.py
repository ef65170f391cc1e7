# For training on a processor.
_base_ = './default_runtime_no_val.py'

custom_hooks = [dict(type='ChannelsLastHook')]
