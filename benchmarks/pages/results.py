#!/usr/bin/env python3
"""Collect the results of finished runs, and write docs/results.md from what was collected.

    python -m benchmarks.pages.results WORK_DIR ... --records results/utd_mhad
    python -m benchmarks.pages.results

The first command leaves a small record of each run, the second makes the page and its pictures
from all records. Runs that are not finished, not tested, or of other data are named and left out.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import Optional

from benchmarks.ablations import OPTIONS
from benchmarks.compared import (
    CONFIGS,
    MODELS_64,
    MODELS_IMAGENET,
    MODELS_JHMDB,
    MODELS_R50,
    RECORDS,
    RECORDS_JHMDB,
    RECORDS_MOTIONSHAPES,
    ROOT,
    SPLITS_JHMDB,
)
from benchmarks.markdown import fill, table, write_page
from benchmarks.records.by_model import results_by_model
from benchmarks.records.collect import collect_run
from benchmarks.records.records import Record, read_records
from benchmarks.records.runs import ReportError, read_run

from .evidence import (
    MOTION,
    RIVALS,
    ensemble_rows,
    loss_rows,
    schedule_rows,
    split_rows,
    subject_rows,
)
from .result_pictures import best_model, write_pictures
from .result_tables import (
    NONE,
    ablation_commands,
    ablation_table,
    main_table,
    not_run,
    order_table,
    run_table,
    runs_table,
    splits_table,
    ties,
)

COMMAND = 'python -m benchmarks.pages.results'
HEADER = f"""<!-- Written by `{COMMAND}` from results.md.in and results;
edit those. -->
"""


def page(
    template: str,
    records: Sequence[Record],
    motionshapes: Sequence[Record],
    jhmdb: Sequence[Record],
    problems: Sequence[str],
) -> str:
    """Text of docs/results.md, of records of UTD-MHAD, MotionShapes and JHMDB."""
    found, missing = results_by_model(records)
    found_64, missing_64 = results_by_model(records, MODELS_64)
    swapped, missing_swapped = results_by_model(records, MODELS_64, 'swap')
    both = {model: [*found_64[model], *swapped[model]] for model in MODELS_64}
    by_split = {
        name: results_by_model(jhmdb, MODELS_JHMDB, split)[0]
        for name, split in SPLITS_JHMDB.items()
    }
    jhmdb_dev = [record for record in jhmdb if record.info['split'] == 'dev']
    found_imagenet, missing_imagenet = results_by_model(records, MODELS_IMAGENET)
    found_r50, missing_r50 = results_by_model(records, MODELS_R50)
    longer = {n: results_by_model(records, MODELS_64, epochs=n)[0] for n in (60, 120)}
    best = best_model(found)

    def picture(name, what):
        return f'![{what}](results/{name}.png)' if best else NONE

    sections = {
        'MAIN': main_table(found),
        'MISSING': not_run(missing),
        'SUBJECTS': table(*subject_rows(found)),
        'LOSSES': table(*loss_rows(found)),
        'SCHEDULES': table(*schedule_rows({30: found_64, **longer})),
        'SCHEDULE_DIFFERENCES': table(*subject_rows(longer[120], MOTION)),
        'SMALL': main_table(found_64),
        'MISSING_SMALL': not_run(missing_64) if any(found_64.values()) else '',
        'SWAPPED': main_table(swapped),
        'MISSING_SWAPPED': not_run(missing_swapped) if any(swapped.values()) else '',
        'RIVALS': table(*subject_rows(both, RIVALS)) if any(both.values()) else NONE,
        'COST': picture('cost', 'top-1 against GMACs'),
        'ENSEMBLES': table(*ensemble_rows(found)),
        'JHMDB': splits_table(by_split),
        'JHMDB_DIFFERENCES': table(*split_rows(by_split)),
        'JHMDB_DEV': ablation_table(jhmdb_dev),
        'IMAGENET': main_table(found_imagenet),
        'MISSING_IMAGENET': not_run(missing_imagenet) if any(found_imagenet.values()) else '',
        'IMAGENET_DIFFERENCES': table(*subject_rows(found_imagenet, MOTION)),
        'R50': main_table(found_r50),
        'MISSING_R50': not_run(missing_r50) if any(found_r50.values()) else '',
        'PROBLEMS': '\n'.join(f'- Left out: {problem}' for problem in problems),
        'ORDER': order_table(found),
        'CLASSES': picture('classes', 'accuracy of each class'),
        'CONFUSION': picture('confusion', f'confusion matrix of {best}'),
        'CURVES': picture('curves', 'training loss'),
        'ABLATIONS': ablation_table(records),
        'ABLATIONS_MOTIONSHAPES': ablation_table(motionshapes),
        'ABLATION_COMMANDS': ablation_commands(),
        'OPTION_COMMANDS': ablation_commands(OPTIONS),
        'TIES': ties([*records, *motionshapes, *jhmdb]),
        'RUNS': runs_table([*records, *motionshapes, *jhmdb]),
    }
    return HEADER + fill(template, sections)


def collect(args: argparse.Namespace) -> list:
    """From work_dirs to records and a table; returns what was left out."""
    runs, problems = [], []
    for work_dir in args.work_dirs:
        try:
            runs.append(read_run(work_dir))
            if args.records:
                print(collect_run(work_dir, args.records, CONFIGS, args.machine))
        except (ReportError, OSError) as error:
            problems.append(str(error))
    if runs:
        print(run_table(runs))
    return problems


def write(check: bool) -> list:
    """docs/results.md and its pictures; returns what was left out."""
    records, problems = read_records(RECORDS, CONFIGS)
    motionshapes, others = read_records(RECORDS_MOTIONSHAPES, CONFIGS)
    jhmdb, of_jhmdb = read_records(RECORDS_JHMDB, CONFIGS)
    problems += others + of_jhmdb
    docs = ROOT / 'docs'
    template = (docs / 'results.md.in').read_text(encoding='utf-8')
    text = page(template, records, motionshapes, jhmdb, problems)
    write_page(docs / 'results.md', text, COMMAND, check)
    if not check:
        write_pictures(records, docs / 'results')
    return problems


def main(argv: Optional[list] = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('work_dirs', nargs='*', help='folders of runs, trained and tested')
    parser.add_argument('--records', help='folder that gets a record of each run')
    parser.add_argument('--machine', help='what they ran on, such as "2 cores of ..."')
    parser.add_argument(
        '--check', action='store_true', help='write nothing, fail if docs/results.md is stale'
    )
    args = parser.parse_args(argv)
    if args.records and not args.work_dirs:
        parser.error('--records needs the work_dirs of runs')
    problems = collect(args) if args.work_dirs else write(args.check)
    for problem in problems:
        print(f'left out: {problem}', file=sys.stderr)
    if problems:
        sys.exit(1)


if __name__ == '__main__':
    main()
