"""Predictions on a Ray cluster: two machines of one core each, both of them this one."""

import json
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from builders import SMALL
from pan_mm.cli import main
from pan_mm.inference.inferencer import PANInferencer

os.environ.update(RAY_USAGE_STATS_ENABLED='0', RAY_worker_niceness='0')
cluster_utils = pytest.importorskip('ray.cluster_utils', reason='the extra ray is not installed')
ray = cluster_utils.ray

from pan_mm.deploy import ray as pan_ray  # noqa: E402
from pan_mm.deploy import ray_storage  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
MANY = 64
NODE = dict(num_cpus=1, object_store_memory=100 * 2**20, include_dashboard=False)


@pytest.fixture(scope='module')
def model(make_config, make_checkpoint):
    config = make_config(more=SMALL)
    return dict(config=str(config), checkpoint=str(make_checkpoint(config)), topk=3, batch_size=4)


@pytest.fixture(scope='module')
def cluster():
    # The names of sockets in it must be short.
    with tempfile.TemporaryDirectory(prefix='ray-', dir='/tmp') as folder:
        patch = pytest.MonkeyPatch()
        patch.setenv('TMPDIR', folder)  # of Ray's processes
        Path(folder, 'ray').mkdir()  # Ray notes its address there
        cluster = cluster_utils.Cluster(True, head_node_args=dict(NODE, temp_dir=folder))
        try:
            cluster.add_node(**NODE)
            ray.init(cluster.address, logging_level='error', log_to_driver=False)
            cluster.work = Path(folder)
            yield cluster
        finally:
            ray.shutdown()
            cluster.shutdown()
            patch.undo()


@pytest.fixture(scope='module')
def expected(model, videos):
    """Results of one process, by the name of the video."""
    return {Path(r['video']).name: r['top'] for r in PANInferencer(**model)(videos.glob('*.mp4'))}


@pytest.fixture(scope='module')
def folder(videos, tmp_path_factory):
    """Folder of many videos, and an empty file."""
    folder = tmp_path_factory.mktemp('many')
    for number in range(MANY):
        (folder / f'{number:03}.mp4').symlink_to(videos / f'{number % 4}.mp4')
    (folder / 'empty.mp4').touch()
    return folder


def read(out):
    """Rows of a folder of results, which hold no video twice."""
    rows = pq.read_table(out).to_pylist()
    names = [row['video'] for row in rows]
    assert len(set(names)) == len(names)
    return dict(zip(names, rows))


def check(rows, folder, expected):
    """Compare all rows of a folder with the results of one process."""
    assert sorted(rows) == sorted(map(str, folder.iterdir()))
    assert 'empty file' in rows.pop(str(folder / 'empty.mp4'))['error']
    for name, row in rows.items():
        top = expected[Path(name).resolve().name]
        assert (row['error'], row['unsure'], row['features']) == (None, None, None)
        assert row['labels'] == [each['label'] for each in top]
        assert row['names'] == [each['name'] for each in top]
        assert row['scores'] == pytest.approx([each['score'] for each in top], abs=1e-5)


class TestDecode:
    """Without a cluster: what a task does with the rows of a block."""

    @pytest.fixture
    def decode(self, model, monkeypatch, tmp_path):
        pan_ray.preload()  # before the folder of temporary files is another
        monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path))
        pipeline = PANInferencer(**model).pipeline

        def decode(*rows, pipeline=pipeline):
            schema = pa.schema(dict(video=pa.string(), bytes=pa.binary()))
            tables = list(pan_ray.decode(pa.Table.from_pylist(rows, schema), pipeline))
            assert [each for each in tmp_path.iterdir() if each.name.startswith('pan_mm')] == []
            return pa.concat_tables(tables).to_pylist()

        return decode

    def test_file_address_and_contents_are_one_clip(self, decode, videos):
        path = videos / '2.mp4'
        rows = decode(
            dict(video=str(path)),
            dict(video=path.as_uri()),
            dict(video='two', bytes=path.read_bytes()),
        )
        assert [row['video'] for row in rows] == [str(path), path.as_uri(), 'two']
        assert [row['error'] for row in rows] == [None] * 3
        first, *others = (pickle.loads(row['clip'])['inputs'] for row in rows)
        assert first.shape == (16, 3, 64, 64)
        assert all(torch.equal(first, other) for other in others)

    def test_errors(self, decode, videos, monkeypatch):
        monkeypatch.setattr(ray_storage, 'DEFAULT', ray_storage.DEFAULT._replace(max_bytes=10))
        wrong = {
            'missing.mp4': 'no such file',
            'file:///missing.mp4': 'No such file',
            (videos / '0.mp4').as_uri(): 'more than 10 bytes',
            'file:///dev/zero': 'more than 10 bytes',
        }
        contents = dict(none=(b'', 'empty file'), text=(b'a text', 'is not a video'))
        rows = decode(
            *(dict(video=name) for name in wrong),
            *(dict(video=name, bytes=content) for name, (content, _) in contents.items()),
        )
        for row, text in zip(rows, [*wrong.values(), *(text for _, text in contents.values())]):
            assert text in row['error'] and row['clip'] is None
            assert 'pan_mm-ray' not in row['error']


