import json
import pickle
import re

import numpy as np
import pytest
import torch
from mmaction.registry import MODELS
from mmengine.runner import load_checkpoint

from pan_mm.convert import (
    class_names,
    convert_official_checkpoint,
    convert_official_state_dict,
    model_config,
    read_architecture,
)
from pan_mm.utils.errors import CheckpointError

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
BLOCKS[152] = (3, 8, 36, 3)
STREAMS = ('rgb', 'pa', 'lite')


def official_shapes(stream, depth, num_segments=8, num_classes=5):
    """Names and shapes of the authors' model: torchvision's ResNet with shifted conv1."""
    shapes = {}

    def conv(name, *shape):
        shapes[f'{name}.weight'] = shape

    def bn(name, channels):
        for part in ('weight', 'bias', 'running_mean', 'running_var'):
            shapes[f'{name}.{part}'] = (channels,)
        shapes[f'{name}.num_batches_tracked'] = ()

    if stream != 'rgb':
        shapes['PA.shallow_conv.weight'], shapes['PA.shallow_conv.bias'] = (8, 3, 7, 7), (8,)
    conv('base_model.conv1', 64, 6 if stream == 'lite' else 3, 7, 7)
    bn('base_model.bn1', 64)
    expansion, channels = (1 if depth < 50 else 4), 64
    for layer, blocks in enumerate(BLOCKS[depth]):
        width = 64 * 2**layer
        for block in range(blocks):
            name = f'base_model.layer{layer + 1}.{block}'
            shifted = '.net' if depth < 101 or block % 2 == 0 else ''
            kernels = (3, 3) if depth < 50 else (1, 3, 1)
            widths = [channels, width, width, width * expansion]
            for i, kernel in enumerate(kernels):
                out = width * expansion if i == len(kernels) - 1 else width
                conv(f'{name}.conv{i + 1}{"" if i else shifted}', out, widths[i], kernel, kernel)
                bn(f'{name}.bn{i + 1}', out)
            if block == 0 and channels != width * expansion:
                conv(f'{name}.downsample.0', width * expansion, channels, 1, 1)
                bn(f'{name}.downsample.1', width * expansion)
            channels = width * expansion
    vectors = num_segments - 1
    conv('base_model.fc.TES.0', 4 * vectors, vectors)
    conv('base_model.fc.TES.2', vectors, 4 * vectors)
    conv('base_model.fc.pred', num_classes, channels)
    shapes['base_model.fc.pred.bias'] = (num_classes,)
    return shapes


def official_state(*args, device='cpu', **kwargs):
    torch.manual_seed(0)
    return {
        f'module.{name}': 0.1 * torch.rand(shape, device=device)
        for name, shape in official_shapes(*args, **kwargs).items()
    }


def build(state_dict, **kwargs):
    model = MODELS.build(model_config(**read_architecture(state_dict))).eval()
    model.load_state_dict(convert_official_state_dict(state_dict, **kwargs), strict=True)
    return model


def logits(model, frames):
    with torch.no_grad():
        return model(frames, mode='tensor', stage='head')


@pytest.fixture(scope='module')
def small():
    return official_state('lite', 18, num_segments=4, num_classes=27)


@pytest.mark.parametrize('stream', STREAMS)
def test_the_layout_tested_is_the_authors(parity_dir, stream):
    official = json.loads((parity_dir / 'official_keys.json').read_text())[f'{stream}_r50']
    shapes = official_shapes(stream, 50, num_classes=174)
    assert {name: tuple(shape) for name, shape in official} == shapes


class TestArchitecture:
    @pytest.mark.parametrize(
        ('stream', 'depth', 'num_segments'),
        [('rgb', 18, 4), ('pa', 34, 8), ('lite', 50, 16), ('rgb', 101, 8), ('lite', 152, 8)],
    )
    def test_every_stream_and_depth_converts(self, stream, depth, num_segments):
        # Without values: names and shapes alone.
        state = official_state(stream, depth, num_segments, 11, device='meta')
        sizes = dict(num_segments=num_segments, clip_len=4, num_classes=11)
        assert read_architecture(state) == dict(stream=stream, depth=depth, **sizes)
        with torch.device('meta'):
            model = MODELS.build(model_config(**read_architecture(state)))
        converted = convert_official_state_dict(state)
        assert set(converted) == set(model.state_dict())
        dropped = 'module.PA.shallow_conv.bias' in state
        assert len(converted) == len(state) - dropped


class TestLabelOrder:
    @pytest.mark.parametrize('dataset', ['sthv1', 'jester'])
    def test_a_class_keeps_its_row(self, dataset):
        names = class_names(dataset)
        authors = sorted(names)  # the order of their category.txt
        state = official_state('rgb', 18, 4, len(names))
        converted = convert_official_state_dict(state, dataset)
        for number, name in enumerate(names):
            row = authors.index(name)
            for part in ('weight', 'bias'):
                ours = converted[f'cls_head.fc_cls.{part}'][number]
                assert torch.equal(ours, state[f'module.base_model.fc.pred.{part}'][row])

    @pytest.mark.parametrize(
        ('order', 'message'),
        [
            ('sthv1', 'sthv1 has 174 classes, the checkpoint 27'),
            ('sthv2', "must be one of sthv1, jester, got 'sthv2'"),
        ],
    )
    def test_what_does_not_fit(self, small, order, message):
        with pytest.raises(ValueError, match=message):
            convert_official_state_dict(small, order)


