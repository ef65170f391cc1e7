"""The page in a real headless browser."""

import json
import shutil
from urllib.request import urlopen

import cv2
import numpy as np
import pytest

from pan_mm.apis import PANInferencer
from pan_mm.deploy.streaming.recognizer import StreamRecognizer
from pan_mm.inference.recognizer import load_recognizer

webdriver = pytest.importorskip('selenium.webdriver', reason='selenium is not installed')
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

pytestmark = pytest.mark.browser
CHROMIUM = shutil.which('chromium') or shutil.which('google-chrome')
CHROMEDRIVER = shutil.which('chromedriver')


@pytest.fixture(scope='module')
def scene():
    """What the browser's camera sees, RGB; it stands still, so that every window is the same."""
    noise = np.random.default_rng(3).integers(0, 255, (6, 8, 3), np.uint8)
    return cv2.resize(noise, (320, 240), interpolation=cv2.INTER_CUBIC)


@pytest.fixture(scope='module')
def browser(tmp_path_factory, scene):
    if not (CHROMIUM and CHROMEDRIVER):
        pytest.skip('chromium and chromedriver are not installed')
    film = tmp_path_factory.mktemp('camera') / 'scene.y4m'
    with film.open('wb') as file:
        file.write(b'YUV4MPEG2 W320 H240 F25:1 Ip A1:1 C420jpeg\n')
        frame = cv2.cvtColor(scene, cv2.COLOR_RGB2YUV_I420).tobytes()
        file.writelines([b'FRAME\n', frame] * 5)
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in (
        *('headless=new', 'no-sandbox', 'disable-dev-shm-usage', 'window-size=390,844'),
        *('use-fake-device-for-media-stream', 'use-fake-ui-for-media-stream'),
        f'use-file-for-fake-video-capture={film}',
        f'user-data-dir={tmp_path_factory.mktemp("browser")}',
    ):
        options.add_argument(f'--{argument}')
    options.set_capability('goog:loggingPrefs', dict(browser='ALL'))
    browser = webdriver.Chrome(options, webdriver.ChromeService(CHROMEDRIVER))
    yield browser
    browser.quit()


@pytest.fixture
def text(browser):
    """Waits until an element has text that begins as given, and gives the text."""

    def read(selector, start=''):
        def found(_):
            text = browser.find_element(By.CSS_SELECTOR, selector).text
            return text and text.startswith(start) and text

        return WebDriverWait(browser, 300).until(found)

    return read


@pytest.fixture
def recognize(browser):
    def press(path):
        browser.find_element(By.ID, 'file').send_keys(str(path))
        browser.find_element(By.ID, 'recognize').send_keys(Keys.ENTER)

    return press


def test_clips(browser, server, text, recognize, videos, config, checkpoint, tmp_path):
    browser.get(server.url)
    text('#rules', 'At most 64 MiB')
    recognize(videos / '3.mp4')
    text('#clip .status', 'Done')
    (expected,) = PANInferencer(config, checkpoint, device='cpu')(videos / '3.mp4')
    lines = text('#clip .bars').split('\n')
    assert lines[0] == expected['top'][0]['name']
    assert sum(line.endswith('%') for line in lines) == 5
    assert browser.execute_script('return document.documentElement.scrollWidth') <= 500
    assert [e for e in browser.get_log('browser') if e['level'] == 'SEVERE'] == []
    (tmp_path / 'bad.mp4').write_text('no video at all')
    recognize(tmp_path / 'bad.mp4')
    text('#clip .error', 'The file: is not a video')
    assert browser.find_element(By.CSS_SELECTOR, '#clip .bars').text == ''


def test_a_visitor_without_a_clip(browser, server, text, config, checkpoint):
    browser.get(server.url)
    text('#known', 'It knows 19 actions')
    browser.find_element(By.ID, 'known').click()
    classes = PANInferencer(config, checkpoint, device='cpu').classes
    assert text('#classes') == ', '.join(classes)
    browser.find_element(By.ID, 'sample').click()
    text('#clip .status', 'Done')
    assert set(text('#clip .bars').split('\n')[:10:2]) <= {*classes}


def test_live_camera(browser, server, text, scene, config, checkpoint):
    """Results come while the camera films; with the page the server's state goes."""

    def wait_for_cameras(count):
        def is_so(_):
            with urlopen(f'{server.url}api/info') as answer:
                return json.load(answer)['cameras'] == count

        WebDriverWait(browser, 5).until(is_so)  # silence would end one later

    recognizer = StreamRecognizer(load_recognizer(config, checkpoint, 'cpu'), 2)
    predictions = [recognizer.push(scene) for _ in range(recognizer.first_prediction)]
    classes = PANInferencer(config, checkpoint, device='cpu').classes
    browser.get(server.url)
    text('#film', 'Film')
    browser.find_element(By.ID, 'film').click()
    text('#live .status', 'Latency')
    lines = text('#live .bars').split('\n')
    assert classes[predictions[-1].scores.argmax()] in lines[:6:2]
    wait_for_cameras(1)
    browser.get('about:blank')
    wait_for_cameras(0)
