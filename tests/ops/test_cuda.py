"""The CUDA kernels' own source, run on a processor: each thread a fiber, in an unfair order."""

import contextlib
import io
import re
import shutil
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from cuda_emulator import ORDERS, Emulator
from ops import test_persistence_op

from pan_mm.ops import cuda, persistence, persistence_of_appearance, select_backend

U8, F16, BF16, F32 = torch.uint8, torch.float16, torch.bfloat16, torch.float32
STD = (58.395, 57.12, 57.375)
EPS = 1e-6
LAYOUTS = {'planar': cuda.PLANAR, 'channels last': cuda.INTERLEAVED, 'cut out': cuda.ANY}

needs_compiler = pytest.mark.skipif(shutil.which('g++') is None, reason='no g++')


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('kernels')


@pytest.fixture
def emulator(monkeypatch, folder):
    emulator = Emulator(folder)
    monkeypatch.setattr(cuda, 'load', emulator)
    monkeypatch.setattr(persistence, '_runs_on_cpu', lambda backend: True)
    monkeypatch.setattr(persistence, '_has', lambda package: True)
    monkeypatch.setattr(persistence, '_unusable', {})
    persistence._say_once.cache_clear()
    return emulator


def random_frames(dtype, layout, shape, gain=1.0):
    generator = torch.Generator().manual_seed(0)
    frames = torch.randint(0, 256, shape, generator=generator, dtype=U8)
    if dtype != U8:
        frames = (torch.randn(shape, generator=generator) * gain).to(dtype)
    if layout == 'channels last':
        return frames.permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3)
    return F.pad(frames, (1, 2))[..., 1:-2] if layout == 'cut out' else frames


def random_weight(num_filters, channels, size):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(num_filters, channels, size, size, generator=generator) * 1e-3


