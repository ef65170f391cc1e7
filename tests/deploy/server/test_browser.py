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
from selenium.common.exceptions import StaleElementReferenceException  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

pytestmark = pytest.mark.browser
CHROMIUM = shutil.which('chromium') or shutil.which('google-chrome')
CHROMEDRIVER = shutil.which('chromedriver')


class Page:
    """The page as a visitor has it."""

    def __init__(self, browser, url):
        self.browser = browser
        self.errors()  # of the page before
        browser.get(url)
        # Until the server has said what it serves.
        self.wait(lambda: self.find('#rules').text or self.shown('#token'))

    def wait(self, condition, seconds=300):
        waiter = WebDriverWait(
            self.browser, seconds, ignored_exceptions=[StaleElementReferenceException]
        )
        return waiter.until(lambda _: condition())

    def find(self, selector):
        """The first element that is shown, once there is one."""
        return self.wait(lambda: self.shown(selector))

    def shown(self, selector):
        """The first element that is shown now, or None."""
        elements = self.browser.find_elements(By.CSS_SELECTOR, selector)
        return next((element for element in elements if element.is_displayed()), None)

    def upload(self, path):
        self.browser.find_element(By.ID, 'file').send_keys(str(path))

    def recognize(self):
        """Press the button, and give the state that this ends with."""
        self.find('#recognize').click()

        def ended():
            text = self.browser.find_element(By.CSS_SELECTOR, '#clip .status').text
            return text and not text.endswith('…') and text

        return self.wait(ended)

    def errors(self):
        """What the browser's console complains of, as of what the page's policy forbids."""
        return [entry for entry in self.browser.get_log('browser') if entry['level'] == 'SEVERE']


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
        *('headless=new', 'no-sandbox', 'disable-dev-shm-usage', 'window-size=1280,1500'),
        *('use-fake-device-for-media-stream', 'use-fake-ui-for-media-stream'),
        f'use-file-for-fake-video-capture={film}',
        f'user-data-dir={tmp_path_factory.mktemp("browser")}',
    ):
        options.add_argument(f'--{argument}')
    options.set_capability('goog:loggingPrefs', dict(browser='ALL'))
    browser = webdriver.Chrome(options, webdriver.ChromeService(CHROMEDRIVER))
    try:
        yield browser
    finally:
        browser.quit()


@pytest.fixture
def page(browser, server):
    return Page(browser, server.url)


def check_bars(text, name):
    """Five classes with their scores, ``name`` the first."""
    lines = text.split('\n')
    assert lines[0] == name
    assert sum(line.endswith('%') for line in lines) == 5


def test_upload_a_clip(page, server, videos, config, checkpoint, tmp_path):
    assert page.recognize() == 'Choose a clip first'
    page.upload(videos / '3.mp4')
    assert page.recognize().startswith('Done')
    (expected,) = PANInferencer(config, checkpoint, device='cpu')(videos / '3.mp4')
    check_bars(page.find('#clip .bars').text, expected['top'][0]['name'])
    assert page.errors() == []
    (tmp_path / 'bad.mp4').write_text('no video at all')
    page.upload(tmp_path / 'bad.mp4')
    assert 'The file: is not a video' in page.recognize()
    assert page.find('#clip .error').get_attribute('role') == 'status'
    assert not page.browser.find_elements(By.CSS_SELECTOR, '#clip .bars li')


def test_token(browser, start_server, tmp_path, videos):
    (tmp_path / 'token').write_text('a-token-of-some-length\n')
    page = Page(browser, start_server('--token-file', str(tmp_path / 'token')).url)
    page.find('#token').send_keys('a-token-of-some-length', Keys.ENTER)
    page.wait(lambda: not browser.find_element(By.ID, 'token').is_displayed())
    page.upload(videos / '0.mp4')
    assert page.recognize().startswith('Done')


def test_live_camera(page, server, scene, config, checkpoint):
    """Results come while the camera films; with the page the server's state goes."""

    def cameras():
        with urlopen(f'{server.url}api/info') as answer:
            return json.load(answer)['cameras']

    recognizer = StreamRecognizer(load_recognizer(config, checkpoint, 'cpu'), 2)
    predictions = [recognizer.push(scene) for _ in range(recognizer.first_prediction)]
    classes = PANInferencer(config, checkpoint, device='cpu').classes
    assert cameras() == 0
    page.find('#film').click()
    # What is found goes stale when the next result comes; ``wait`` then looks again.
    page.wait(lambda: 'Latency' in page.find('#live .status').text)
    text = page.wait(lambda: page.find('#live .bars').text)
    assert classes[predictions[-1].scores.argmax()] in text.split('\n')[:6:2]
    assert sum(line.endswith('%') for line in text.split('\n')) == 5
    assert cameras() == 1
    assert not page.browser.find_elements(By.CSS_SELECTOR, '#live .error')
    assert page.errors() == []
    page.find('#film').click()
    page.wait(lambda: cameras() == 0)
    page.find('#film').click()
    page.wait(lambda: cameras() == 1)
    page.browser.get('about:blank')
    page.wait(lambda: cameras() == 0, 5)  # silence would end it later
    assert list(server.folder.glob('pan_mm*')) == []