def test_addresses(videos, tmp_path):
    (tmp_path / 'a').mkdir()
    for name in ('1.mp4', '2.avi', 'text.txt'):
        (tmp_path / 'a' / name).touch()
    address = tmp_path.as_uri()
    expand = ray_storage.expand
    assert expand(address) == [f'{address}/a/1.mp4', f'{address}/a/2.avi']
    assert expand(f'{address}/*/*.mp4') == [f'{address}/a/1.mp4']
    assert expand(f'{address}/none.mp4') == [f'{address}/none.mp4']
    with pytest.raises(ValueError, match='no videos there'):
        expand(f'{address}/*.mp4')
    assert expand(str(videos / '*.mp4')) == sorted(map(str, videos.glob('*.mp4')))


class TestResults:
    @pytest.fixture(params=['parquet', 'jsonl'])
    def results(self, tmp_path, request):
        return ray_storage.Results(str(tmp_path / 'out'), 'model', request.param)

    def test_what_is_there_is_read_again(self, results, tmp_path):
        assert len(results.read()) == 0
        results.make_folder()
        rows = [
            dict(video='a', error='no such file', model='model'),
            dict(video='b', model='model'),
        ]
        blocks = [pa.Table.from_pylist(rows, ray_storage.SCHEMA)]
        assert results.write(blocks, SimpleNamespace(task_idx=0)) == (2, 1)
        again = ray_storage.Results(results.out, 'model', results.form).read()
        assert again['video'].to_pylist() == ['a', 'b']
        assert again['error'].null_count == 1
        with pytest.raises(ValueError, match='out holds results of another config'):
            ray_storage.Results(results.out, 'other', results.form).read()


