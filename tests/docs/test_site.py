"""The documentation site builds without a warning, and has what it promises."""

import os
import re
import subprocess
import sys

import pytest
from mmaction import registry as mmaction_registry
from mmengine.registry import Registry

import pan_mm.datasets
import pan_mm.engine
import pan_mm.models  # noqa: F401
from builders import ROOT
from pan_mm.cli import COMMANDS

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def site(tmp_path_factory):
    pytest.importorskip('sphinx', reason='the extra docs is not installed')
    out = tmp_path_factory.mktemp('site')
    command = [sys.executable, '-m', 'sphinx', '-W', '--keep-going', '-q', '-c', 'docs', '.', out]
    env = dict(os.environ, OMP_NUM_THREADS='1')
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    return out


def test_every_registered_name_is_documented(site):
    pages = ''.join(path.read_text(encoding='utf-8') for path in site.glob('docs/api/*.html'))
    shown = set(re.findall(r'<dt class="sig sig-object py" id="([\w.]+)">', pages))
    missing = [
        f'{part.__module__}.{name}'
        for registry in vars(mmaction_registry).values()
        if isinstance(registry, Registry) and registry.scope == 'mmaction'
        for name, part in registry.module_dict.items()
        if isinstance(part, type) and part.__module__.startswith('pan_mm.')
    ]
    assert missing and set(missing) <= shown


def test_every_command_shows_its_options(site):
    page = (site / 'docs/api/commands.html').read_text(encoding='utf-8')
    assert all(f'python -m pan_mm {name} [-h]' in page for name in COMMANDS)
    assert '--max-seconds' in page and '--batch-size' in page


def test_search_and_pages_ask_no_other_server(site):
    index = (site / 'searchindex.js').read_text(encoding='utf-8')
    assert 'docs/streaming' in index and 'window' in index
    for path in site.rglob('*.html'):
        loaded = re.findall(
            r'<(?:script|img|iframe)[^>]* src="([^"]+)|<link rel="stylesheet"[^>]* href="([^"]+)',
            path.read_text(encoding='utf-8'),
        )
        assert not [url for pair in loaded for url in pair if url.startswith(('http', '//'))], path
    assert 'docs/index.html' in (site / 'index.html').read_text(encoding='utf-8')
