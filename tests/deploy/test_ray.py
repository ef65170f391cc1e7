"""Predictions on a Ray cluster: two machines of one core each, both of them this one."""

import json
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from builders import SMALL, free_port
from pan_mm.cli import main
from pan_mm.inference.inferencer import PANInferencer

os.environ.update(RAY_USAGE_STATS_ENABLED='0', RAY_worker_niceness='0')
cluster_utils = pytest.importorskip('ray.cluster_utils', reason='the extra ray is not installed')
ray = cluster_utils.ray

from pan_mm.deploy import ray as pan_ray  # noqa: E402
from pan_mm.deploy import ray_storage  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
MANY = 300
NODE = dict(num_cpus=1, object_store_memory=100 * 2**20, include_dashboard=False)


@pytest.fixture(scope='module')
def model(make_config, make_checkpoint):
    config = make_config(more=SMALL)
    return dict(config=str(config), checkpoint=str(make_checkpoint(config)), topk=3, batch_size=4)


@pytest.fixture(scope='module')
def cluster():
    # The names of sockets in it must be short.
    with tempfile.TemporaryDirectory(prefix='ray-', dir='/tmp') as folder:
        work = Path(folder, 'w')
        (work / 'ray').mkdir(parents=True)  # Ray notes its address there
        before = os.environ.get('TMPDIR')
        os.environ['TMPDIR'] = str(work)  # of Ray's processes
        cluster = cluster_utils.Cluster(True, head_node_args=dict(NODE, temp_dir=folder))
        cluster.work = work
        try:
            cluster.add_node(**NODE)
            ray.init(cluster.address, logging_level='error', log_to_driver=False)
            yield cluster
        finally:
            ray.shutdown()
            cluster.shutdown()
            os.environ.pop('TMPDIR')
            if before is not None:
                os.environ['TMPDIR'] = before


@pytest.fixture(scope='module')
def folder(videos, tmp_path_factory):
    """Folder of many videos, and an empty file."""
    folder = tmp_path_factory.mktemp('many')
    for number in range(MANY):
        (folder / f'{number:03}.mp4').symlink_to(videos / f'{number % 4}.mp4')
    (folder / 'empty.mp4').touch()
    return folder


@pytest.fixture(scope='module')
def expected(model, videos):
    """Results of one process, by the name of the video."""
    return {Path(r['video']).name: r['top'] for r in PANInferencer(**model)(videos.glob('*.mp4'))}


def read(out):
    """Rows of a folder of shards, which hold no video twice."""
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
        assert (row['error'], row['unsure']) == (None, None)
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
        rows = decode(
            dict(video='missing.mp4'),
            dict(video='file:///missing.mp4'),
            dict(video='none', bytes=b''),
            dict(video='text', bytes=b'a text'),
            dict(video=(videos / '0.mp4').as_uri()),
            dict(video='long', bytes=bytes(11)),
            dict(video='file:///dev/zero'),
            dict(video='file:///proc/cpuinfo'),  # says that it has 0 bytes
            dict(video='s3://me:***@bucket/a.mp4'),
        )
        wrong = [
            'no such file',
            'No such file',
            'empty file',
            'is not a video',
            'more than 10 bytes',
            'more than 10 bytes',
            'is not a regular file',
            'more than 10 bytes',
            'without a password',
        ]
        assert len(rows) == len(wrong)
        for row, text in zip(rows, wrong):
            assert text in row['error'] and row['clip'] is None
            assert 'pan_mm-ray' not in row['error']

    def test_a_decoder_that_crashes(self, decode, videos):
        crashing, sound = decode(
            dict(video=str(videos / '0.mp4')), dict(video=str(videos / '1.mp4')), pipeline=_crash
        )
        assert 'its decoder crashed' in crashing['error']
        assert sound['error'] is None


def _crash(info):
    if info['filename'].endswith('0.mp4'):
        os.kill(os.getpid(), signal.SIGSEGV)
    return dict(inputs=np.zeros(1))


