"""Checkpoints are data: what MMEngine writes is read, anything else is refused."""

import io
import os
import pickle
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.logging import HistoryBuffer
from mmengine.runner.checkpoint import CheckpointLoader

from pan_mm.utils.checkpoint import load_checkpoint_file, load_checkpoint_url
from pan_mm.utils.errors import CheckpointError


@pytest.fixture
def saved(tmp_path):
    def save(value, name='file.pth', **kwargs):
        torch.save(value, tmp_path / name, **kwargs)
        return tmp_path / name

    return save


class Calls:
    """Pickles as a call of ``function``."""

    def __init__(self, function, *args, state=None):
        self.call = (function, args, state) if state else (function, args)

    def __reduce__(self):
        return self.call


class TestData:
    @pytest.mark.parametrize('legacy', [False, True])
    def test_state_dict(self, saved, legacy):
        weights = OrderedDict(weight=torch.randn(2, 3), steps=torch.tensor(3))
        path = saved(weights, _use_new_zipfile_serialization=not legacy)
        read = load_checkpoint_file(path)
        assert list(read) == ['weight', 'steps']
        torch.testing.assert_close(read['weight'], weights['weight'])

    @pytest.mark.parametrize(
        'value',
        [np.float64(0.25), np.float32(-1.5), np.int64(3), np.bool_(True), np.str_('né')],
    )
    def test_numpy_scalar(self, saved, value):
        read = load_checkpoint_file(saved([value]))[0]
        assert read == value and type(read) is type(value)

    @pytest.mark.parametrize(
        'value',
        [
            np.arange(6, dtype=np.int16).reshape(2, 3),
            np.asfortranarray(np.arange(6.0).reshape(2, 3)),
            np.array([]),
            np.zeros((0, 4), np.float32),
            np.array(2.5),
            np.array([1, 2], '>i4'),
            np.array(['left', 'right']),
        ],
    )
    def test_numpy_array(self, saved, value):
        read = load_checkpoint_file(saved(dict(value=(value,))))['value'][0]
        np.testing.assert_array_equal(read, value)
        assert type(read) is np.ndarray and read.dtype == value.dtype
        assert read.flags.writeable

    def test_history_buffer(self, saved):
        history = HistoryBuffer([1.0, 2.0, 6.0], [1, 1, 2], max_length=5)
        read = load_checkpoint_file(saved(dict(hub=dict(loss=history))))['hub']['loss']
        assert type(read) is HistoryBuffer and read.max_length == 5
        assert read.statistics('mean') == history.mean() and read.min() == 1
        read.update(4.0)
        assert read.current() == 4
        assert load_checkpoint_file(saved(read)).current() == 4

    def test_empty_history_buffer(self, saved):
        assert load_checkpoint_file(saved(HistoryBuffer())).data[0].size == 0

    def test_config_dict_is_a_dict(self, saved):
        assert load_checkpoint_file(saved(ConfigDict(a=1, b=dict(c=2)))) == dict(a=1, b=dict(c=2))

    def test_shared_and_cyclic_containers(self, saved):
        shared = [np.int64(1)]
        cyclic = dict(one=shared, two=shared)
        cyclic['self'] = cyclic
        read = load_checkpoint_file(saved(cyclic))
        assert read['one'] is read['two'] and read['self'] is read

    def test_every_loader_of_mmengine_uses_it(self, saved, tmp_path, monkeypatch):
        path = saved(dict(state_dict=dict(), best=np.float64(0.5)))
        assert CheckpointLoader.load_checkpoint(str(path), 'cpu')['best'] == 0.5
        monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'cache'))
        (tmp_path / 'cache' / 'hub' / 'checkpoints').mkdir(parents=True)
        # A file in the cache stands for the download.
        path.rename(tmp_path / 'cache' / 'hub' / 'checkpoints' / 'file.pth')
        url = 'https://example.com/file.pth'
        assert CheckpointLoader.load_checkpoint(url, 'cpu')['best'] == 0.5
        assert load_checkpoint_url(url)['best'] == 0.5


