import pytest

from pan_mm.utils.addresses import redact_url


@pytest.mark.parametrize(
    ('address', 'shown'),
    [
        ('rtsp://me:secret@10.0.0.1:554/live', 'rtsp://me:***@10.0.0.1:554/live'),
        ('http://me:s:e@c@ret@host/a@b', 'http://me:***@host/a@b'),
        ('http://host/v?user=me&password=secret&x=1', 'http://host/v?user=me&password=***&x=1'),
        ('rtsp://host/user=me&pwd=secret&channel=1', 'rtsp://host/user=me&pwd=***&channel=1'),
        ('cannot open rtsp://me:secret@host/: 401', 'cannot open rtsp://me:***@host/: 401'),
        ('rtsp://me@host:554/live?keyframe=1', 'rtsp://me@host:554/live?keyframe=1'),
        ('s3://me:sec/r/et@bucket/a@b', 's3://me:***@bucket/a@b'),
        ('http://host:554/a@b', 'http://host:554/a@b'),
        ('abfs://c/v?account_key=a/b=&x=1', 'abfs://c/v?account_key=***&x=1'),
        ('s3://bucket/sort_key=3/a.mp4', 's3://bucket/sort_key=3/a.mp4'),
        ('clips/a:b@c/x.mp4', 'clips/a:b@c/x.mp4'),
    ],
)
def test_passwords_are_hidden(address, shown):
    assert redact_url(address) == shown