class TestSources:
    def test_addresses(self, videos, tmp_path):
        (tmp_path / 'a b').mkdir()
        for name in ('1.mp4', '2.avi', 'text.txt'):
            (tmp_path / 'a b' / name).touch()
        address = tmp_path.as_uri()
        expand = ray_storage.expand
        assert expand(address) == [f'{address}/a%20b/1.mp4', f'{address}/a%20b/2.avi']
        assert expand(f'{address}/*/*.mp4') == [f'{address}/a%20b/1.mp4']
        assert expand(f'{address}/none.mp4') == [f'{address}/none.mp4']
        with pytest.raises(ValueError, match='no videos there'):
            expand(f'{address}/*.mp4')
        assert expand(str(videos / '*.mp4')) == sorted(map(str, videos.glob('*.mp4')))

    def test_names_in_parquet(self, tmp_path):
        tables = dict(names=dict(video=['b', 'c']), contents=dict(video=['d'], bytes=[b'd']))
        paths = [str(tmp_path / f'{name}.parquet') for name in tables]
        for path, table in zip(paths, tables.values()):
            pq.write_table(pa.table(table), path)
        names, groups = ray_storage.read_names(['a', *paths])
        assert names['video'].to_pylist() == ['a', 'b', 'c']
        assert groups.to_pylist() == [dict(table=paths[1], group=0, names=['d'], rows=[0])]
        (contents,) = ray_storage.read_contents(groups)
        assert contents.to_pylist() == [dict(video='d', bytes=b'd')]

    def test_parquet_without_names(self, tmp_path):
        pq.write_table(pa.table(dict(path=['a.mp4'])), tmp_path / 'a.parquet')
        with pytest.raises(ValueError, match='no column "video", only path'):
            ray_storage.read_names([str(tmp_path / 'a.parquet')])

    def test_rows_without_a_name_or_with_one_that_was_there(self, tmp_path):
        path = str(tmp_path / 'a.parquet')
        names = [None, 'a', 'b', 's3://me:secret@c/d', 'b', 'e']
        contents = [b'0', b'1', b'2', b'3', b'4', None]
        table = pa.table(dict(video=pa.array(names).dictionary_encode(), bytes=contents))
        pq.write_table(table, path, row_group_size=3)
        left, groups = ray_storage.read_names([path, 'a'])
        assert left['video'].to_pylist() == ['a']
        rows = pa.concat_tables(ray_storage.read_contents(groups)).to_pylist()
        assert [(row['video'], row['bytes']) for row in rows] == [
            ('b', b'2'),
            ('s3://me:***@c/d', b'3'),
            ('e', None),
        ]
        pq.write_table(table.select(['video']), path)
        left, groups = ray_storage.read_names([path])
        assert left['video'].to_pylist() == ['a', 'b', 's3://me:***@c/d', 'e']
        assert len(groups) == 0

    @pytest.mark.parametrize(
        ('columns', 'message'),
        [
            (dict(video=[1]), 'column "video" is int64, and must be string'),
            (dict(video=[['a']]), 'column "video" is list<.*>, and must be string'),
            (dict(video=['a'], bytes=['a']), 'column "bytes" is string, and must be binary'),
            (dict(video=['a' * 200]), 'row group of [0-9]+ bytes, and at most 200 are allowed'),
        ],
    )
    def test_parquet_that_is_refused(self, tmp_path, monkeypatch, columns, message):
        monkeypatch.setattr(ray_storage, 'GROUP_BYTES', 200)
        path = tmp_path / 'a.parquet'
        pq.write_table(pa.table(columns), path)
        with pytest.raises(ValueError, match=f'^{path}: .*{message}'):
            ray_storage.read_names([str(path)])


class TestShards:
    @pytest.fixture(params=pan_ray.FORMATS)
    def shards(self, request, tmp_path):
        return ray_storage.Shards(str(tmp_path / 'out'), request.param, 'model')

    @staticmethod
    def write(shards, *rows, task=0):
        blocks = [pa.Table.from_pylist(list(rows), ray_storage.SCHEMA)]
        return shards.write(blocks, SimpleNamespace(task_idx=task))

    def test_videos_that_are_there(self, shards):
        assert len(shards.videos()) == 0
        shards.begin()
        assert self.write(shards, dict(video='a', error='no such file'), dict(video='b')) == (2, 1)
        assert self.write(shards, dict(video='c'), task=1) == (1, 0)
        again = ray_storage.Shards(shards.out, shards.form, 'model').videos()
        assert sorted(again['video'].to_pylist()) == ['a', 'b', 'c']
        assert again['error'].null_count == 2

    def test_only_unfinished_parts_of_its_own_are_removed(self, shards, tmp_path):
        shards.begin()
        mine = ['_notes.txt', '_SUCCESS', f'_half.{shards.form}', '_0123456789ab-000000.csv']
        for name in (*mine, f'_0123456789ab-000000.{shards.form}'):
            (tmp_path / 'out' / name).touch()
        shards.begin()
        there = {path.name for path in (tmp_path / 'out').iterdir()}
        assert there == {ray_storage.SETTINGS, *mine}

    @pytest.mark.parametrize('content', [b'', b'[]', b'{"model": "model"}', b'\xff', b'[' * 10**6])
    def test_settings_of_others(self, shards, tmp_path, content):
        (tmp_path / 'out').mkdir()
        (tmp_path / 'out' / ray_storage.SETTINGS).write_bytes(content)
        with pytest.raises(ValueError, match='_settings.json: not written by predict'):
            shards.videos()

    def test_settings_that_are_not_a_file(self, shards, tmp_path):
        (tmp_path / 'out').mkdir()
        os.mkfifo(tmp_path / 'out' / ray_storage.SETTINGS)
        with pytest.raises(ValueError, match='_settings.json: not written by predict'):
            shards.videos()

    def test_results_without_videos(self, shards, tmp_path):
        shards.begin()
        self.write(shards, dict(video='a'))
        other = tmp_path / 'out' / f'other.{shards.form}'
        if shards.form == 'parquet':
            pq.write_table(pa.table(dict(path=['a'])), other)
        else:
            other.write_text('{"path": "a"}\n')
        with pytest.raises(ValueError, match=f'^{other}: has rows without "video"'):
            shards.videos()

    def test_file_or_password_as_out(self, tmp_path):
        (tmp_path / 'a.jsonl').touch()
        with pytest.raises(ValueError, match='a.jsonl: is a file.*give --format jsonl'):
            ray_storage.Shards(str(tmp_path / 'a.jsonl'), 'jsonl', 'model').videos()
        with pytest.raises(ValueError, match=r'^s3://me:\*\*\*@bucket: give --out without'):
            ray_storage.Shards('s3://me:secret@bucket', 'jsonl', 'model')


