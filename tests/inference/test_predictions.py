"""Result files, and what is left of them after a crash."""

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pan_mm.inference import predictions
from pan_mm.inference.predictions import (
    ENCODING_ERRORS,
    ShardedResults,
    fingerprint,
    locked,
    shard_path,
    write_results,
)

GOOD = dict(video='a, "b".mp4', top=[dict(label=3, name='läuft', score=0.75)])
BAD = dict(video='c.mp4', error='no such file')


def written(form):
    file = io.StringIO(newline='')
    write_results(iter([GOOD, BAD]), file, form, [GOOD['video'], BAD['video']])
    return file.getvalue()


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding='utf-8').splitlines()]


def result(video, **kwargs):
    return dict(dict(video=video, top=[]), **kwargs)


class TestWriteResults:
    def test_json(self):
        assert json.loads(written('json')) == [GOOD, BAD]

    def test_json_lines(self):
        assert [json.loads(line) for line in written('jsonl').splitlines()] == [GOOD, BAD]

    def test_csv(self):
        good, bad = csv.DictReader(io.StringIO(written('csv')))
        assert (good['video'], good['name'], float(good['score'])) == (GOOD['video'], 'läuft', 0.75)
        assert (good['rank'], good['label'], good['error']) == ('1', '3', '')
        assert (bad['video'], bad['error'], bad['score']) == ('c.mp4', 'no such file', '')

    def test_table(self):
        assert written('table') == 'a, "b".mp4   75.0 % läuft\nc.mp4       error: no such file\n'


@pytest.mark.parametrize('form', ['json', 'jsonl'])
def test_what_is_not_a_number_is_not_written(form):
    top = [dict(label=0, name='x', score=float('nan'))]
    with pytest.raises(ValueError, match='JSON'):
        write_results([dict(video='a', top=top)], io.StringIO(), form)


