"""The HTTP API on Ray Serve, and the description of it for Kubernetes."""

import json
import os
import re
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import yaml

import builders
from builders import FORM, ROOT, SMALL, form, free_port, wait

os.environ.update(RAY_USAGE_STATS_ENABLED='0', RAY_worker_niceness='0')
ray = pytest.importorskip('ray', reason='the extra ray is not installed')
serve = pytest.importorskip('ray.serve', reason='the extra ray is not installed')
schema = pytest.importorskip('ray.serve.schema')
pytest.importorskip('prometheus_client', reason='the extra demo is not installed')

from pan_mm.deploy.ray_serve import Options, app  # noqa: E402
from pan_mm.inference.inferencer import PANInferencer  # noqa: E402


def ask(url, body=None, **headers):
    """Status and JSON of an answer; None while there is no replica."""
    try:
        status, text = builders.ask(url, body, **headers)
    except OSError:
        return None, None
    return status, json.loads(text) if text.startswith('{') else None


def upload(url, content):
    return ask(f'{url}/api/predict', form(content), **FORM)


@pytest.fixture(scope='module')
def options(make_config, make_checkpoint):
    config = make_config(more=SMALL)
    model = dict(config=str(config), checkpoint=str(make_checkpoint(config)))
    return Options(**model, max_mib=1, batch_size=4, timeout=100)


@pytest.fixture(scope='module')
def url(options):
    with tempfile.TemporaryDirectory(prefix='ray-', dir='/tmp') as folder:
        ray.init(
            num_cpus=3,
            object_store_memory=100 * 2**20,
            include_dashboard=False,
            logging_level='error',
            log_to_driver=False,
            _temp_dir=folder,
        )
        port = free_port()
        try:
            serve.start(http_options=dict(port=int(port)))
            serve.run(app(options), name='pan_mm')
            yield f'http://127.0.0.1:{port}'
        finally:
            serve.shutdown()
            ray.shutdown()


@pytest.mark.slow
def test_serve(url, options, videos):
    """In one test, so that Ray starts once, however tests are spread over processes."""
    answers_are_those_of_one_process(url, options, videos)
    no_answer_is_lost_while_replicas_are_replaced(url, options, videos)


def answers_are_those_of_one_process(url, options, videos):
    recognize = PANInferencer(options.config, options.checkpoint, device='cpu')
    paths = sorted(videos.glob('*.mp4'))
    with ThreadPoolExecutor(8) as pool:  # several of them in a batch
        answers = list(pool.map(lambda path: upload(url, path.read_bytes()), paths * 4))
    for path, (status, answer) in zip(paths * 4, answers):
        assert status == 200 and set(answer) == {'top', 'seconds'}
        for found, wanted in zip(answer['top'], recognize([path])[0]['top']):
            assert found['label'] == wanted['label']
            assert found['score'] == pytest.approx(wanted['score'], abs=1e-5)
    status, answer = upload(url, b'a text')
    assert status == 422 and 'is not a video' in answer['error']
    status, info = ask(f'{url}/api/info')
    assert (status, info['live'], info['limits']['max_bytes']) == (200, False, 2**20)
    assert ask(f'{url}/healthz') == ask(f'{url}/readyz') == (200, dict(status='ok'))


def no_answer_is_lost_while_replicas_are_replaced(url, options, videos):
    content = (videos / '0.mp4').read_bytes()
    statuses, is_over = [], threading.Event()

    def use():
        while not is_over.is_set():
            statuses.append(upload(url, content)[0])

    with ThreadPoolExecutor(2) as users:
        for _ in range(2):
            users.submit(use)
        try:
            serve.run(app(options.model_copy(update=dict(max_seconds=7))), name='pan_mm')
            wait(lambda: ask(f'{url}/api/info')[1]['limits']['max_seconds'] == 7)
        finally:
            is_over.set()
    assert len(statuses) > 2 and set(statuses) == {200}


def test_options_on_the_command_line_are_text():
    options = Options(num_gpus='0.5', batch_size='4', model='pan-everyday')
    assert (options.num_gpus, options.batch_size) == (0.5, 4)
    with pytest.raises(ValueError, match='batch_sise'):
        Options(batch_sise=4)
    deployment = app(options)._bound_deployment
    assert deployment.ray_actor_options['num_gpus'] == 0.5
    assert deployment.max_ongoing_requests == 8
    assert app(Options(max_ongoing_requests='5'))._bound_deployment.max_ongoing_requests == 5


def test_kubernetes():
    """Ray reads it as it would in a cluster, and the options are those of the application."""
    service = yaml.safe_load((ROOT / 'docker/rayservice.yaml').read_text())
    assert (service['apiVersion'], service['kind']) == ('ray.io/v1', 'RayService')
    config = schema.ServeDeploySchema(**yaml.safe_load(service['spec']['serveConfigV2']))
    (application,) = config.applications
    assert application.import_path == 'pan_mm.deploy.ray_serve:app'
    deployment = app(Options(**application.args))._bound_deployment
    assert [each.name for each in application.deployments] == [deployment.name]
    pins = (ROOT / 'requirements/constraints.txt').read_text()
    (version,) = re.findall(r'^ray==([\d.]+)', pins, re.MULTILINE)
    assert service['spec']['rayClusterConfig']['rayVersion'] == version