@pytest.mark.slow
class TestCluster:
    def test_parquet_and_list_are_resumed(self, cluster, model, videos, expected, tmp_path):
        names = sorted(map(str, videos.glob('*.mp4')))
        contents = [Path(names[0]).read_bytes(), None]
        table = pa.table(dict(video=['zero', Path(names[1]).as_uri()], bytes=contents))
        pq.write_table(table, tmp_path / 'a.parquet')
        (tmp_path / 'list.txt').write_text(f'{names[2]}\n{tmp_path / "a.parquet"}\n')
        out = str(tmp_path / 'out')
        first = pan_ray.predict_videos([names[2]], out, model, concurrency=1)
        assert first == dict(written=1, failed=0, there=0, failed_there=0)
        sources = [f'@{tmp_path / "list.txt"}']
        again = pan_ray.predict_videos(sources, out, model)
        assert again == dict(written=2, failed=0, there=1, failed_there=0)
        rows = read(out)
        for number, name in enumerate(['zero', table['video'][1].as_py(), names[2]]):
            scores = [each['score'] for each in expected[f'{number}.mp4']]
            assert rows[name]['scores'] == pytest.approx(scores, abs=1e-5)
        self._is_left_alone(Path(out), names, model)

    def _is_left_alone(self, out, names, model):
        before = sorted(out.iterdir())
        for changes, form in ((dict(topk=1), 'parquet'), (dict(), 'jsonl')):
            with pytest.raises(ValueError, match='results of another config'):
                pan_ray.predict_videos(names, str(out), dict(model, **changes), form=form)
        with pytest.raises(ValueError, match='holds other files'):
            pan_ray.predict_videos(names, str(out.parent), model)
        with pytest.raises(ValueError, match='has 0 GPUs, and a model needs 1'):
            pan_ray.predict_videos(names, f'{out}-gpu', model, num_gpus=1)
        assert sorted(out.iterdir()) == before and not Path(f'{out}-gpu').exists()

    def test_a_gpu_that_is_said_to_be_there(self, cluster, model, videos, tmp_path):
        """With GPUs, decoders and recognizers are processes of their own."""
        node = cluster.add_node(**dict(NODE, num_cpus=2, num_gpus=1))
        try:
            settings, out = dict(model, device='cpu'), str(tmp_path / 'a')
            pan_ray.predict_videos([str(videos)], out, settings, 'jsonl', num_gpus=1)
        finally:
            cluster.remove_node(node)
        lines = [line for path in Path(out).glob('*.jsonl') for line in path.open()]
        rows = {row['video']: row for row in map(json.loads, lines)}
        assert len(lines) == len(rows) == 4
        for result in PANInferencer(**model)(videos.glob('*.mp4')):
            row = rows[result['video']]
            assert row['labels'] == [top['label'] for top in result['top']]
            assert row['scores'] == pytest.approx([top['score'] for top in result['top']], abs=1e-5)

    def test_killed_worker_and_node(self, cluster, model, folder, expected, tmp_path, monkeypatch):
        monkeypatch.setattr(ray_storage, 'ROWS', 16)
        out = tmp_path / 'out'
        killed = []

        def under_way():
            return set(cluster.work.glob('pan_mm-ray-*'))  # a block has a folder of its own

        def kill():
            (node,) = cluster.worker_nodes
            for find in (lambda: _worker_of(cluster.head_node) or _worker_of(node)), _busy(node):
                before = under_way()
                _wait(lambda: under_way() - before)  # noqa: B023
                killed.append(_wait(find))
                os.kill(killed[-1], signal.SIGKILL)

        killer = threading.Thread(target=kill, daemon=True)
        killer.start()
        counts = pan_ray.predict_videos([str(folder)], str(out), model)
        killer.join(60)
        assert len(killed) == 2
        assert counts == dict(written=MANY + 1, failed=1, there=0, failed_there=0)
        check(read(out), folder, expected)
        cluster.add_node(**NODE)  # for the next test

    def test_killed_command_is_continued(self, cluster, model, folder, expected, tmp_path):
        out = tmp_path / 'out'
        script = (
            'from pan_mm.cli import main\n'
            'from pan_mm.deploy import ray_storage\n'
            'ray_storage.ROWS = 16\n'
            'main()\n'
        )
        arguments = ['predict', str(folder), '--ray', cluster.address, '--out', str(out)]
        for name in ('config', 'checkpoint', 'topk'):
            arguments += [f'--{name}', str(model[name])]
        env = dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1')
        command = subprocess.Popen([sys.executable, '-c', script, *arguments], env=env)
        _wait(lambda: len(list(out.glob('[!_]*'))) > 2)
        command.kill()
        command.wait()
        (out / '_0123456789ab-000000.parquet').write_bytes(b'PAR1')
        first = {path: path.read_bytes() for path in out.glob('[!_]*')}
        there = len(read(out))
        assert 0 < there < MANY + 1
        counts = pan_ray.predict_videos([str(folder)], str(out), model)
        assert counts['there'] >= there and counts['there'] + counts['written'] == MANY + 1
        assert all(path.read_bytes() == content for path, content in first.items())
        check(read(out), folder, expected)
        assert {path.name for path in out.glob('_*')} == {'_settings.json'}