def in_float64(frames, weight, std, grad_maps):
    """Maps and the gradient of the filters by the formula."""
    weight = weight.double().requires_grad_()
    filters = weight if std is None else weight / weight.new_tensor(std).view(-1, 1, 1)
    differences = (frames[:, :-1].double() - frames[:, 1:].double()).flatten(0, 1)
    features = F.conv2d(differences, filters, padding=weight.shape[-1] // 2) + EPS
    maps = features.norm(dim=1).view(grad_maps.shape)
    maps.backward(grad_maps.double())
    return maps.detach(), weight.grad


def assert_close(found, expected, bound):
    assert found.isfinite().all()
    assert (found.double() - expected).abs().max() <= bound * expected.abs().max()


@contextlib.contextmanager
def count_operators():
    """How often PyTorch ran each operator that does more than make room, or look."""
    free = {'to', 'contiguous', 'detach', 'empty', 'empty_like', 'empty_strided', 'new_empty'}
    counted = {}
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        yield counted
    for event in profile.key_averages():
        kind, _, name = event.key.partition('::')
        if kind == 'aten' and name not in free:
            counted[name] = event.count


def check(frames, weight, precision, dtype, bound):
    std = STD[: frames.shape[2]] if frames.dtype == U8 else None
    shape = (len(frames), frames.shape[1] - 1, *frames.shape[3:])
    generator = torch.Generator().manual_seed(2)
    # Under a loss scale, gradients in float16 are as large as that.
    grad_maps = torch.randn(shape, generator=generator) * (2e4 if dtype == F16 else 1)
    grad_maps = grad_maps.clamp(-6e4, 6e4).to(dtype)
    expected = in_float64(frames, weight, std, grad_maps)
    maps = cuda.forward(frames, weight, EPS, precision, dtype, std)
    assert maps.dtype == dtype
    assert_close(maps, expected[0], bound)
    args = (frames, weight, EPS, precision, False, True, std)
    _, grad = cuda.backward(grad_maps, *args)
    assert_close(grad, expected[1], bound)
    assert torch.equal(grad, cuda.backward(grad_maps, *args)[1])


SMALL = (1, 3, 3, 33, 40)  # two tiles of two pairs

CASES = [
    # frames, layout, precision, maps, shape, filters, size
    (U8, 'planar', F16, F16, SMALL, 8, 7),
    (F32, 'channels last', BF16, F32, SMALL, 8, 7),  # as in training
    (F32, 'planar', F32, F32, SMALL, 8, 7),
    (U8, 'channels last', F32, F32, (1, 2, 3, 9, 24), 8, 7),
    (U8, 'cut out', F32, F32, (1, 2, 3, 5, 7), 8, 3),
    (F16, 'channels last', F16, F16, (1, 2, 3, 9, 24), 5, 7),
    (F16, 'cut out', F16, F32, (2, 2, 3, 9, 21), 8, 7),
    (BF16, 'cut out', BF16, BF16, (1, 2, 3, 9, 21), 8, 7),
    (F32, 'channels last', F32, F32, (1, 2, 3, 9, 24), 8, 7),
    (F32, 'cut out', F32, F32, (1, 2, 2, 9, 21), 4, 7),
    (F32, 'planar', F16, F32, (1, 2, 1, 40, 136), 8, 5),  # two tiles wide
    (U8, 'channels last', BF16, BF16, (1, 2, 2, 9, 24), 8, 7),
    (F16, 'planar', F16, F16, (1, 2, 3, 9, 24), 8, 7),
    (BF16, 'planar', BF16, BF16, (1, 2, 3, 9, 24), 8, 7),
    (BF16, 'channels last', BF16, BF16, (1, 2, 3, 9, 24), 8, 7),
    (F32, 'channels last', F16, F32, (1, 2, 3, 9, 24), 8, 7),
    (F32, 'cut out', F32, F32, (2, 2, 3, 1, 1), 8, 7),
]


@needs_compiler
class TestEmulated:
    @pytest.mark.parametrize(
        'case',
        [*CASES[:2], *(pytest.param(case, marks=pytest.mark.slow) for case in CASES[2:])],
        ids=str,
    )
    def test_equals_the_formula(self, emulator, case):
        dtype, layout, precision, maps, shape, num_filters, size = case
        frames = random_frames(dtype, layout, shape)
        assert cuda.layout_of(frames) == LAYOUTS[layout]
        bound = 1e-5 if precision == F32 else 3e-2 if BF16 in (precision, maps) else 4e-3
        check(frames, random_weight(num_filters, shape[2], size), precision, maps, bound)

    @pytest.mark.slow
    @pytest.mark.parametrize('order', ORDERS[1:])
    def test_in_another_order(self, emulator, monkeypatch, order):
        monkeypatch.setenv('WARPS', order)
        self.test_equals_the_formula(emulator, CASES[1])

    @pytest.mark.slow
    @pytest.mark.parametrize('gain', [1e-6, 1e15])
    def test_float32_of_any_magnitude(self, emulator, gain):
        frames = random_frames(F32, 'planar', (1, 2, 3, 9, 24), gain)
        check(frames, random_weight(8, 3, 7), F32, F32, 1e-5)

    @pytest.mark.slow
    def test_tiles_of_other_magnitudes(self, emulator):
        """Each tile has a scale of its own; their sums have one together."""
        frames = random_frames(F32, 'planar', (1, 4, 3, 33, 72))
        frames[:, :, :, :16] *= 1e-4
        frames[:, 2:, :, 16:] *= 1e3
        frames[:, 3] = frames[:, 2]  # nothing moves: tiles of zeros
        check(frames, random_weight(8, 3, 7), F32, F32, 1e-5)

    def test_without_motion_a_map_is_eps_of_each_filter(self, emulator):
        frames = random_frames(F32, 'channels last', SMALL)
        frames[:, 1:] = frames[:, :1]
        maps = cuda.forward(frames, random_weight(5, 3, 7), EPS, BF16, F32)
        assert_close(maps, torch.full_like(maps, 5**0.5 * EPS, dtype=torch.float64), 1e-6)

    def test_nan_shows(self, emulator):
        frames = random_frames(F32, 'channels last', SMALL)
        frames[0, 1, 2, 4, 5] = float('nan')
        maps = cuda.forward(frames, random_weight(8, 3, 7), EPS, BF16, F32)
        assert maps[0, :, 1:8, 2:9].isnan().all()
        assert maps[0, :, 9:].isfinite().all() and maps[0, :, :, 10:].isfinite().all()

    @pytest.mark.parametrize(
        ('dtype', 'precision', 'bound'),
        [(F32, F32, 1e-5), (F32, BF16, 3e-2), (F32, F16, 2e-3), (U8, F16, 2e-3)],
    )
    def test_training_step(self, emulator, dtype, precision, bound):
        """Through the operator: autocast, a loss scale, both gradients, at most six launches."""
        frames = random_frames(dtype, 'channels last', SMALL).requires_grad_(dtype != U8)
        weight, std = random_weight(3, 3, 7).requires_grad_(), STD if dtype == U8 else None
        inputs = [weight] if dtype == U8 else [weight, frames]

        def step(backend):
            maps = persistence_of_appearance(frames, weight, std=std, backend=backend)
            return maps.detach(), *torch.autograd.grad(maps.float().sum() * 65536, inputs)

        with torch.autocast('cpu', dtype=precision, enabled=precision != F32):
            results = step('cuda')
        for found, expected in zip(results, step('reference')):
            assert_close(found, expected.double(), bound)
        assert emulator.started == ['prepare', 'forward', 'prepare', 'backward', 'reduce']

    @pytest.mark.parametrize('value', [float('inf'), float('nan')])
    @pytest.mark.parametrize(
        ('dtype', 'layout', 'precision', 'maps'), [case[:4] for case in CASES[:3]], ids=str
    )
    def test_a_gradient_that_is_not_finite_shows(
        self, emulator, value, dtype, layout, precision, maps
    ):
        """A loss scale is lowered when it does."""
        frames = random_frames(dtype, layout, SMALL)
        std, grad_maps = STD if dtype == U8 else None, torch.ones(1, 2, 33, 40, dtype=maps)
        grad_maps[0, 1, 20, 20] = value
        weight = random_weight(8, 3, 7)
        _, grad = cuda.backward(grad_maps, frames, weight, EPS, precision, False, True, std)
        assert not grad.isfinite().any()

    @pytest.mark.parametrize('dtype', [F16, BF16])
    def test_filters_of_16_bits(self, emulator, dtype):
        """They are read, and their gradient is written, as they are."""
        frames = random_frames(dtype, 'channels last', (1, 2, 3, 9, 24))
        weight = (100 * random_weight(5, 3, 5)).to(dtype).requires_grad_()
        maps = persistence_of_appearance(frames, weight, backend='cuda')
        (grad,) = torch.autograd.grad(maps.sum(), weight)
        expected = in_float64(frames, weight.detach(), None, torch.ones_like(maps))
        assert (maps.dtype, grad.dtype) == (dtype, dtype)
        for found, exact in zip((maps, grad), expected):
            assert_close(found.detach(), exact, 4e-3 if dtype == F16 else 1e-2)

    @pytest.mark.parametrize(
        ('frames', 'filters', 'autocast'),
        [(U8, F32, F16), (F32, F32, BF16), (BF16, BF16, None)],
        ids=str,
    )
    def test_launches(self, emulator, frames, filters, autocast):
        """Two kernels and no operator forward, at most six in training; no copy from the host."""
        std = STD if frames == U8 else None
        frames = random_frames(frames, 'channels last', (1, 2, 3, 9, 24))
        weight = random_weight(8, 3, 7).to(filters)

        def forward():
            with torch.autocast('cpu', autocast, enabled=autocast is not None):
                return persistence_of_appearance(frames, weight, std=std, backend='cuda')

        with count_operators() as counted:
            maps = forward()
        assert not counted
        assert emulator.started == ['prepare', 'forward']
        emulator.started.clear()
        weight.requires_grad_()
        grad_maps = torch.ones_like(maps)
        with count_operators() as counted:
            torch.autograd.grad(forward(), weight, grad_maps)
        assert not counted
        assert emulator.started == ['prepare', 'forward', 'prepare', 'backward', 'reduce']

    @pytest.mark.parametrize('needs_frames', [False, True])
    def test_no_clips(self, emulator, needs_frames):
        """A grid without blocks would be an error."""
        frames = torch.empty(0, 3, 3, 8, 9).requires_grad_(needs_frames)
        weight = random_weight(8, 3, 7).requires_grad_()
        maps = persistence_of_appearance(frames, weight, backend='cuda')
        assert maps.shape == (0, 2, 8, 9)
        maps.sum().backward()
        assert torch.equal(weight.grad, torch.zeros(8, 3, 7, 7))
        assert not needs_frames or frames.grad.shape == frames.shape
        assert not emulator.started

    @pytest.mark.parametrize(
        ('name', 'args'),
        [('registration', [(True, True)]), ('compiled', ['aot_eager', None]), ('exported', [])],
    )
    def test_operator(self, emulator, name, args):
        tests = test_persistence_op.TestOperators()
        getattr(tests, f'test_{name}')('cuda', 'cpu', *args)
        assert 'forward' in emulator.started


@pytest.mark.skipif(not torch.cuda.is_available(), reason='no GPU')
class TestOnGPU:
    """What no processor can stand in for."""

    @pytest.fixture(autouse=True)
    def kernels(self):
        pytest.importorskip('cuda.core', reason='cuda-core is not installed')
        cuda.load.cache_clear()
        persistence._unusable.clear()

    def inputs(self, device='cuda'):
        frames = random_frames(F32, 'channels last', (2, 4, 3, 40, 56)).to(device)
        return frames, random_weight(8, 3, 7).to(device).requires_grad_()

    def step(self, frames, weight):
        maps = persistence_of_appearance(frames, weight, backend='cuda')
        return maps, torch.autograd.grad(maps, weight, torch.ones_like(maps))[0]

    def assert_right(self, results, frames, weight):
        assert select_backend(frames, weight, 'cuda') == 'cuda'  # no kernel has failed
        expected = in_float64(frames, weight.detach(), None, torch.ones_like(results[0]))
        for found, exact in zip(results, expected):
            assert found.device == frames.device
            assert_close(found.detach(), exact, 1e-5)

    def test_captured_in_a_graph(self):
        frames, weight = self.inputs()
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            self.step(frames, weight)  # compiles
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            results = self.step(frames, weight)
        frames.mul_(frames.flip(-1))
        graph.replay()
        self.assert_right(results, frames, weight)

    def test_on_another_stream(self):
        """It waits for the work that is queued there."""
        frames, weight = self.inputs()
        self.step(frames, weight)  # compiles
        late = torch.empty_like(frames).zero_()
        torch.cuda.synchronize()
        stream = torch.cuda.Stream()
        with torch.cuda.stream(stream):
            torch.cuda._sleep(200_000_000)  # about a tenth of a second
            late.copy_(frames)
            results = self.step(late, weight)
        stream.synchronize()
        self.assert_right(results, frames, weight)

    def test_the_current_device_stays(self):
        before = torch.cuda.current_device()
        frames, weight = self.inputs()
        self.assert_right(self.step(frames, weight), frames, weight)
        assert torch.cuda.current_device() == before

    @pytest.mark.skipif(torch.cuda.device_count() < 2, reason='no second GPU')
    def test_on_a_second_device(self):
        with torch.cuda.device(0):
            frames, weight = self.inputs('cuda:1')
            self.assert_right(self.step(frames, weight), frames, weight)
            assert torch.cuda.current_device() == 0
            assert torch.empty(1, device='cuda').device.index == 0


class TestStarting:
    """How ``cuda-core`` is called."""

    @pytest.fixture(autouse=True)
    def package(self):
        self.core = pytest.importorskip('cuda.core', reason='cuda-core is not installed')

    def test_on_the_current_stream_of_any_pytorch(self, monkeypatch):
        started = []
        monkeypatch.setattr(self.core, 'launch', lambda *args: started.append(args))
        stream = SimpleNamespace(cuda_stream=7)  # all that PyTorch 2.8 has
        monkeypatch.setattr(torch.cuda, 'current_stream', lambda: stream)
        kernel = object.__new__(cuda.Kernel)
        vars(kernel).update(_kernel='forward', _block=160, _shared=400)
        kernel((3, 2), 1, 2.5)
        ((stream, config, *rest),) = started
        assert stream.__cuda_stream__() == (0, 7)
        assert (config.grid, config.block, config.shmem_size) == ((3, 2, 1), (160, 1, 1), 400)
        assert rest == ['forward', 1, 2.5]

    @pytest.mark.slow
    def test_without_a_home_there_is_no_cache(self, monkeypatch, tmp_path):
        pytest.importorskip('cuda.bindings.nvrtc', reason='NVRTC is not installed')
        (tmp_path / 'file').touch()
        monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'file' / 'cache'))
        monkeypatch.setattr(torch.cuda, 'get_device_capability', lambda device: (9, 0))
        variant = cuda.choose_variant(random_frames(U8, 'planar', (1, 2, 3, 8, 24)), F16, F16)
        program = cuda._program.__wrapped__(variant, torch.device('cuda', 0))
        assert b'forward' in program.code and not list(tmp_path.rglob('*.cubin'))


