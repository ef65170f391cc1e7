"""The page in a real headless browser."""

import json
import shutil
from urllib.parse import urlsplit
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
        self.errors(), self.hosts()  # of the page before
        browser.get(url)
        # Until the server has said what it serves.
        self.wait(lambda: self.find('h1').text != 'PAN' or self.shown('#token'))

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

    def hosts(self):
        """Servers that the browser has asked since the last call."""
        return {urlsplit(url).netloc for url in self._requests() if url.startswith('http')}

    def errors(self):
        """What the browser's console complains of."""
        return [entry for entry in self.browser.get_log('browser') if entry['level'] == 'SEVERE']

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
    options.set_capability('goog:loggingPrefs', dict(performance='ALL', browser='ALL'))
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


def test_upload_a_clip(page, server, videos, config, checkpoint):
    page.upload(videos / '3.mp4')
    assert page.recognize().startswith('Done')
    (expected,) = PANInferencer(config, checkpoint, device='cpu')(videos / '3.mp4')
    check_bars(page.find('#clip .bars').text, expected['top'][0]['name'])
    for name in ('maps', 'weights'):
        picture = page.find(f'#{name} img')
        page.wait(lambda picture=picture: int(picture.get_attribute('naturalWidth')) > 300)
        assert picture.get_attribute('alt')
    assert page.hosts() == {urlsplit(server.url).netloc}
    assert page.errors() == []


def test_a_bad_file_shows_an_error(page, tmp_path, videos):
    page.upload(videos / '3.mp4')
    page.recognize()
    (tmp_path / 'bad.mp4').write_text('no video at all')
    page.upload(tmp_path / 'bad.mp4')
    assert 'The file: is not a video' in page.recognize()
    assert page.find('#clip .error').get_attribute('role') == 'status'
    assert not page.browser.find_elements(By.CSS_SELECTOR, '#maps img')  # of the one before
    assert not page.browser.find_elements(By.CSS_SELECTOR, '#clip .bars li')


def test_an_enormous_upload_shows_an_error(page, tmp_path):
    with (tmp_path / 'large.mp4').open('wb') as file:
        file.truncate(65 * 2**20)
    page.upload(tmp_path / 'large.mp4')
    assert 'The file has more than 64 MiB' in page.recognize()


def test_nothing_uploaded(page):
    assert page.recognize() == 'Choose a clip first'


def test_keyboard_alone(page, videos):
    """Buttons are used without a mouse, and everything says what it is."""
    page.upload(videos / '0.mp4')
    page.browser.find_element(By.ID, 'recognize').send_keys(Keys.ENTER)
    page.find('#clip .bars li')
    for element in page.browser.find_elements(By.CSS_SELECTOR, 'button, input, video, img, ol'):
        if element.is_displayed():
            assert element.accessible_name, element.get_attribute('outerHTML')


@pytest.mark.parametrize('scheme', ['light', 'dark'])
def test_can_be_read(page, videos, scheme):
    """Text and its background differ in luminance as WCAG 2, AA, wants it."""
    media = dict(features=[dict(name='prefers-color-scheme', value=scheme)])
    page.browser.execute_cdp_cmd('Emulation.setEmulatedMedia', media)
    try:
        page.upload(videos / '0.mp4')
        page.recognize()
        for selector in ('h1', '#rules', '#recognize', '#clip .status', '#clip .bars span'):
            text, paper = page.browser.execute_script(COLORS, page.find(selector))
            assert contrast(text, paper) >= 4.5, (selector, text, paper)
    finally:
        page.browser.execute_cdp_cmd('Emulation.setEmulatedMedia', dict(features=[]))


COLORS = """
let [element, paper] = [arguments[0], ''];
const color = getComputedStyle(element).color;
for (; element && !/^rgb\\(/.test(paper); element = element.parentElement) {
  paper = getComputedStyle(element).backgroundColor;
}
return [color, paper].map((rgb) => rgb.match(/\\d+/g).map(Number));
"""


def contrast(*colors):
    """Contrast of two colors, 1 to 21."""

    def luminance(rgb):
        shares = np.array(rgb[:3]) / 255
        linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
        return linear @ (0.2126, 0.7152, 0.0722)

    low, high = sorted(map(luminance, colors))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize('width', [390, 1280])
def test_fits(page, videos, width):
    """No page is wider than its window, a phone's or a desktop's."""
    page.browser.execute_cdp_cmd(
        'Emulation.setDeviceMetricsOverride',
        dict(width=width, height=844, deviceScaleFactor=1, mobile=width < 500),
    )
    try:
        page.upload(videos / '3.mp4')
        page.recognize()
        page.find('#maps img')
        assert page.browser.execute_script('return document.documentElement.scrollWidth') <= width
    finally:
        page.browser.execute_cdp_cmd('Emulation.clearDeviceMetricsOverride', {})


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
    page.wait(lambda: int(page.find('#live-maps img').get_attribute('naturalWidth')) > 600)
    assert not page.browser.find_elements(By.CSS_SELECTOR, '#live .error')
    assert page.hosts() == {urlsplit(server.url).netloc}
    assert page.errors() == []
    page.find('#film').click()
    page.wait(lambda: cameras() == 0)
    page.find('#film').click()
    page.wait(lambda: cameras() == 1)
    page.browser.get('about:blank')
    page.wait(lambda: cameras() == 0, 5)  # silence would end it later
    assert list(server.folder.glob('pan_mm*')) == []
