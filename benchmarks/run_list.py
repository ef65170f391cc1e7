"""Train and test a list of runs; started again, it continues where it stopped.

    python -m benchmarks.run_list benchmarks/utd_mhad_64px.yml --out work_dirs/matrix

The list is YAML: groups in the order in which they run, each of them configs x seeds.

    - configs: [tsn_r18_1xb16-1x1x8-30e-64px_utd-mhad-depth]   # names, or paths
      seeds: [0, 1]
      tag: lr2                                # optional, part of the runs' names
      options: {optim_wrapper.optimizer.lr: 0.002}             # optional, as for --cfg-options

Each run has a folder of its name in the output folder: the work_dir of tools/train.py with its
final checkpoint, the exact scores of one test of that checkpoint (scores.pkl, float32, with the
samples' names), the output of the processes (output.txt), and at the end finished.json with the
checkpoint's SHA-256. A run that has finished.json is never started again; one that was cut off
resumes from its last checkpoint. A run that fails is tried once more after all others.

To train several runs at a time, start the command several times: each takes the next run that no
other process has locked.
"""

import argparse
import contextlib
import fcntl
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Optional, Union

import yaml

from pan_mm.utils.files import atomic_write

ROOT = Path(__file__).resolve().parents[1]
GROUP_KEYS = {'configs', 'seeds', 'tag', 'options'}


class ListError(ValueError):
    """A list of runs, or what an output folder holds of it, is not sound."""


class Run(NamedTuple):
    """One training and its test."""

    name: str
    config: str  # path below ROOT
    seed: int
    options: dict

    def command(self, tool: str, *words: str) -> list:
        """Command line of a tool of tools/ for this run."""
        options = [f'{k}={str(v).replace(" ", "")}' for k, v in self.options.items()]
        options = ['--cfg-options', *options] if options else []
        return [sys.executable, f'tools/{tool}', self.config, *words, *options]


def read_list(path: Union[str, Path]) -> list:
    """Read a list of runs.

    Raises:
        ListError: Naming the group and its fault.
    """
    try:
        groups = yaml.safe_load(Path(path).read_text(encoding='utf-8'))
    except (OSError, yaml.YAMLError) as error:
        raise ListError(f'{path} cannot be read: {error}') from error
    if not isinstance(groups, list) or not groups:
        raise ListError(f'{path} must hold a list of groups, each with configs and seeds')
    runs: dict = {}
    for number, group in enumerate(groups, 1):
        for run in _runs_of_group(group, f'{path}, group {number}'):
            if run.name in runs:
                raise ListError(
                    f'{path}, group {number}: {run.name} is there twice; give the group a tag'
                )
            runs[run.name] = run
    return list(runs.values())


def _runs_of_group(group: dict, place: str) -> Iterator[Run]:
    if not isinstance(group, dict) or not group.keys() >= {'configs', 'seeds'}:
        raise ListError(f'{place} needs configs and seeds')
    if unknown := sorted(group.keys() - GROUP_KEYS):
        raise ListError(f'{place} has {", ".join(unknown)}; it takes {", ".join(GROUP_KEYS)}')
    options = group.get('options') or {}
    for key, kind in (('configs', str), ('seeds', int)):
        values = group[key]
        if not isinstance(values, list) or not all(type(v) is kind for v in values):
            raise ListError(f'{place}: {key} must be a list of {kind.__name__}, got {values!r}')
    if not isinstance(options, dict):
        raise ListError(f'{place}: options must be a mapping, got {options!r}')
    tag = f'_{group["tag"]}' if group.get('tag') else ''
    for seed in group['seeds']:
        for config in group['configs']:
            path = _find_config(config, place)
            yield Run(f'{path.stem}{tag}_seed{seed}', str(path.relative_to(ROOT)), seed, options)


def _find_config(name, place):
    folders = ('configs', 'projects')
    paths = [path for folder in folders for path in sorted((ROOT / folder).rglob(f'{name}.py'))]
    paths = [ROOT / name] if name.endswith('.py') else paths
    if not paths or not paths[0].is_file():
        raise ListError(f'{place}: there is no config {name}')
    return paths[0]