@pytest.mark.slow
class TestCluster:
    def test_contents_and_what_is_done(self, cluster, model, videos, tmp_path):
        names = sorted(map(str, videos.glob('*.mp4')))
        table = dict(video=['one', 'two'], bytes=[Path(name).read_bytes() for name in names[1:3]])
        pq.write_table(pa.table(table), tmp_path / 'a.parquet')
        (tmp_path / 'list.txt').write_text(f'{names[0]}\n{tmp_path / "a.parquet"}\n')
        out = str(tmp_path / 'out')
        first = pan_ray.predict_videos([f'@{tmp_path / "list.txt"}'], out, model)
        assert first == dict(written=3, failed=0, there=0, failed_there=0)
        again = pan_ray.predict_videos([names[0]], out, model)
        assert again == dict(written=0, failed=0, there=3, failed_there=0)
        rows = read(out)
        for name, result in zip([names[0], 'one', 'two'], PANInferencer(**model)(names[:3])):
            assert rows[name]['labels'] == [each['label'] for each in result['top']]
        with pytest.raises(ValueError, match='results of another config'):
            pan_ray.predict_videos(names, out, dict(model, topk=1))
        with pytest.raises(ValueError, match='has 0 GPUs, and a model needs 1'):
            pan_ray.predict_videos(names, f'{out}-gpu', model, num_gpus=1)
        assert not Path(f'{out}-gpu').exists()

    def test_bad_input(self, cluster, model, videos, tmp_path):
        pq.write_table(pa.table(dict(name=['a'])), tmp_path / 'name.parquet')
        for name in ('text.parquet', 'file'):
            (tmp_path / name).write_text('text')
        video, out = str(videos / '0.mp4'), str(tmp_path / 'out')
        for source, message in {
            os.fsdecode(b'\xff.mp4'): r'\\udcff.mp4: its name is not UTF-8',
            str(tmp_path / 'name.parquet'): r"name.parquet: no column bytes, video; .*\['name'\]",
            str(tmp_path / 'text.parquet'): 'text.parquet: it cannot be read',
        }.items():
            with pytest.raises(ValueError, match=message):
                pan_ray.predict_videos([video, source], out, model)
        assert not Path(out).exists()
        with pytest.raises(OSError, match='file'):
            pan_ray.predict_videos([video], str(tmp_path / 'file'), model)

    def test_features_as_json_lines(self, cluster, model, videos, tmp_path):
        names, out = sorted(map(str, videos.glob('*.mp4')))[:2], tmp_path / 'out'
        pan_ray.predict_videos(names, str(out), model, features=True, form='jsonl', concurrency=1)
        rows = [json.loads(line) for path in out.iterdir() for line in path.open()]
        found = {row['video']: row['features'] for row in rows}
        for result in PANInferencer(**model)(names, features=True):
            assert found[result['video']] == pytest.approx(result['features'], abs=1e-4)

    def test_whatever_is_killed(self, cluster, model, folder, expected, tmp_path):
        """A process, then a machine, then the command: it goes on, and its results stay."""
        out = tmp_path / 'out'
        script = 'from pan_mm.cli import main\nfrom pan_mm.deploy import ray_storage\n'
        script += 'ray_storage.ROWS = 8\nmain()\n'
        arguments = ['predict', str(folder), '--ray', cluster.address, '--out', str(out)]
        for name, value in model.items():
            arguments += [f'--{name.replace("_", "-")}', str(value)]
        env = dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1')
        command = subprocess.Popen([sys.executable, '-c', script, *arguments], env=env)

        def written():
            return set(out.glob('[!_]*'))

        def under_way():
            return set(cluster.work.glob('pan_mm-ray-*'))  # a block has a folder of its own

        (node,) = cluster.worker_nodes
        for find in (lambda: _worker_of(cluster.head_node) or _worker_of(node)), _busy(node):
            before = under_way()
            _wait(lambda: under_way() - before)  # noqa: B023
            os.kill(_wait(find), signal.SIGKILL)
        before = written()
        _wait(lambda: len(written() - before) > 1)
        assert command.poll() is None
        command.kill()
        command.wait()
        (out / '_0123456789ab-000000.parquet').write_bytes(b'PAR1')
        first = {path: path.read_bytes() for path in written()}
        assert 0 < len(read(out)) < MANY + 1
        cluster.add_node(**NODE)
        counts = pan_ray.predict_videos([str(folder)], str(out), model)
        assert counts['there'] + counts['written'] == MANY + 1
        assert all(path.read_bytes() == content for path, content in first.items())
        check(read(out), folder, expected)
        assert list(out.glob('_*')) == []


def test_no_cluster():
    with pytest.raises(ValueError, match='no Ray cluster answers at 127.0.0.1:9 .*Connection'):
        pan_ray.connect('127.0.0.1:9')


def test_no_ray(capfd, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'ray', None)
    monkeypatch.delitem(sys.modules, 'pan_mm.deploy.ray')
    monkeypatch.delattr('pan_mm.deploy.ray')
    command = ['predict', 'a.mp4', '--out', str(tmp_path / 'out'), '--ray']
    for more, message in (
        ([], 'pip install "ray[data,serve]"'),
        (['--format', 'csv'], 'writes parquet or jsonl'),
    ):
        assert main([*command, *more]) == 1
        assert message in capfd.readouterr().err


def _busy(node):
    """Find the raylet of a machine, once a process of it works for the job."""
    return lambda: _worker_of(node) and _pid(node)


def _pid(node):
    (info,) = node.all_processes['raylet']
    return info.process.pid


def _worker_of(node):
    """Find a process of a machine that works for the job."""
    for path in Path('/proc').glob('[0-9]*'):
        try:
            parent = int(path.joinpath('stat').read_text().rpartition(')')[2].split()[1])
            command = path.joinpath('cmdline').read_bytes()
        except OSError:  # it has ended
            continue
        if parent == _pid(node) and command.startswith(b'ray::MapWorker'):
            return int(path.name)
    return None


def _wait(condition, seconds=300):
    """Wait until a condition is true, and give its value."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, 'it took too long'
        time.sleep(0.02)
    return value
