"""Result files, and what is left of them after a crash."""

import csv
import io
import json
import os

import pytest

from pan_mm.apis import PANInferencer
from pan_mm.inference.predictions import append_results, fingerprint_of, read_done, write_results
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

    def test_json(self):
        assert json.loads(written('json')) == [GOOD, BAD]

    def test_table(self):
        assert written('table') == 'a, "b".mp4   75.0 % läuft\nc.mp4       error: no such file\n'


def test_what_is_not_a_number_is_not_written():
    top = [dict(label=0, name='x', score=float('nan'))]
    with pytest.raises(ValueError, match='JSON'):
        write_results([dict(video='a', top=top)], io.StringIO(), 'jsonl')


class TestResume:
    def test_after_half_a_line(self, tmp_path):
        path = tmp_path / 'r.jsonl'
        assert read_done(path, 'm') == {}
        append_results(path, [result('a'), BAD], 'm')
        with path.open('a') as file:
            file.write('{"video": "0.mp')  # killed in the middle of a line
        assert read_done(path, 'm') == {'a': False, 'c.mp4': True}
        append_results(path, [result('b')], 'm')
        assert [line['video'] for line in lines(path)] == ['a', 'c.mp4', 'b']

    def test_refuses_lines_of_another_model_and_other_files(self, tmp_path):
        path = tmp_path / 'r.jsonl'
        append_results(path, [result('a')], 'm')
        with pytest.raises(ValueError, match='of another config, checkpoint'):
            read_done(path, 'n')
        for text in ('hello\n', '[]\n', '{"video": "a"}\n'):
            path.write_text(text)
            with pytest.raises(ValueError, match=r'r\.jsonl:1: not a result'):
                read_done(path, 'm')
            assert path.read_text() == text


def test_names_that_are_no_utf8(tmp_path):
    name = os.fsdecode(b'a\xff.mp4')
    append_results(tmp_path / 'r.jsonl', [result(name)], 'm')
    assert read_done(tmp_path / 'r.jsonl', 'm') == {name: False}
    for form in ('csv', 'jsonl', 'table'):
        with open(tmp_path / form, 'w', newline='', errors=ENCODING_ERRORS) as file:
            write_results([dict(GOOD, video=name)], file, form)
        assert 'a\\udcff.mp4' in (tmp_path / form).read_text()


def test_fingerprint_knows_the_weights(config, tmp_path):
    inferencer = PANInferencer(config, device='cpu')
    for name, text in (('a', 'one'), ('b', 'one'), ('c', 'two')):
        (tmp_path / name).write_text(text)
    a, b, c = (fingerprint_of(inferencer, str(tmp_path / name), None) for name in 'abc')
    assert a == b != c
    assert a != fingerprint_of(inferencer, str(tmp_path / 'a'), ['half'])
    inferencer.topk = 1
    assert a != fingerprint_of(inferencer, str(tmp_path / 'a'), None)
