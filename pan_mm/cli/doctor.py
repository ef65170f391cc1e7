"""``python -m pan_mm doctor``: print what :mod:`pan_mm.doctor` finds."""

from mmengine.device import get_device

from pan_mm import doctor
from pan_mm.utils.terminal import echo, print_table, status


def add_arguments(parser):
    parser.epilog = 'example:\n  python -m pan_mm doctor'


def run(args):
    for title, rows in (
        ('Versions', doctor.versions()),
        ('Video decoder', doctor.decoder()),
        ('Accelerators', doctor.accelerators()),
        ('Active repairs of pan_mm.compat', doctor.repairs()),
    ):
        echo(title, 'bold')
        print_table(rows or [('none',)])
        print()

    for warning in doctor.find_warnings():
        echo(f'WARNING: {warning}', 'yellow')
    device = get_device()
    with status(f'training one step of a small PAN model on {device}'):
        failure = doctor.try_training(device)
    if failure:
        echo(f'FAULT: a training step on {device} fails: {failure}', 'bold red')
        return 1
    echo(f'Training works: one step of a small PAN model was run on {device}.', 'bold green')
    return 0
