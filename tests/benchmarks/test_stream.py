"""The benchmark of streams, run as a user runs it, on a real clip."""

import json

import pytest
import torch

from builders import CLIP, write_config

pytestmark = [pytest.mark.slow, pytest.mark.real_data]


def test_benchmark_stream(run_tool, clips_dir, tmp_path):
    config = write_config(tmp_path)
    result = run_tool(
        'benchmarks.stream', clips_dir / CLIP, '--config', config, '--out', 'out/stream.json',
        '--size', 32, '--seconds', 2, '--stride', 4, cwd=tmp_path,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    report = json.loads((tmp_path / 'out/stream.json').read_text())
    variants = report['models'][config.stem]
    assert list(variants) == ['plain', 'optimized']
    for figures in variants.values():
        assert figures['arrived'] == 50
        assert figures['frames'] + figures['dropped'] == 50
    assert report['environment']['torch'] == torch.__version__
