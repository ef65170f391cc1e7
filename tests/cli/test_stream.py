"""``python -m pan_mm stream`` on real clips."""

import json
import os
import signal

import pytest
import torch

from pan_mm.cli import main
from pan_mm.cli import stream as stream_command
from pan_mm.deploy.streaming.sources import open_source

pytestmark = pytest.mark.real_data
CLIP = 'labelled/utd_mhad_a1_s3_t3_color.avi'
EVENTS = ['--stride', 4, '--on', 0.06, '--off', 0.05]


@pytest.fixture
def stream(config, checkpoint, capsys):
    def run(*arguments, checkpoint=checkpoint):
        model = ['--config', config, '--checkpoint', checkpoint, '--device', 'cpu']
        status = main(['stream', *map(str, [*arguments, *model])])
        out, err = capsys.readouterr()
        return status, [json.loads(line) for line in out.splitlines()], err

    return run


def test_events_and_predictions(stream, clips_dir):
    status, records, err = stream(clips_dir / CLIP, *EVENTS, '--predictions')
    assert status == 0
    predictions = [record for record in records if 'top' in record]
    events = [record for record in records if 'label' in record]
    assert len(predictions) == 6
    assert all(len(prediction['top']) == 5 for prediction in predictions)
    assert events
    for event in events:
        assert 0 <= event['start'] < event['end'] <= 37 / 15 + 1e-3
        scores = [prediction['top'].get(event['label'], 0) for prediction in predictions]
        assert event['score'] >= max(scores)
    summary = json.loads(err.splitlines()[-1])
    assert summary == dict(frames=38, predictions=6, dropped=0)


def test_too_short(stream, clips_dir):
    status, records, err = stream(clips_dir / 'robustness' / 'derived_short_5frames_utd_a1.mp4')
    assert (status, records) == (1, [])
    assert 'has 5 frames, but the first prediction needs 32; lower --stride' in err


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGHUP])
def test_signals_end_it_as_an_interrupt_does(stream, clips_dir, monkeypatch, number):
    def stopped(*args):
        yield from open_source(*args)
        os.kill(os.getpid(), number)  # before the source has ended
        yield from ()

    monkeypatch.setattr(stream_command, 'open_source', stopped)
    before = signal.getsignal(number)
    status, records, err = stream(clips_dir / CLIP, *EVENTS)
    assert status == 0 and records
    assert json.loads(err.splitlines()[-1])['frames'] == 38
    assert signal.getsignal(number) is before


def test_a_model_that_has_diverged(stream, checkpoint, clips_dir, tmp_path):
    state = torch.load(checkpoint)
    state['state_dict']['cls_head.fc_cls.bias'][0] = float('nan')
    torch.save(state, tmp_path / 'nan.pth')
    status, records, err = stream(
        clips_dir / CLIP, '--stride', 4, '--predictions', checkpoint=tmp_path / 'nan.pth'
    )
    assert (status, records) == (1, [])
    assert 'error: the model gives scores that are not finite numbers' in err


def test_passwords_are_not_shown(stream):
    status, records, err = stream('rtsp://me:secret@127.0.0.1:9/live')
    assert (status, records) == (1, [])
    assert 'rtsp://me:***@127.0.0.1:9/live: cannot be opened' in err and 'secret' not in err
