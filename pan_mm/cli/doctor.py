"""``python -m pan_mm doctor``: print what :mod:`pan_mm.doctor` finds."""

import textwrap

from pan_mm import doctor


def add_arguments(parser):
    pass


def run(args):
    for title, rows in (
        ('Versions', doctor.versions()),
        ('Video decoders', doctor.decoders()),
        ('Accelerators', doctor.accelerators()),
    ):
        print(title)
        columns = list(zip(*rows)) or [()]
        widths = [max(map(len, column), default=0) for column in columns]
        for row in rows or [('none',)]:
            print(' ', '  '.join(map(str.ljust, row, widths)).rstrip())
        print(flush=True)

    print('Active repairs of pan_mm.compat')
    for name, reason, until in doctor.repairs() or [('none', '', '')]:
        print(f'  {name}')
        for line in filter(None, (reason, until and f'until {until}')):
            print(textwrap.fill(line, 96, initial_indent=' ' * 4, subsequent_indent=' ' * 4))
    print(flush=True)

    findings = doctor.examine()
    for finding in findings:
        print(f'{finding.level.upper()}: {finding.what}\n  {finding.mend}\n')
    faults = sum(finding.level == 'fault' for finding in findings)
    if faults:
        print(f'Training cannot work: {faults} fault{"s" * (faults > 1)}, see above.')
        return 1
    print('Training works: one step of a small PAN model was run.')
    return 0
