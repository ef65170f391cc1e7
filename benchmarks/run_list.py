"""Train and test a list of runs, several at a time; started again, it continues where it stopped.

    python -m benchmarks.run_list benchmarks/utd_mhad_64px.yml --lanes 2 --out work_dirs/matrix

The list is YAML: groups in the order in which they run, each of them configs x seeds.

    - configs: [tsn_r18_1xb16-1x1x8-30e-64px_utd-mhad-depth]   # names in configs/, or paths
      seeds: [0, 1]
      tag: lr2                                # optional, part of the runs' names
      options: {optim_wrapper.optimizer.lr: 0.002}             # optional, as for --cfg-options

Each run has a folder of its name in the output folder: the work_dir of tools/train.py with its
final checkpoint, the exact scores of one test of that checkpoint (scores.pkl, float32, with the
samples' names), what the processes printed (output.txt), and at the end finished.json with the
checkpoint's SHA-256. A run that has finished.json is never started again; one that was cut off
resumes from its last checkpoint. A run that fails is tried once more after all others.
"""

import argparse
import contextlib
import fcntl
import hashlib
import heapq
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, Optional, Union

import yaml

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
        ListError: Naming the group and what is wrong with it.
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
    paths = [ROOT / name] if name.endswith('.py') else sorted(ROOT.glob(f'configs/**/{name}.py'))
    if not paths or not paths[0].is_file():
        raise ListError(f'{place}: there is no config {name}')
    return paths[0]