class TestNoPAN:
    @pytest.mark.parametrize(
        ('change', 'message'),
        [
            (lambda s: s.pop('module.base_model.fc.TES.0.weight'), 'not a PAN .*base_model.fc.TES'),
            (
                lambda s: s.pop('module.base_model.layer3.1.bn2.bias'),
                r'Missing key.*layer3.1.conv2.bn.bias',
            ),
            (
                lambda s: s.update({'module.base_model.layer4.2.bn1.bias': torch.zeros(1)}),
                r'\(2, 2, 2, 3\) basic blocks',
            ),
            (
                lambda s: s.update({'module.base_model.conv1.weight': torch.zeros(64, 10, 7, 7)}),
                '10 channels with PA',
            ),
            (
                lambda s: s.update({'module.base_model.bn1.bias': torch.zeros(3)}),
                r'size mismatch for .*conv1.bn.bias',
            ),
        ],
    )
    def test_state_dict(self, small, change, message):
        state = dict(small)
        change(state)
        with pytest.raises(CheckpointError, match=f'(?s){message}'):
            convert_official_state_dict(state)


class Evil:
    def __reduce__(self):
        return print, ('this code must not run',)


class TestFile:
    def save(self, path, state, **kwargs):
        torch.save(
            dict(
                epoch=80,
                arch='resnet18',
                state_dict=state,
                optimizer=dict(state={}, param_groups=[dict(lr=0.01, params=[0])]),
                best_prec1=torch.tensor(48.0),
            ),
            path,
            **kwargs,
        )

    def test_checkpoint_loads_and_says_what_it_is(self, tmp_path, small):
        src, dst = tmp_path / 'anything.pth.tar', tmp_path / 'ours.pth'
        self.save(src, small, _use_new_zipfile_serialization=False)  # as in their time
        meta = convert_official_checkpoint(src, dst, 'jester')
        saved = torch.load(dst, weights_only=True)
        assert saved['meta'] == meta
        assert (meta['stream'], meta['depth'], meta['num_segments']) == ('lite', 18, 4)
        assert (meta['num_classes'], meta['source_epoch'], meta['label_order']) == (
            27,
            80,
            'jester',
        )
        assert re.fullmatch('[0-9a-f]{64}', meta['source_sha256'])
        model = MODELS.build(model_config(**read_architecture(small)))
        load_checkpoint(model, str(dst), strict=True)
        for name, value in convert_official_state_dict(small, 'jester').items():
            assert torch.equal(model.state_dict()[name], value.to(model.state_dict()[name].dtype))

    @pytest.mark.parametrize('kind', ['truncated', 'evil', 'no PAN'])
    def test_no_output_of_a_bad_file(self, tmp_path, small, kind, capfd):
        src, dst = tmp_path / 'src.pth.tar', tmp_path / 'ours.pth'
        self.save(src, small)
        if kind == 'truncated':
            src.write_bytes(src.read_bytes()[:-1000])
        elif kind == 'evil':
            src.write_bytes(pickle.dumps(Evil()))
        else:
            self.save(src, {'fc.weight': torch.zeros(2, 3)})
        dst.write_text('what was there before')
        with pytest.raises(CheckpointError):
            convert_official_checkpoint(src, dst)
        assert dst.read_text() == 'what was there before'
        assert sorted(path.name for path in tmp_path.iterdir()) == ['ours.pth', 'src.pth.tar']
        assert 'must not run' not in capfd.readouterr().out


TOOL = 'tools/convert/official_to_pan.py'


@pytest.mark.slow
class TestTool:
    @pytest.mark.parametrize('stream', STREAMS)
    def test_logits_equal_the_authors(self, parity_dir, tmp_path, fixture_value, run_tool, stream):
        src, dst = tmp_path / 'src.pth.tar', tmp_path / 'ours.pth'
        run_tool(parity_dir / 'make_checkpoint.py', f'{stream}_r50', src, check=True)
        done = run_tool(TOOL, src, dst, check=True)
        assert f'stream    {stream}' in done.stdout
        assert '--label-order sthv1' in done.stdout  # 174 classes may be SSv1's
        model = MODELS.build(model_config(stream, 50, 8, 174)).eval()
        load_checkpoint(model, str(dst), strict=True)
        ours = logits(model, fixture_value.frames().flatten(1, 2)).numpy()
        authors = np.load(parity_dir / f'expected_{stream}_r50.npz')['logits']
        assert np.abs(ours - authors).max() <= 1e-4 * np.abs(authors).max()
