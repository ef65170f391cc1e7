"""Result files, and what is left of them after a crash."""

import csv
import io
import json
import os

import pytest

from pan_mm.inference.predictions import ENCODING_ERRORS, ShardedResults, fingerprint, write_results

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
