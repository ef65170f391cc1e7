"""The page in a real headless browser."""

import json
import shutil
import time
from urllib.parse import urlsplit
from urllib.request import urlopen

import cv2
import numpy as np
import pytest

from pan_mm.apis import PANInferencer
from pan_mm.inference.recognizer import load_recognizer
from pan_mm.streaming.recognizer import StreamRecognizer

webdriver = pytest.importorskip('selenium.webdriver', reason='selenium is not installed')
from selenium.common.exceptions import StaleElementReferenceException  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

pytestmark = pytest.mark.browser
CHROMIUM = shutil.which('chromium') or shutil.which('google-chrome')
CHROMEDRIVER = shutil.which('chromedriver')


class Page:
    """The page as a visitor has it."""

    def __init__(self, browser, url):
        self.browser = browser
        browser.get(url)
        self.find('#recognise')

    def wait(self, condition, seconds=300):
        waiter = WebDriverWait(
            self.browser, seconds, ignored_exceptions=[StaleElementReferenceException]
        )
        return waiter.until(lambda _: condition())

    def find(self, selector):
        """The first element that is shown, once there is one."""
        return self.wait(
            lambda: next(
                (
                    element
                    for element in self.browser.find_elements(By.CSS_SELECTOR, selector)
                    if element.is_displayed()
                ),
                None,
            )
        )

    def press(self, text, selector='#clip button'):
        """Press the button with this text as soon as it is there."""

        def pressed():
            for button in self.browser.find_elements(By.CSS_SELECTOR, selector):
                if button.text == text and button.is_displayed():
                    button.click()
                    return True
            return False

        self.wait(pressed)

    def upload(self, path):
        field = self.wait(
            lambda: self.browser.find_elements(By.CSS_SELECTOR, '#clip input[type=file]')
        )[0]
        field.send_keys(str(path))
        # the field goes when the upload has arrived
        self.wait(lambda: not self.browser.find_elements(By.CSS_SELECTOR, '#clip input[type=file]'))

    def hosts(self):
        """Servers that the browser has asked since the last call."""
        return {urlsplit(url).netloc for url in self._requests() if url.startswith('http')}

    def _requests(self):
        for entry in self.browser.get_log('performance'):
            message = json.loads(entry['message'])['message']
            if message['method'] == 'Network.requestWillBeSent':
                yield message['params']['request']['url']


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
    options.set_capability('goog:loggingPrefs', dict(performance='ALL'))
    browser = webdriver.Chrome(options, webdriver.ChromeService(CHROMEDRIVER))
    try:
        yield browser
    finally:
        browser.quit()


@pytest.fixture
def page(browser, server):
    return Page(browser, server.url)


def test_upload_a_clip(page, server, videos, config, checkpoint):
    page.upload(videos / '3.mp4')
    page.find('#recognise').click()
    assert page.find('#status p').text.startswith('Done in')
    (expected,) = PANInferencer(config, checkpoint, device='cpu')(videos / '3.mp4')
    label = page.find('#label').text.split('\n')
    assert expected['top'][0]['name'] in label
    assert sum(line.endswith('%') for line in label) == 5
    for name in ('maps', 'weights', 'times'):
        picture = page.find(f'#{name} img')
        assert int(picture.get_attribute('naturalWidth')) > 300, name
    assert page.hosts() == {urlsplit(server.url).netloc}


def test_a_bad_file_shows_an_error(page, tmp_path, videos):
    (tmp_path / 'bad.mp4').write_text('no video at all')
    page.upload(tmp_path / 'bad.mp4')
    page.find('#recognise').click()
    assert 'The file is no video' in page.find('#status .error').text
    assert not page.browser.find_elements(By.CSS_SELECTOR, '#maps img')


def test_an_enormous_upload_shows_an_error(page, tmp_path):
    with (tmp_path / 'large.mp4').open('wb') as file:
        file.truncate(65 * 2**20)
    page.browser.find_element(By.CSS_SELECTOR, '#clip input[type=file]').send_keys(
        str(tmp_path / 'large.mp4')
    )
    assert 'exceed the maximum' in page.find('.toast-body').text


def test_nothing_uploaded(page):
    page.find('#recognise').click()
    assert 'Upload or record a clip first' in page.find('#status .error').text


def test_record_with_the_camera(page):
    page.find('#clip button[aria-label="Capture from camera"]').click()
    page.press('Click to Access Webcam')
    page.press('Record')
    time.sleep(2)
    page.press('Stop')
    page.find('#clip button[aria-label="Clear"]')
    page.find('#recognise').click()
    assert page.find('#status p').text.startswith('Done in')
    assert page.find('#maps img')


def test_live_camera(page, server, scene, config, checkpoint):
    """Results come while the camera films; with the tab the server's state goes."""

    def cameras():
        with urlopen(f'{server.url}api/info') as answer:
            return json.load(answer)['cameras']

    recognizer = StreamRecognizer(load_recognizer(config, checkpoint, 'cpu'), 2)
    predictions = [recognizer.push(scene) for _ in range(recognizer.first_prediction)]
    classes = PANInferencer(config, checkpoint, device='cpu').classes
    page.press('Live', 'button[role=tab]')
    page.press('Click to Access Webcam', '#camera button')
    assert cameras() == 0
    page.press('Record', '#camera button')
    # What is found goes stale when the next result comes; ``wait`` then looks again.
    page.wait(lambda: 'Latency' in page.find('#live-status p').text)
    label = page.wait(lambda: page.find('#live-label').text).split('\n')
    assert classes[predictions[-1].scores.argmax()] in label[:3]
    assert sum(line.endswith('%') for line in label) == 5
    assert cameras() == 1
    page.wait(lambda: int(page.find('#live-maps img').get_attribute('naturalWidth')) > 600)
    assert not page.browser.find_elements(By.CSS_SELECTOR, '#live-status .error')
    assert page.hosts() == {urlsplit(server.url).netloc}
    page.browser.get('about:blank')
    page.wait(lambda: cameras() == 0)  # its server never takes silence for an end
    assert not any('scene' in path.name or path.suffix == '.jpg' for path in server.files())
