"""Checkpoints are data: what MMEngine writes is read, anything else is refused."""

import hashlib
import os
import pickle
import random
import zipfile
import zlib
from collections import OrderedDict

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer

from builders import with_flipped_bit
from pan_mm.utils.checkpoint import load_checkpoint_file, load_checkpoint_url, weights_of
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
        [np.float64(0.25), np.int64(3), np.str_('né')],
    )
    def test_numpy_scalar(self, saved, value):
        read = load_checkpoint_file(saved([value]))[0]
        assert read == value and type(read) is type(value)

    @pytest.mark.parametrize(
        'value',
        [
            np.arange(6, dtype=np.int16).reshape(2, 3),
            np.array([1, 2], '>i4'),
            np.array(['left', 'right']),
        ],
    )
    def test_numpy_array(self, saved, value):
        read = load_checkpoint_file(saved(dict(value=(value,))))
        assert read['value'][0] == value.ravel().tolist()
        assert load_checkpoint_file(saved(read)) == read

    def test_history_buffer(self, saved):
        history = HistoryBuffer([1.0, 2.0, 6.0], [1, 1, 2], max_length=5)
        before = dict(HistoryBuffer._statistics_methods)
        read = load_checkpoint_file(saved(dict(hub=dict(loss=history))))['hub']['loss']
        assert type(read) is HistoryBuffer and read.max_length == 5
        assert read.statistics('mean') == history.mean() and read.min() == 1
        read.update(4.0)
        assert read.current() == 4
        assert load_checkpoint_file(saved(read)).current() == 4
        assert HistoryBuffer._statistics_methods == before

    def test_passwords_of_addresses_are_not_shown(self, tmp_path, capfd):
        with pytest.raises(OSError, match=r'user:\*\*\*@.* cannot be downloaded') as refused:
            load_checkpoint_url('http://user:secret@127.0.0.1:1/file.pth', model_dir=str(tmp_path))
        assert 'secret' not in str(refused.value) + ''.join(capfd.readouterr())
        assert [path for path in tmp_path.rglob('*') if path.is_file()] == []

    def test_each_address_has_its_own_file(self, tmp_path, monkeypatch):
        monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'cache'))
        for folder in 'ab':
            (tmp_path / folder).mkdir()
            torch.save(dict(state_dict={}, name=folder), tmp_path / folder / 'epoch_1.pth')
        for folder in 'ab' * 2:
            address = (tmp_path / folder / 'epoch_1.pth').as_uri()
            assert load_checkpoint_url(address)['name'] == folder

    def test_the_hash_in_a_name_is_checked(self, saved, tmp_path, monkeypatch):
        monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'cache'))
        path = saved(dict(state_dict={}), 'model-00000000.pth')
        with pytest.raises(CheckpointError, match=r'00000000.pth: .* \(invalid hash value'):
            load_checkpoint_url(path.as_uri())
        digest = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
        path = path.rename(path.with_name(f'model-{digest}.pth'))
        assert load_checkpoint_url(path.as_uri()) == dict(state_dict={})
        assert load_checkpoint_url(saved({}, 'pan-8xb8-4e.pth').as_uri()) == {}  # has no hash


class TestRefusal:
    @pytest.mark.parametrize(
        ('payload', 'name'),
        [
            (lambda mark: Calls(os.system, f'touch {mark}'), 'system'),
            (lambda mark: Calls(getattr, print, '__self__'), 'print'),
        ],
    )
    @pytest.mark.parametrize('legacy', [False, True])
    def test_code(self, saved, tmp_path, payload, name, legacy):
        value = dict(state_dict=dict(), meta=payload(tmp_path / 'code-ran'))
        path = saved(value, _use_new_zipfile_serialization=not legacy)
        with pytest.raises(CheckpointError, match=rf'(?s)file\.pth was refused.*{name}'):
            load_checkpoint_file(path)
        assert not (tmp_path / 'code-ran').exists()

    @pytest.mark.parametrize(
        'value',
        [
            np.array([None, 1], dtype=object),
            np.zeros(2, dtype=[('a', 'f4'), ('b', 'O')]),
        ],
    )
    def test_arrays_that_are_not_plain_data(self, saved, value):
        with pytest.raises(CheckpointError, match=r'file\.pth was refused.*NumPy'):
            load_checkpoint_file(saved(value))

    def test_a_history_of_lists_that_grow(self, saved):
        """2^34 numbers, were they written out."""
        history, values = HistoryBuffer(), [1.0]
        for _ in range(34):
            values = [values, values]
        history._log_history = history._count_history = values
        with pytest.raises(CheckpointError, match='its message hub holds other than numbers'):
            load_checkpoint_file(saved(history))