def remaining_seconds(
    runs: Sequence[Run], took: Mapping, running_for: Mapping, lanes: int
) -> Optional[float]:
    """Seconds until the last of ``runs`` is done, None while no run tells how long one takes.

    Args:
        runs (Sequence[Run]): All that are not done.
        took (Mapping): Seconds that finished runs took, a list by config.
        running_for (Mapping): Seconds since the start of those that run, by name.
        lanes (int): Runs at a time.
    """
    known = [seconds for config in took.values() for seconds in config]
    if not known:
        return None
    ends = [0.0] * lanes
    for run in sorted(runs, key=lambda run: run.name not in running_for):
        own = took.get(run.config) or known
        left = sum(own) / len(own) - running_for.get(run.name, 0)
        heapq.heapreplace(ends, ends[0] + max(left, 0))
    return max(ends)


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open('rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _write_json(path, content):
    part = path.with_name(f'.{path.name}.part')
    part.write_text(json.dumps(content, indent=2) + '\n', encoding='utf-8')
    part.replace(path)


def _read_json(path):
    return json.loads(path.read_text(encoding='utf-8')) if path.is_file() else None


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


class Stopped(RuntimeError):
    """The runner was told to stop."""


class Runner:
    """Works through a list of runs.

    Args:
        runs (Sequence[Run]): In the order in which they start.
        out (str | Path): Gets a folder for each run.
        lanes (int): Runs at a time, of one thread each. Defaults to 1.
        nice (int): How much the runs give way to other work, 0 to 19. Defaults to 19.

    Raises:
        ListError: If ``out`` holds a run of the same name with other settings.
    """

    def __init__(
        self, runs: Sequence[Run], out: Union[str, Path], lanes: int = 1, nice: int = 19
    ) -> None:
        self.runs, self.out, self.lanes, self.nice = runs, Path(out).resolve(), lanes, nice
        self.took: dict = {}
        self.started: dict = {}
        self.children: set = set()
        self.lock = threading.Lock()
        self.stopping = False
        for run in runs:
            before = _read_json(self.out / run.name / 'run.json')
            own = json.loads(json.dumps(self._settings(run)))
            if before and {key: before[key] for key in own} != own:
                raise ListError(
                    f'{self.out / run.name} was begun with other settings ({before}); remove it, '
                    'or give the group another tag'
                )
            self._count(run)

    @staticmethod
    def _settings(run):
        return dict(config=run.config, seed=run.seed, options=run.options)

    def _count(self, run):
        done = _read_json(self.out / run.name / 'finished.json')
        if done and not done['resumed']:
            self.took.setdefault(run.config, []).append(done['seconds'])

    def _is_finished(self, run):
        return (self.out / run.name / 'finished.json').is_file()

    def work(self) -> list:
        """Do all runs that are not finished; returns those that failed.

        SIGTERM and Ctrl-C end the processes that this runner started, and leave all resumable.
        """
        todo = [run for run in self.runs if not self._is_finished(run)]
        done = len(self.runs) - len(todo)
        self._say(f'{done} of {len(self.runs)} runs are finished; {self._forecast()}')
        for _ in range(2):  # retry what fails once
            with ThreadPoolExecutor(self.lanes) as pool:
                try:
                    waiting = [pool.submit(self._attempt, run) for run in todo]
                    todo = [run for run, result in zip(todo, waiting) if not result.result()]
                except BaseException:
                    self.stop()
                    raise
        return todo

    def stop(self) -> None:
        """End the processes of all runs; nothing is started after that."""
        with self.lock:
            self.stopping = True
            children = list(self.children)
        for number, patience in ((signal.SIGTERM, 20), (signal.SIGKILL, 20)):
            for child in children:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, number)  # the whole session, data workers included
            for child in children:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(patience)
            children = [child for child in children if child.poll() is None]

    def _attempt(self, run):
        """Train and test; returns whether it is finished."""
        if self.stopping:
            return False
        try:
            with self._claimed(run) as claim:
                if not self._is_finished(run):
                    self._train_and_test(run, claim)
        except Failed as error:
            self._say(f'{run.name} failed: {error}')
            return False
        except Stopped:
            return False
        return True

    @contextlib.contextmanager
    def _claimed(self, run):
        """Holds the run's lock, which its processes inherit: those of a killed runner keep it."""
        folder = self.out / run.name
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / '.lock', 'w') as claim:
            told = False
            while True:
                try:
                    fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if not told:
                        self._say(f'{run.name} is at work in another process; waiting for its end')
                    told = True
                    time.sleep(1)
                    if self.stopping:
                        raise Stopped from None
            yield claim

    def _train_and_test(self, run, claim):
        folder = self.out / run.name
        resumed = any(folder.glob('epoch_*.pth'))
        begun = time.time()
        self.started[run.name] = begun
        self._say(f'{run.name}: {"resumes" if resumed else "starts"}')
        _write_json(folder / 'run.json', dict(self._settings(run), commit=_commit()))
        try:
            words = ['--work-dir', str(folder), '--seed', str(run.seed)]
            words += ['--resume'] if resumed else []
            self._call(run.command('train.py', *words), folder, claim)
            checkpoint = folder / Path((folder / 'last_checkpoint').read_text().strip()).name
            words = [str(checkpoint), '--work-dir', str(folder)]
            words += ['--dump', str(folder / 'scores.pkl')]
            self._call(run.command('test.py', *words), folder, claim)
        finally:
            del self.started[run.name]
        top1 = _top1(folder)
        finished = dict(
            checkpoint=checkpoint.name,
            sha256=sha256(checkpoint),
            scores='scores.pkl',
            top1=top1,
            seconds=round(time.time() - begun),
            resumed=resumed,
        )
        _write_json(folder / 'finished.json', finished)
        self._count(run)
        minutes = finished['seconds'] / 60
        self._say(f'{run.name}: top-1 {top1} %, {minutes:.1f} min; {self._forecast()}')

    def _call(self, command, folder, claim):
        """Run a process of one thread to its end, in a session of its own, at low priority."""
        python_path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get('PYTHONPATH')]))
        with (folder / 'output.txt').open('a', encoding='utf-8') as output:
            with self.lock:
                if self.stopping:
                    raise Stopped
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
                self.children.add(child)
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, child.pid, self.nice)
                # Linux also schedules by session.
                Path(f'/proc/{child.pid}/autogroup').write_text(str(self.nice))
            child.wait()
        self.children.discard(child)
        if self.stopping:
            raise Stopped
        if child.returncode:
            tail = (folder / 'output.txt').read_text(errors='replace').splitlines()[-1:]
            raise Failed(f'{command[1]} ended with {child.returncode}: {"".join(tail)}')

    def _forecast(self):
        now = time.time()
        runs = [run for run in self.runs if not self._is_finished(run)]
        running_for = {name: now - begun for name, begun in list(self.started.items())}
        left = remaining_seconds(runs, self.took, running_for, self.lanes)
        if left is None:
            return f'{len(runs)} to do; the first whole run will tell how long they take'
        end = time.strftime('%Y-%m-%d %H:%M', time.localtime(now + left))
        return f'{len(runs)} to do, done about {end}'

    @staticmethod
    def _say(text):
        print(time.strftime('%m-%d %H:%M:%S'), text, flush=True)


def parse_args(argv: Optional[list]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('list', help='YAML file')
    parser.add_argument('--out', required=True, help='folder that gets a folder for each run')
    parser.add_argument('--lanes', type=int, default=1, help='runs at a time, of one thread each')
    parser.add_argument(
        '--nice', type=int, default=19, help='0: full priority, 19 (default): what is left over'
    )
    args = parser.parse_args(argv)
    if not 0 <= args.nice <= 19:
        parser.error(f'--nice must be 0 to 19, got {args.nice}')
    if args.lanes < 1:
        parser.error(f'--lanes must be at least 1, got {args.lanes}')
    return args


def _interrupt(number, frame):
    raise KeyboardInterrupt


def main(argv: Optional[list] = None) -> None:
    args = parse_args(argv)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        failed = Runner(read_list(args.list), args.out, args.lanes, args.nice).work()
    except ListError as error:
        sys.exit(f'error: {error}')
    except KeyboardInterrupt:
        sys.exit('stopped; the same command continues')
    if failed:
        sys.exit(f'failed: {", ".join(run.name for run in failed)}; see output.txt in each folder')


if __name__ == '__main__':
    main()
