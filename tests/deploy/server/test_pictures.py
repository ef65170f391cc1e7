"""Pictures that cameras send: what is decoded, and what is refused."""

import struct

import numpy as np
import pytest
from starlette.exceptions import HTTPException

from pan_mm.deploy.server.limits import Limits
from pan_mm.deploy.server.pictures import decode_picture

LIMITS = Limits(max_input=100 * 100)


def claiming(content, width, height):
    """A picture whose header says another size."""
    at = content.index(b'\xff\xc0') + 5
    return content[:at] + struct.pack('>HH', height, width) + content[at + 4 :]


def refused(content, status, message):
    with pytest.raises(HTTPException, match=message) as refusal:
        decode_picture(content, LIMITS)
    assert refusal.value.status_code == status


def test_is_rgb(picture):
    image = decode_picture(picture(value=200), LIMITS)
    assert image.shape == (48, 64, 3)
    assert image.dtype == np.uint8
    assert abs(image.reshape(-1, 3).mean(0) - (200, 0, 0)).max() < 3


def test_is_shrunk_to_the_limit(picture):
    assert decode_picture(picture(200, 150), LIMITS).shape == (75, 100, 3)


def test_too_large(picture):
    refused(picture(201, 200), 413, '201 × 200')
    refused(picture(1000, 10), 413, '1000 × 10')  # scaling would make it huge
    refused(claiming(picture(), 6000, 5000), 413, '6000 × 5000')
    refused(claiming(picture(), 60000, 50000), 413, 'too large')


def test_not_a_picture(picture):
    for content in (b'', b'no picture', picture()[:600]):
        refused(content, 422, 'is not a picture')


def test_a_scan_is_cheap_to_send_and_dear_to_decode(picture):
    refused(picture(progressive=True), 422, 'not progressive')
