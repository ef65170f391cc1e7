#!/usr/bin/env python3
"""Change PA, VAP and the sampler in every small way, and see whether a fast test notices.

    python tests/mutate_values.py results/reliability.json

cosmic-ray makes the mutants, in a copy of this checkout without the authors' numbers beside it.
Each is tested in a fork of this process, which has imported what pan_mm imports. The file gets the
numbers of mutants made and noticed, and the others with the reason; it ends with an error if one of
these is not in EXCEPTIONS.
"""

import json
import os
import shutil
import signal
import sys
import tempfile
from collections import Counter
from pathlib import Path

import mmaction.registry  # noqa: F401  in each fork
import mmcv.transforms  # noqa: F401
import mmengine.runner  # noqa: F401
import pytest
import torch
from cosmic_ray.commands.init import init
from cosmic_ray.mutating import use_mutation
from cosmic_ray.plugins import get_operator
from cosmic_ray.work_db import WorkDB, use_db

ROOT = Path(__file__).resolve().parents[1]
MODULES = (
    'pan_mm/ops/reference.py',
    'pan_mm/models/aggregation.py',
    'pan_mm/models/persistence.py',
    'pan_mm/datasets/sampling.py',
)
TESTS = (
    'tests/ops/test_reference.py',
    'tests/models/test_aggregation.py',
    'tests/models/test_persistence.py',
    'tests/datasets/test_sampling.py',
)
SECONDS = 120  # of a mutant that does not end
CONVOLUTION = 'reference.py: features = F.conv2d(differences, weight, padding=int({}) // 2)'
# Mutants that change no number.
EXCEPTIONS = {
    CONVOLUTION.format('weight.shape[- 2]'): 'filters are square',
    CONVOLUTION.format('weight.shape[~1]'): 'filters are square',
    'aggregation.py: nn.ReLU(inplace=False),': 'the same numbers in other memory',
    'aggregation.py: if num_segments < 2 or num_segments & (num_segments - 2):': 'alike from 2 on',
    'sampling.py: if num_frames > self.num_clips and num_starts > 1:': 'one start is the first',
    'persistence.py: if kernel_size % 2 <= 0:': 'the rest of a division is not negative',
    'persistence.py: std = self.std if frames.dtype is torch.uint8 else None': 'one object',
}


def is_noticed() -> bool:
    """Run the tests in a fork; true if one fails, or they do not end."""
    pid = os.fork()
    if not pid:
        signal.alarm(SECONDS)
        torch.set_num_threads(1)
        with open(os.devnull, 'w') as null:
            os.dup2(null.fileno(), 1)
            os.dup2(null.fileno(), 2)
        os._exit(pytest.main(['-x', '-q', '-p', 'no:cacheprovider', *TESTS]))
    return os.waitpid(pid, 0)[1] != 0


def mutants() -> list:
    """All mutants of the modules."""
    with use_db(':memory:', WorkDB.Mode.create) as db:
        init(list(map(Path, MODULES)), db, {})
        return [item.mutations[0] for item in db.work_items]


def change(code: str, mutated: str) -> str:
    """The first line that differs, as it was changed to, or that it was removed."""
    old, new = code.splitlines(), mutated.splitlines()
    line = next(number for number, pair in enumerate(zip(old, new)) if len(set(pair)) == 2)
    return new[line].strip() if len(new) == len(old) else f'without {old[line].strip()}'


def main(path: str) -> None:
    out = Path(path).resolve()
    with tempfile.TemporaryDirectory() as folder:
        for part in ('pan_mm', 'tests', 'configs', 'pyproject.toml'):
            copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
            copy(ROOT / part, Path(folder, part))
        os.chdir(folder)
        sys.dont_write_bytecode = True
        if is_noticed():
            raise SystemExit('the tests fail without a change')
        made, survived = Counter(), []
        for mutant in mutants():
            operator = get_operator(mutant.operator_name)(**mutant.operator_args)
            module = str(mutant.module_path)
            made[module] += 1
            with use_mutation(mutant.module_path, operator, mutant.occurrence) as (code, mutated):
                if not is_noticed():
                    survived.append(f'{mutant.module_path.name}: {change(code, mutated)}')
                    print(survived[-1], flush=True)
    from pan_mm.utils.files import write_text  # not before the last fork: each imports its mutant

    rows = [dict(mutant=name, reason=EXCEPTIONS.get(name)) for name in sorted(set(survived))]
    report = json.loads(out.read_text('utf-8')) if out.exists() else {}
    report['mutants'] = dict(made=dict(made), noticed=made.total() - len(survived), others=rows)
    write_text(out, json.dumps(report, indent=1, ensure_ascii=False) + '\n')
    if missing := [row['mutant'] for row in rows if not row['reason']]:
        raise SystemExit('not noticed:\n' + '\n'.join(missing))


if __name__ == '__main__':
    main(*sys.argv[1:])