class TestRefusal:
    @pytest.mark.parametrize(
        ('payload', 'name'),
        [
            (lambda mark: Calls(os.system, f'touch {mark}'), 'system'),
            (lambda mark: Calls(eval, f'open({str(mark)!r}, "w")'), 'eval'),
            (lambda mark: Calls(getattr, print, '__self__'), 'print'),
            (lambda mark: Calls(getattr, HistoryBuffer, '__init__'), '__init__'),
            (lambda mark: Calls(getattr, 'text', 'format'), 'text'),
        ],
    )
    def test_code(self, saved, tmp_path, payload, name):
        path = saved(dict(state_dict=dict(), meta=payload(tmp_path / 'code-ran')))
        with pytest.raises(CheckpointError, match=rf'(?s)file\.pth was refused.*{name}'):
            load_checkpoint_file(path)
        assert not (tmp_path / 'code-ran').exists()

    @pytest.mark.parametrize('version', ['2.0.1', '2.5.1+cu124'])
    def test_a_torch_that_could_be_got_round(self, saved, monkeypatch, version):
        monkeypatch.setattr(torch, '__version__', version)
        with pytest.raises(CheckpointError, match='needs torch>=2.6'):
            load_checkpoint_file(saved(dict(state_dict=dict())))

    def test_code_in_legacy_format(self, saved, tmp_path):
        payload = Calls(os.system, f'touch {tmp_path / "code-ran"}')
        path = saved(payload, _use_new_zipfile_serialization=False)
        with pytest.raises(CheckpointError, match=r'file\.pth was refused'):
            load_checkpoint_file(path)
        assert not (tmp_path / 'code-ran').exists()

    @pytest.mark.parametrize(
        'value',
        [
            np.array([None, 1], dtype=object),
            np.zeros(2, dtype=[('a', 'f4'), ('b', 'O')]),
            np.zeros(2, dtype='datetime64[s]'),
        ],
    )
    def test_arrays_that_are_not_plain_data(self, saved, value):
        with pytest.raises(CheckpointError, match=r'file\.pth was refused.*NumPy'):
            load_checkpoint_file(saved(value))

    def test_torchscript(self, tmp_path):
        path = tmp_path / 'script.pth'
        torch.jit.save(torch.jit.trace(torch.nn.ReLU(), torch.zeros(1)), path)
        with pytest.raises(CheckpointError, match=r'script\.pth'):
            load_checkpoint_file(path)

    def test_url(self, tmp_path, monkeypatch):
        cache = tmp_path / 'hub' / 'checkpoints'
        cache.mkdir(parents=True)
        monkeypatch.setenv('TORCH_HOME', str(tmp_path))
        torch.save(Calls(os.system, f'touch {tmp_path / "code-ran"}'), cache / 'evil.pth')
        with pytest.raises(CheckpointError, match='https://example.com/evil.pth was refused'):
            CheckpointLoader.load_checkpoint('https://example.com/evil.pth')
        assert not (tmp_path / 'code-ran').exists()

    def test_statistics_methods_of_the_process_stay(self, saved):
        history = HistoryBuffer([1.0], [1])
        history.__dict__['max_length'] = 7
        before = dict(HistoryBuffer._statistics_methods)
        load_checkpoint_file(saved(history))
        assert HistoryBuffer._statistics_methods == before


class TestDamage:
    def test_missing(self, tmp_path):
        with pytest.raises(FileNotFoundError, match='none.pth'):
            load_checkpoint_file(tmp_path / 'none.pth')

    @pytest.mark.parametrize(
        'content', [b'', b'\0' * 100, b'no checkpoint', b'{"a": 1}', pickle.dumps({'a': 1})]
    )
    def test_no_checkpoint(self, tmp_path, content):
        path = tmp_path / 'file.pth'
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=r'file\.pth'):
            load_checkpoint_file(path)

    def test_other_zip(self, tmp_path):
        with zipfile.ZipFile(tmp_path / 'file.pth', 'w') as archive:
            archive.writestr('a.txt', 'a')
        with pytest.raises(CheckpointError, match=r'file\.pth is not a checkpoint, or is damaged'):
            load_checkpoint_file(tmp_path / 'file.pth')

    def test_other_pickle_protocols(self, saved):
        # MMEngine never writes them; whatever comes of it, it is no surprise.
        path = saved(dict(a=np.float64(1)), pickle_protocol=4)
        with pytest.raises(CheckpointError, match=r'file\.pth'):
            load_checkpoint_file(path)

    @pytest.mark.parametrize('legacy', [False, True])
    def test_truncated_anywhere(self, tmp_path, legacy):
        buffer = io.BytesIO()
        value = dict(state_dict=dict(weight=torch.randn(50)), history=HistoryBuffer([1.0], [1]))
        torch.save(value, buffer, _use_new_zipfile_serialization=not legacy)
        content, path = buffer.getvalue(), tmp_path / 'file.pth'
        for size in range(0, len(content), 37):
            path.write_bytes(content[:size])
            with pytest.raises(CheckpointError, match=r'file\.pth'):
                load_checkpoint_file(path)
