"""``python -m pan_mm doctor``: print what :mod:`pan_mm.doctor` finds."""

from pan_mm import doctor
from pan_mm.utils.terminal import echo, print_table, status

STYLES = dict(fault='bold red', warning='yellow')


def add_arguments(parser):
    parser.epilog = 'example:\n  python -m pan_mm doctor'


def run(args):
    for title, rows in (
        ('Versions', doctor.versions()),
        ('Video decoders', doctor.decoders()),
        ('Accelerators', doctor.accelerators()),
        ('Active repairs of pan_mm.compat', doctor.repairs()),
    ):
        echo(title, 'bold')
        print_table(rows or [('none',)])
        echo('')

    with status('training one step of a small PAN model'):
        findings = doctor.examine()
    for finding in findings:
        echo(f'{finding.level.upper()}: {finding.what}', STYLES[finding.level])
        echo(f'  {finding.fix}\n')
    faults = sum(finding.level == 'fault' for finding in findings)
    if faults:
        echo(f'Training cannot work: {faults} fault{"s" * (faults > 1)}, see above.', 'bold red')
        return 1
    echo('Training works: one step of a small PAN model was run.', 'bold green')
    return 0