class TestDamage:
    @pytest.mark.parametrize('content', [b'', b'no checkpoint', pickle.dumps({'a': 1})])
    def test_no_checkpoint(self, tmp_path, content):
        path = tmp_path / 'file.pth'
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=r'file\.pth'):
            load_checkpoint_file(path)

    def test_flipped_bits_are_found(self, saved):
        """In the numbers of the tensors, which PyTorch takes as they come."""
        weights = OrderedDict((str(i), torch.randn(300)) for i in range(4))
        path = saved(dict(state_dict=weights))
        content, rng = path.read_bytes(), random.Random(0)
        for i in range(8):
            data = weights[str(i % 4)].numpy().tobytes()
            start = content.index(data)
            path.write_bytes(with_flipped_bit(content, rng, (start, start + len(data))))
            with pytest.raises(CheckpointError, match=r'file\.pth .*CRC'):
                load_checkpoint_file(path)


def rewrite(path, change):
    """Write a zip anew, its entries changed by ``change(name, content)``."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, 'w') as archive:
        for name, content in entries.items():
            archive.writestr(name, change(name, content))


class TestBombs:
    """A small file takes little memory."""

    def test_deflated(self, saved):
        """2 MiB that would become 2 GiB."""
        path = saved(dict(state_dict=dict(weight=torch.zeros(1))))
        packer = zlib.compressobj(9, wbits=-15)
        zeros = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
        with zipfile.ZipFile(path, 'a') as archive:
            archive.writestr('archive/data/1', zeros * 2048)
            archive.filelist[-1].compress_type = zipfile.ZIP_DEFLATED
            archive.filelist[-1].file_size = 2 << 30
        assert path.stat().st_size < 3 << 20
        with pytest.raises(CheckpointError, match='its entries are compressed'):
            load_checkpoint_file(path)

    def test_entries_that_overlap(self, saved):
        path = saved(dict(weight=torch.zeros(5000)))
        with zipfile.ZipFile(path, 'a') as archive:
            (data,) = (info for info in archive.infolist() if info.filename.endswith('data/0'))
            archive.filelist += [data] * 100
            archive._didModify = True
        with pytest.raises(CheckpointError, match='entries overlap'):
            load_checkpoint_file(path)

    def test_a_directory_that_PyTorch_would_look_for_elsewhere(self, saved):
        path = saved(dict(weight=torch.zeros(5)))
        path.write_bytes(b'PK\3\4' + bytes(100) + path.read_bytes())
        with pytest.raises(CheckpointError, match='does not begin with its zip'):
            load_checkpoint_file(path)

    @pytest.mark.parametrize('legacy', [False, True])
    @pytest.mark.parametrize('what', ['storage', 'both'])
    def test_tensors_that_claim_more(self, saved, legacy, what):
        """Of a number that the machine could give."""
        path = saved(dict(a=torch.ones(10)), _use_new_zipfile_serialization=not legacy)
        more = pickle.dumps(10**7, 2)[2:-1]

        def change(name, content):
            if what != 'shape':  # (…, 'cpu', 10[, None]) of the storage
                for end in (b't', b'N'):
                    content = content.replace(b'K\n' + end, more + end)
            if what != 'storage':
                content = content.replace(b'K\n\x85', more + b'\x85')
            return content

        if legacy:
            path.write_bytes(change('', path.read_bytes()))
        else:
            rewrite(path, change)
        assert more in path.read_bytes()
        why = 'claim more numbers|wrong byte size|does not match expected size'
        with pytest.raises(CheckpointError, match=rf'file\.pth .*({why})'):
            load_checkpoint_file(path)


class TestWeights:
    @pytest.mark.parametrize(
        ('checkpoint', 'message'),
        [
            ([1], r'holds \[1\], not weights'),
            (dict(state_dict={1: torch.ones(1)}), '1 is a tensor of torch.float32'),
            (dict(model=dict(a=torch.ones(1))), "'model' is a dict, not a weight"),
            (dict(a=torch.eye(2).to_sparse()), 'torch.sparse_coo'),
            (dict(a=torch.ones(1, device='meta')), 'tensor of .* on meta'),
        ],
    )
    def test_what_is_none(self, checkpoint, message):
        with pytest.raises(CheckpointError, match=f'file.pth.*{message}'):
            weights_of(checkpoint, 'file.pth')

    def test_what_is_one(self):
        weights = dict(a=torch.ones(1), n=torch.tensor(1), mask=torch.tensor(True), _extra_state=3)
        assert weights_of(dict(state_dict=weights), 'file.pth') is weights
        assert weights_of(weights, 'file.pth') is weights


@pytest.mark.parametrize('kind', ['stride', 'views'])
def test_few_numbers_shown_many_times(tmp_path, kind):
    many = torch.zeros(1).expand(2**31) if kind == 'stride' else torch.zeros(2**20)
    state = dict(a=many) if kind == 'stride' else {str(i): many.view(-1) for i in range(100)}
    torch.save(dict(state_dict=state), tmp_path / 'a.pth')
    with pytest.raises(CheckpointError, match='claim more numbers than the file holds'):
        load_checkpoint_file(tmp_path / 'a.pth')
    tied = torch.zeros(2**23)
    torch.save(dict(a=tied, b=tied.view(-1)), tmp_path / 'tied.pth')
    assert load_checkpoint_file(tmp_path / 'tied.pth')['b'].shape == (2**23,)
