"""``python -m pan_mm stream`` on real clips."""

import json
import os
import signal

import pytest
import torch

from pan_mm.cli import main
from pan_mm.cli import stream as stream_command
from pan_mm.deploy.streaming.recognizer import recognize_stream

pytestmark = pytest.mark.real_data


@pytest.fixture
def stream(config, checkpoint, capsys):
    def run(*arguments):
        model = ['--config', config, '--checkpoint', checkpoint, '--device', 'cpu']
        status = main(['stream', *map(str, [*arguments, *model])])
        out, err = capsys.readouterr()
        return status, [json.loads(line) for line in out.splitlines()], err

    return run


def test_events_and_predictions(stream, clips_dir):
    clip = clips_dir / 'labelled' / 'utd_mhad_a1_s3_t3_color.avi'
    status, records, err = stream(clip, '--stride', 4, '--predictions', '--on', 0.06, '--off', 0.05)
    assert status == 0
    predictions = [record for record in records if 'top' in record]
    events = [record for record in records if 'label' in record]
    assert len(predictions) == 6
    assert events
    for event in events:
        assert 0 <= event['start'] < event['end'] <= 37 / 15 + 1e-3
        scores = [prediction['top'].get(event['label'], 0) for prediction in predictions]
        assert event['score'] >= max(scores)
    summary = json.loads(err.splitlines()[-1])
    assert summary['frames'] == 38
    assert summary['dropped'] == 0


def test_cfg_options(stream, clips_dir):
    clip = clips_dir / 'labelled' / 'utd_mhad_a1_s3_t3_color.avi'
    arguments = [clip, '--stride', 4, '--predictions', '--topk', 1]
    (_, given, _), (_, changed, _) = (
        stream(*arguments, *more)
        for more in ([], ['--cfg-options', 'test_pipeline.4.crop_size=32'])
    )
    given, changed = ([r['top'] for r in records if 'top' in r] for records in (given, changed))
    assert len(given) == len(changed) == 6
    assert given != changed


def test_too_short(stream, clips_dir):
    clip = clips_dir / 'robustness' / 'derived_short_5frames_utd_a1.mp4'
    status, records, err = stream(clip)
    assert (status, records) == (1, [])
    assert 'has 5 frames, but the first prediction needs 32; lower --stride' in err


@pytest.mark.parametrize('name', ['empty.mp4', 'zeros.mp4', 'none.mp4'])
def test_no_video(stream, clips_dir, name):
    status, records, err = stream(clips_dir / 'negative' / name)
    assert (status, records) == (1, [])
    assert f'error: {clips_dir / "negative" / name}' in err


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGHUP])
def test_signals_end_it_as_an_interrupt_does(stream, clips_dir, monkeypatch, number):
    def stopped(*args):
        yield from recognize_stream(*args)
        os.kill(os.getpid(), number)  # before the source has ended
        yield from ()

    monkeypatch.setattr(stream_command, 'recognize_stream', stopped)
    before = signal.getsignal(number)
    clip = clips_dir / 'labelled' / 'utd_mhad_a1_s3_t3_color.avi'
    status, records, err = stream(clip, '--stride', 4, '--on', 0.06, '--off', 0.05)
    assert status == 0 and records
    assert json.loads(err.splitlines()[-1])['frames'] == 38
    assert signal.getsignal(number) is before


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--on', 0.1], '0 < off <= on'),
        (['--topk', 0], '--topk must be at least 1'),
        (['--buffer', 0], '--buffer must be at least 1'),
    ],
)
def test_senseless_numbers(stream, options, message):
    status, _, err = stream('none.mp4', *options)
    assert status == 1
    assert message in err


def test_a_model_that_has_diverged(config, checkpoint, clips_dir, tmp_path, capsys):
    state = torch.load(checkpoint)
    state['state_dict']['cls_head.fc_cls.bias'][0] = float('nan')
    torch.save(state, tmp_path / 'nan.pth')
    clip = clips_dir / 'labelled' / 'utd_mhad_a1_s3_t3_color.avi'
    model = ['--config', config, '--checkpoint', tmp_path / 'nan.pth', '--device', 'cpu']
    status = main(['stream', *map(str, [clip, '--stride', 4, '--predictions', *model])])
    out, err = capsys.readouterr()
    assert (status, out) == (1, '')
    assert 'error: the model gives scores that are not finite numbers' in err


def test_passwords_are_not_shown(stream):
    status, records, err = stream('rtsp://me:secret@127.0.0.1:9/live')
    assert (status, records) == (1, [])
    assert 'rtsp://me:***@127.0.0.1:9/live: cannot be opened' in err and 'secret' not in err
