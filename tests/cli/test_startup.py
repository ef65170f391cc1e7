"""What is left out at the start is there for who asks for it."""

import subprocess
import sys

import pytest


@pytest.mark.slow
def test_what_was_left_out_can_be_imported():
    script = (
        'import sys\n'
        'from pan_mm.cli.startup import lean_imports\n'
        'with lean_imports():\n'
        '    import mmaction.datasets.transforms.pose_transforms as pose, pan_mm.cli.predict\n'
        "late = {'scipy.stats', 'torch.distributed.fsdp', 'sympy', 'timm', 'ray', 'pyarrow'}\n"
        'assert not late & sys.modules.keys(), late & sys.modules.keys()\n'
        'print(*pose.get_mode([3, 1, 3]))\n'
        'from scipy.stats import linregress\n'
        'from mmengine.model.wrappers.fully_sharded_distributed import MMFullyShardedDataParallel\n'
        'print(MMFullyShardedDataParallel.__name__)\n'
    )
    command = [sys.executable, '-W', 'ignore', '-c', f'import pan_mm\n{script}']
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout == '[3] [2]\nMMFullyShardedDataParallel\n', done.stderr


def test_a_folder_of_the_same_name(tmp_path):
    (tmp_path / 'pan_mm').mkdir()  # a clone, whose package Python does not see from here
    command = [sys.executable, '-W', 'ignore', '-m', 'pan_mm', '--version']
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    if done.returncode:  # of an editable installation
        folder = tmp_path / 'pan_mm'
        assert done.stderr == f'{folder} hides the package; change into it, or type pan_mm\n'
