import pytest

from pan_mm.utils.addresses import redact_url


@pytest.mark.parametrize(
    ('address', 'shown'),
    [
        ('rtsp://me:secret@10.0.0.1:554/live', 'rtsp://me:***@10.0.0.1:554/live'),
        ('http://me:s:e@c@ret@host/a@b', 'http://me:***@host/a@b'),
        ('http://host/v?user=me&password=secret&x=1', 'http://host/v?user=me&password=***&x=1'),
        ('rtsp://host/user=me&pwd=secret&channel=1', 'rtsp://host/user=me&pwd=***&channel=1'),
        ('https://host/v?X-Amz-Signature=secret#t', 'https://host/v?X-Amz-Signature=***#t'),
        ('cannot open rtsp://me:secret@host/: 401', 'cannot open rtsp://me:***@host/: 401'),
        ('rtsp://me@host:554/live?keyframe=1', 'rtsp://me@host:554/live?keyframe=1'),
        ('clips/a:b@c/x.mp4', 'clips/a:b@c/x.mp4'),
    ],
)
def test_passwords_are_hidden(address, shown):
    assert redact_url(address) == shown