class TestFallback:
    def test_other_filters(self, emulator, shape=(9, 3, 7, 7)):
        frames = torch.rand(1, 2, shape[1], 12, 12)
        weight = torch.rand(shape)
        with pytest.warns(UserWarning, match='takes up to 8 filters of 3 × 3, 5 × 5 or 7 × 7'):
            maps = persistence_of_appearance(frames, weight, backend='cuda')
        assert torch.equal(maps, persistence_of_appearance(frames, weight, backend='reference'))

    def test_what_cannot_be_compiled(self, emulator, monkeypatch):
        def load(*args):
            raise RuntimeError('NVRTC_ERROR_COMPILATION')

        monkeypatch.setattr(cuda, 'load', load)
        frames, weight = torch.rand(1, 2, 3, 8, 8), random_weight(8, 3, 7)
        with pytest.warns(UserWarning, match='could not be built or started.*NVRTC_ERROR') as said:
            maps = persistence_of_appearance(frames, weight, backend='cuda')
            persistence_of_appearance(frames, weight, backend='cuda')
        assert len(said) == 1
        assert torch.equal(maps, persistence_of_appearance(frames, weight, backend='reference'))


@pytest.mark.slow
@pytest.mark.parametrize('capability', [(8, 0), (9, 0), (10, 0)])
@pytest.mark.parametrize('is_backward', [False, True])
def test_compiles_for_a_gpu_within_its_registers(capability, is_backward):
    pytest.importorskip('cuda.core', reason='cuda-core is not installed')
    pytest.importorskip('cuda.bindings.nvrtc', reason='NVRTC is not installed')
    name, shared_of_a_processor = 'backward' if is_backward else 'forward', 160 * 1024
    # All for the GPU of the records; for an older and a newer one the usual ones.
    cases = CASES if capability == (9, 0) else CASES[:4]
    for dtype, layout, precision, maps in sorted({case[:4] for case in cases}, key=str):
        frames = random_frames(dtype, layout, (1, 2, 3, 8, 24))
        variant = cuda.choose_variant(frames, precision, maps, is_backward=is_backward)
        logs = io.StringIO()
        cuda.compile_program(variant, capability, logs=logs)
        text = logs.getvalue().partition(f"entry function '{name}'")[2]
        spilled = int(re.search(r'(\d+) bytes spill stores', text)[1])
        registers = int(re.search(r'Used (\d+) registers', text)[1])
        blocks = variant.blocks
        assert spilled <= (160 if is_backward else 0), (dtype, layout, precision, spilled)
        assert registers * variant.threads(name) * blocks <= 65536
        assert (variant.shared_bytes(name) + 1024) * blocks <= shared_of_a_processor
        assert variant.shared_bytes(name) <= 48 * 1024  # more needs a setting of the driver
