"""``python -m pan_mm doctor``: print what :mod:`pan_mm.doctor` finds."""

from pan_mm import doctor
from pan_mm.utils.terminal import print_table, say, status

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
        say(title, 'bold')
        print_table(rows or [('none',)])
        say('')

    with status('training one step of a small PAN model'):
        findings = doctor.examine()
    for finding in findings:
        say(f'{finding.level.upper()}: {finding.what}', STYLES[finding.level])
        say(f'  {finding.mend}\n')
    faults = sum(finding.level == 'fault' for finding in findings)
    if faults:
        say(f'Training cannot work: {faults} fault{"s" * (faults > 1)}, see above.', 'bold red')
        return 1
    say('Training works: one step of a small PAN model was run.', 'bold green')
    return 0