def sha256(path: Path) -> str:
    """Compute the SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open('rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _write_json(path, content):
    with atomic_write(path) as part:
        Path(part).write_text(json.dumps(content, indent=2) + '\n', encoding='utf-8')


def _commit():
    command = ['git', 'describe', '--always', '--dirty', '--abbrev=40']
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip() or None


def _top1(folder):
    """Percent that the latest test logged."""
    for path in sorted(folder.glob('*/*.json'), reverse=True):
        lines = path.read_text(encoding='utf-8').splitlines()
        found = [json.loads(line) for line in lines if 'acc/top1' in line]
        if found:
            return round(100 * found[-1]['acc/top1'], 2)
    return None


class Failed(RuntimeError):
    """A process of a run ended with an error."""


def check_folders(runs: Sequence[Run], out: Path) -> None:
    """Refuse an output folder that holds a run of the same name with other settings.

    Raises:
        ListError: Naming the folder.
    """
    for run in runs:
        path, own = out / run.name / 'run.json', json.loads(json.dumps(_settings(run)))
        before = json.loads(path.read_text(encoding='utf-8')) if path.is_file() else own
        if {key: before[key] for key in own} != own:
            raise ListError(
                f'{out / run.name} was begun with other settings ({before}); remove it, or give '
                'the group another tag'
            )


def work(runs: Sequence[Run], out: Path, nice: int = 19) -> list:
    """Do all runs that are not finished, and wait for runs of other processes.

    SIGTERM and Ctrl-C end the process that was started here and leave its run resumable.

    Args:
        runs (Sequence[Run]): In the order in which they start.
        out (Path): Gets a folder for each run.
        nice (int): How much the runs give way to other work, 0 to 19. Defaults to 19.

    Returns:
        list[Run]: Those that failed twice.
    """
    failures: Counter = Counter()
    todo = [run for run in runs if not is_finished(run, out)]
    echo(f'{len(runs) - len(todo)} of {len(runs)} runs are finished')
    while todo:
        found = None
        for run in sorted(todo, key=lambda run: failures[run.name]):
            with _claimed(out / run.name) as claim:
                if claim is None:
                    continue
                found = run
                try:
                    if not is_finished(run, out):
                        _train_and_test(run, out / run.name, claim, nice)
                except Failed as error:
                    failures[run.name] += 1
                    echo(f'{run.name} failed: {error}')
                break
        if found is None:
            time.sleep(1)  # all that is left is running in other processes
        todo = [r for r in todo if failures[r.name] < 2 and not is_finished(r, out)]
    return [run for run in runs if failures[run.name] == 2]


def is_finished(run: Run, out: Path) -> bool:
    """Return True if a run was trained and tested."""
    return (out / run.name / 'finished.json').is_file()


@contextlib.contextmanager
def _claimed(folder):
    """Lock a run, or yield None; its processes inherit the lock, so a killed runner's keep it."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / '.lock', 'w') as claim:
        try:
            fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            claim = None
        yield claim


def _train_and_test(run, folder, claim, nice):
    resumed = any(folder.glob('epoch_*.pth'))
    begun = time.monotonic()
    echo(f'{run.name}: {"resumes" if resumed else "starts"}')
    _write_json(folder / 'run.json', dict(_settings(run), commit=_commit()))
    words = ['--work-dir', str(folder), '--seed', str(run.seed)]
    words += ['--resume'] if resumed else []
    _call(run.command('train.py', *words), folder, claim, nice)
    checkpoint = folder / Path((folder / 'last_checkpoint').read_text().strip()).name
    words = [str(checkpoint), '--work-dir', str(folder), '--dump', str(folder / 'scores.pkl')]
    _call(run.command('test.py', *words), folder, claim, nice)
    finished = dict(
        checkpoint=checkpoint.name,
        sha256=sha256(checkpoint),
        scores='scores.pkl',
        top1=_top1(folder),
        seconds=round(time.monotonic() - begun),
        resumed=resumed,
    )
    _write_json(folder / 'finished.json', finished)
    echo(f'{run.name}: top-1 {finished["top1"]} %, {finished["seconds"] / 60:.1f} min')


def _call(command, folder, claim, nice):
    """Run a process of one thread to its end, in a session of its own, at low priority."""
    python_path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get('PYTHONPATH')]))
    with (folder / 'output.txt').open('a', encoding='utf-8') as output:
        child = subprocess.Popen(
            command,
            cwd=ROOT,
            env=dict(os.environ, OMP_NUM_THREADS='1', PYTHONPATH=python_path),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=[claim.fileno()],
        )
    try:
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, child.pid, nice)
            # Linux also schedules by session.
            Path(f'/proc/{child.pid}/autogroup').write_text(str(nice))
        child.wait()
    except BaseException:
        _stop(child)
        raise
    if child.returncode:
        tail = (folder / 'output.txt').read_text(errors='replace').splitlines()[-1:]
        raise Failed(f'{command[1]} ended with {child.returncode}: {"".join(tail)}')


def _stop(child):
    """End a process and its data workers."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(20)
            return


def echo(text: str) -> None:
    """Print a line with the time."""
    print(time.strftime('%m-%d %H:%M:%S'), text, flush=True)


def _settings(run):
    return dict(config=run.config, seed=run.seed, options=run.options)


def _interrupt(number, frame):
    raise KeyboardInterrupt


def main(argv: Optional[list] = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('list', help='YAML file')
    parser.add_argument(
        '--out', required=True, type=Path, help='folder that gets a folder for each run'
    )
    parser.add_argument(
        '--nice', type=int, choices=range(20), default=19, help='0: full priority (default: 19)'
    )
    args = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, _interrupt)
    out = args.out.resolve()
    try:
        runs = read_list(args.list)
        check_folders(runs, out)
        failed = work(runs, out, args.nice)
    except ListError as error:
        sys.exit(f'error: {error}')
    except KeyboardInterrupt:
        sys.exit('stopped; the same command continues')
    if failed:
        sys.exit(f'failed: {", ".join(run.name for run in failed)}; see output.txt in each folder')


if __name__ == '__main__':
    main()