class TestLock:
    """Two runs on one file of results, as when a command is started twice."""

    def other_run(self, path, *rank):
        """Hold the file in another process, until its end."""
        code = (
            'import sys; from pan_mm.inference.predictions import ShardedResults; '
            'results = ShardedResults(sys.argv[1], "m", *map(int, sys.argv[2:])); '
            'print("here", flush=True); sys.stdin.read()'
        )
        other = subprocess.Popen(
            [sys.executable, '-W', 'ignore', '-c', code, str(path), *map(str, rank)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert other.stdout.readline() == 'here\n'
        return other

    @pytest.mark.parametrize('rank', [(), (0, 2)])
    def test_the_second_is_told_and_changes_nothing(self, tmp_path, monkeypatch, rank):
        path = tmp_path / 'r.jsonl'
        shard = shard_path(path, *rank) if rank else path
        shard.write_text(json.dumps(result('a', model='m')) + '\n')
        other = self.other_run(path, *rank)
        try:
            monkeypatch.setattr(predictions, 'LOCK_WAIT', 0.1)
            with shard.open('a') as file:
                file.write('{"video": "b')  # the other is about to finish the line
            before = shard.read_text()
            for _ in range(2):
                with pytest.raises(ValueError, match=f'{shard.name}: another run is writing'):
                    ShardedResults(path, 'm')
            assert shard.read_text() == before
            other.kill()
            other.wait()
            assert ShardedResults(path, 'm').done == {'a': False}
        finally:
            other.kill()
            other.communicate()

    def test_devices_need_none(self):
        with locked(Path('/dev/null')), locked(Path('/dev/null')):
            pass


class TestShardedResults:
    videos = [f'{i}.mp4' for i in range(60)]

    def run(self, path, rank, world_size, stop=None):
        results = ShardedResults(path, 'm', rank, world_size)
        todo = [video for video in results.share(self.videos) if video not in results.done]
        results.write(result(video) for video in todo[:stop])
        return results

    def all_lines(self, folder):
        return sorted(line['video'] for path in folder.iterdir() for line in lines(path))

    def test_each_video_once(self, tmp_path):
        for rank in range(3):
            assert (
                self.run(tmp_path / 'r.jsonl', rank, 3).path.name == f'r-0000{rank}-of-00003.jsonl'
            )
        assert self.all_lines(tmp_path) == sorted(self.videos)

    @pytest.mark.parametrize('later', [1, 2, 3, 5])
    def test_resumes_with_any_number_of_processes(self, tmp_path, later):
        path = tmp_path / 'r.jsonl'
        half = self.run(path, 0, 3).path
        self.run(path, 1, 3, stop=4)
        with half.open('a') as file:
            file.write('{"video": "0.mp')  # killed in the middle of a line
        for rank in range(later):
            self.run(path, rank, later)
        assert self.all_lines(tmp_path) == sorted(self.videos)

    def test_failures_count_as_done(self, tmp_path):
        path = tmp_path / 'r.jsonl'
        ShardedResults(path, 'm').write([result('a'), BAD])
        assert ShardedResults(path, 'm').done == {'a': False, 'c.mp4': True}

    def test_other_names_are_not_read(self, tmp_path):
        ShardedResults(tmp_path / 'r2.jsonl', 'other').write([result('a')])
        ShardedResults(tmp_path / 'r[2].jsonl', 'm', 0, 2).write([result('b')])
        assert ShardedResults(tmp_path / 'r.jsonl', 'm').done == {}
        assert list(ShardedResults(tmp_path / 'r[2].jsonl', 'm').done) == ['b']

    def test_parquet(self, tmp_path):
        parquet = pytest.importorskip('pyarrow.parquet', reason='pyarrow is not installed')
        path = tmp_path / 'r.jsonl'
        self.run(path, 1, 3, stop=4)  # of a run with three processes that was killed
        ShardedResults(path, 'm', 1, 3).write([GOOD, BAD])
        with (tmp_path / 'r-00001-of-00003.jsonl').open('a') as file:
            file.write('{"video": "hal')
        self.run(path, 0, 1).to_parquet()
        self.run(path, 0, 1).to_parquet()  # nothing is left to do
        rows = [
            row
            for file in tmp_path.glob('*.parquet')
            for row in parquet.read_table(file).to_pylist()
        ]
        assert sorted(row['video'] for row in rows) == sorted(
            [*self.videos, GOOD['video'], 'c.mp4']
        )
        good, bad = (next(r for r in rows if r['video'] == v['video']) for v in (GOOD, BAD))
        assert good == dict(GOOD, model='m', error=None)
        assert bad == dict(BAD, model='m', top=None)
        assert not list(tmp_path.glob('*.part'))

    def test_refuses_lines_of_another_model(self, tmp_path):
        ShardedResults(tmp_path / 'r.jsonl', 'm').write([result('a')])
        with pytest.raises(ValueError, match='of another config, checkpoint'):
            ShardedResults(tmp_path / 'r.jsonl', 'n')

    def test_refuses_another_file(self, tmp_path):
        for text in ('hello\n', '[]\n', '{"video": "a"}\n'):
            (tmp_path / 'r.jsonl').write_text(text)
            with pytest.raises(ValueError, match=r'r\.jsonl:1: no result'):
                ShardedResults(tmp_path / 'r.jsonl', 'm')
            assert (tmp_path / 'r.jsonl').read_text() == text


def test_names_that_are_no_utf8(tmp_path):
    name = os.fsdecode(b'a\xff.mp4')
    results = ShardedResults(tmp_path / 'r.jsonl', 'm')
    assert results.share([name]) == [name]
    results.write([result(name)])
    results.close()
    assert ShardedResults(tmp_path / 'r.jsonl', 'm').done == {name: False}
    for form in ('csv', 'json', 'jsonl', 'table'):
        with open(tmp_path / form, 'w', newline='', errors=ENCODING_ERRORS) as file:
            write_results([dict(GOOD, video=name)], file, form)
        assert 'a\\udcff.mp4' in (tmp_path / form).read_text()
    pq = pytest.importorskip('pyarrow.parquet')
    results.to_parquet()
    assert pq.read_table(tmp_path / 'r.parquet')['video'].to_pylist() == ['a\\udcff.mp4']


def test_fingerprint_knows_contents(tmp_path):
    (tmp_path / 'a').write_text('one')
    (tmp_path / 'b').write_text('one')
    first = fingerprint('config', tmp_path / 'a')
    assert first == fingerprint('config', tmp_path / 'b')
    (tmp_path / 'a').write_text('two')
    assert first != fingerprint('config', tmp_path / 'a')
    assert fingerprint('ab', 'c') != fingerprint('a', 'bc')
