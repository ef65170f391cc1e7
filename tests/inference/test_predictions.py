"""Result files, and what is left of them after a crash."""

import csv
import io
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from pan_mm.inference import predictions
from pan_mm.inference.predictions import (
    ResultLog,
    fingerprint,
    write_features,
    write_results,
)
from pan_mm.utils.files import ENCODING_ERRORS

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
    def test_csv(self):
        good, bad = csv.DictReader(io.StringIO(written('csv')))
        assert (good['video'], good['name'], float(good['score'])) == (GOOD['video'], 'läuft', 0.75)
        assert (good['rank'], good['label'], good['error']) == ('1', '3', '')
        assert (bad['video'], bad['error'], bad['score']) == ('c.mp4', 'no such file', '')

    def test_csv_holds_no_formulas(self):
        top = [dict(label=0, name='@SUM(A1)', score=0.5), dict(label=1, name='-1', score=0.5)]
        file = io.StringIO(newline='')
        write_results([dict(video='=cmd.mp4', top=top)], file, 'csv')
        rows = list(csv.DictReader(io.StringIO(file.getvalue())))
        assert {row['video'] for row in rows} == {"'=cmd.mp4"}
        assert [row['name'] for row in rows] == ["'@SUM(A1)", "'-1"]

    def test_table_obeys_no_escape_sequences(self):
        top = [dict(label=0, name='\x1b]0;title\x07', score=0.5)]
        file = io.StringIO()
        write_results([dict(video='a\x1b[2J\r.mp4', top=top)], file, 'table')
        assert file.getvalue() == 'a\\x1b[2J\\r.mp4   50.0 % \\x1b]0;title\\x07\n'

    def test_table(self):
        assert written('table') == 'a, "b".mp4   75.0 % läuft\nc.mp4       error: no such file\n'


def test_what_is_not_a_number_is_not_written():
    top = [dict(label=0, name='x', score=float('nan'))]
    with pytest.raises(ValueError, match='JSON'):
        write_results([dict(video='a', top=top)], io.StringIO(), 'jsonl')


class TestResultLog:
    def test_a_second_run_is_told_and_changes_nothing(self, tmp_path, monkeypatch):
        path = tmp_path / 'r.jsonl'
        path.write_text(json.dumps(result('a', model='m')) + '\n')
        code = (
            'import sys; from pan_mm.inference.predictions import ResultLog; '
            'log = ResultLog(sys.argv[1], "m"); print("here", flush=True); sys.stdin.read()'
        )
        other = subprocess.Popen(
            [sys.executable, '-W', 'ignore', '-c', code, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert other.stdout.readline() == 'here\n'
            monkeypatch.setattr(predictions, 'LOCK_WAIT', 0.1)
            with path.open('a') as file:
                file.write('{"video": "b')  # the other is about to finish the line
            before = path.read_text()
            for _ in range(2):
                with pytest.raises(ValueError, match='r.jsonl: another run is writing'):
                    ResultLog(path, 'm')
            assert path.read_text() == before
            other.kill()
            other.wait()
            assert ResultLog(path, 'm').done == {'a': False}
        finally:
            other.kill()
            other.communicate()

    def test_resumes_after_half_a_line(self, tmp_path):
        path = tmp_path / 'r.jsonl'
        with ResultLog(path, 'm') as log:
            log.write([result('a'), BAD])
        with path.open('a') as file:
            file.write('{"video": "0.mp')  # killed in the middle of a line
        with ResultLog(path, 'm') as log:
            assert log.done == {'a': False, 'c.mp4': True}
            log.write([result('b')])
        assert [line['video'] for line in lines(path)] == ['a', 'c.mp4', 'b']

    def test_refuses_lines_of_another_model(self, tmp_path):
        with ResultLog(tmp_path / 'r.jsonl', 'm') as log:
            log.write([result('a')])
        with pytest.raises(ValueError, match='of another config, checkpoint'):
            ResultLog(tmp_path / 'r.jsonl', 'n')

    def test_refuses_another_file(self, tmp_path):
        for text in ('hello\n', '[]\n', '{"video": "a"}\n'):
            (tmp_path / 'r.jsonl').write_text(text)
            with pytest.raises(ValueError, match=r'r\.jsonl:1: not a result'):
                ResultLog(tmp_path / 'r.jsonl', 'm')
            assert (tmp_path / 'r.jsonl').read_text() == text


def test_names_that_are_no_utf8(tmp_path):
    name = os.fsdecode(b'a\xff.mp4')
    with ResultLog(tmp_path / 'r.jsonl', 'm') as log:
        log.write([result(name)])
    with ResultLog(tmp_path / 'r.jsonl', 'm') as log:
        assert log.done == {name: False}
    for form in ('csv', 'jsonl', 'table'):
        with open(tmp_path / form, 'w', newline='', errors=ENCODING_ERRORS) as file:
            write_results([dict(GOOD, video=name)], file, form)
        assert 'a\\udcff.mp4' in (tmp_path / form).read_text()


def test_features_of_good_and_bad_videos(tmp_path):
    write_features([dict(video='a', features=[1.0, 2.0]), BAD], str(tmp_path / 'f.npz'))
    arrays = np.load(tmp_path / 'f.npz')
    assert arrays['video'].tolist() == ['a', 'c.mp4'] and arrays['error'][1] == 'no such file'
    np.testing.assert_array_equal(arrays['features'], [[1, 2], [np.nan, np.nan]])
    assert [path.name for path in tmp_path.iterdir()] == ['f.npz']


def test_fingerprint_knows_contents(tmp_path):
    (tmp_path / 'a').write_text('one')
    (tmp_path / 'b').write_text('one')
    first = fingerprint('config', tmp_path / 'a')
    assert first == fingerprint('config', tmp_path / 'b')
    (tmp_path / 'a').write_text('two')
    assert first != fingerprint('config', tmp_path / 'a')
    assert fingerprint('ab', 'c') != fingerprint('a', 'bc')
