import time
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from pan_mm.serving.limits import Gate, Limits, Refusal, check_video


class TestGate:
    def test_takes_one_and_those_who_wait(self):
        gate = Gate(waiting=1)
        with gate.place(), gate.place():
            with pytest.raises(Refusal, match='busy') as refusal, gate.place():
                pass
            assert refusal.value.status == 503
        with gate.place():  # all places are free again
            pass

    def test_one_at_a_time(self):
        gate = Gate(waiting=9)
        inside, most = [], []

        def work(number):
            with gate.place(), gate.turn(time.monotonic() + 300):
                inside.append(number)
                most.append(len(inside))
                time.sleep(0.002)
                inside.remove(number)

        with ThreadPoolExecutor(10) as pool:
            list(pool.map(work, range(10)))
        assert most == [1] * 10

    def test_first_come_first_served(self):
        gate, order = Gate(waiting=9), []

        def work():
            with gate.turn(time.monotonic() + 300):
                order.append('who waited')

        with ThreadPoolExecutor(1) as pool:
            with gate.turn(time.monotonic()):
                pool.submit(work)
                while len(gate._tickets) < 2:
                    time.sleep(0.001)
            with gate.turn(time.monotonic() + 300):
                order.append('who asks again')
        assert order == ['who waited', 'who asks again']

    def test_waits_until_its_deadline(self):
        gate = Gate(waiting=1)
        refused = pytest.raises(Refusal, match='busy for too long')
        with gate.turn(time.monotonic()), ThreadPoolExecutor(1) as pool, refused:
            pool.submit(gate.turn(time.monotonic() + 0.01).__enter__).result()
        with gate.turn(time.monotonic()):
            pass


class TestCheckVideo:
    def test_counts_frames(self, videos):
        assert check_video(videos / '1.mp4', Limits()) == 20

    @pytest.mark.real_data
    @pytest.mark.parametrize('folder', ['labelled', 'robustness'])
    def test_real_clips_of_all_kinds(self, clips_dir, folder):
        for path in (clips_dir / folder).iterdir():
            assert check_video(path, Limits()) >= 0, path

    @pytest.mark.parametrize(
        ('limits', 'message'),
        [
            (Limits(max_seconds=0.7), 'lasts 1 s, and at most 1 s'),
            (Limits(max_pixels=64 * 48 - 1), '64 × 48 pixels'),
        ],
    )
    def test_too_much(self, videos, limits, message):
        with pytest.raises(Refusal, match=message) as refusal:
            check_video(videos / '1.mp4', limits)
        assert refusal.value.status == 413

    @pytest.mark.parametrize(
        ('content', 'message'),
        [
            (b'', 'empty'),
            (b'\0' * 4096, 'no video'),
            (b'#EXTM3U\n#EXTINF:1,\nother.mp4\n', 'no video'),
            (b'ffconcat version 1.0\nfile other.mp4\n', 'no video'),
            (b'v=0\nc=IN IP4 127.0.0.1\nm=video 9 RTP/AVP 96\n', 'no video'),
            (b'\0\0\0\x20ftypisom' + b'\0' * 500, 'damaged'),
        ],
    )
    def test_no_video(self, videos, tmp_path, content, message):
        (tmp_path / 'other.mp4').write_bytes((videos / '0.mp4').read_bytes())
        (tmp_path / 'video').write_bytes(content)
        with pytest.raises(Refusal, match=message) as refusal:
            check_video(tmp_path / 'video', Limits())
        assert refusal.value.status == 422

    def test_transport_stream(self, tmp_path):
        path = tmp_path / 'a.ts'
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'mp4v'), 25, (64, 48))
        for value in range(12):
            writer.write(np.full((48, 64, 3), 20 * value, np.uint8))
        writer.release()
        assert path.read_bytes()[:1] == b'G'
        assert check_video(path, Limits()) >= 0
