_base_ = '../../../../configs/_base_/default_runtime_cpu.py'
custom_imports = dict(imports=['pan_mm', 'projects.motion_cues'])