class TestBadInput:
    """One line on stderr, status 1, and nothing written."""

    def _fails(self, model, capfd, out, *arguments):
        weights = ['--config', model['config'], '--checkpoint', model['checkpoint']]
        command = ['predict', *arguments, *weights, '--out', str(out)]
        assert main(command) == 1
        (line,) = [each for each in capfd.readouterr().err.splitlines() if 'error' in each]
        assert not out.exists()
        return line

    def test_no_ray(self, model, capfd, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, 'ray', None)
        monkeypatch.delitem(sys.modules, 'pan_mm.deploy.ray')
        monkeypatch.delattr('pan_mm.deploy.ray')
        line = self._fails(model, capfd, tmp_path / 'out', 'a.mp4', '--ray')
        assert 'pip install "ray[data,serve]"' in line

    @pytest.mark.parametrize('scheme', ['', 'ray://'])
    def test_no_cluster(self, model, capfd, tmp_path, scheme):
        address = f'{scheme}127.0.0.1:{free_port()}'
        line = self._fails(model, capfd, tmp_path / 'out', 'a.mp4', '--ray', address)
        assert line.startswith(f'error: no Ray cluster answers at {address} (')

    def test_port_that_is_not_a_number(self, model, capfd, tmp_path):
        for address in ('foo:bar', 'ray://foo:99999'):
            line = self._fails(model, capfd, tmp_path / 'out', 'a.mp4', '--ray', address)
            assert line == f'error: {address}: the port is not a number up to 65535; give HOST:PORT'

    @pytest.mark.slow  # it tries for seconds
    def test_bucket_that_cannot_be_read(self):
        address = f's3://a/b?scheme=http&endpoint_override=127.0.0.1:{free_port()}&region=x'
        with pytest.raises(OSError, match="'b' in bucket 'a'.*[Cc]onnect"):
            ray_storage.expand(address)
        with pytest.raises(OSError, match="in bucket 'a'.*[Cc]onnect"):
            ray_storage.Shards(address, 'parquet', 'model').videos()

    def test_file_as_out(self, model, capfd, tmp_path):
        line = self._fails(model, capfd, tmp_path / 'o', 'a.mp4', '--ray', '--format', 'csv')
        assert '--out FOLDER' in line


def _pid(node):
    return node.all_processes['raylet'][0].process.pid


def _busy(node):
    """Find the raylet of a machine, once a process of it works for the job."""
    return lambda: _worker_of(node) and _pid(node)


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
