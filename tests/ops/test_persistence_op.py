"""Every path of PA against its definition, forward and backward."""

import importlib.util

import pytest
import torch
from torch.autograd import gradcheck

from pan_mm.ops import persistence_of_appearance

# Largest difference from the float64 reference, relative to its largest value. Half precisions
# round frames' differences, filters and maps: a few units of 2^-11 and 2^-8.
BOUNDS = {torch.float32: 1e-5, torch.float16: 4e-3, torch.bfloat16: 3e-2}
SLOW = pytest.mark.slow
SHAPES = [
    # (B, m, C, H, W), K, k: odd and even sizes, one row, more and fewer filters
    ((1, 2, 3, 9, 11), 8, 7),
    ((1, 6, 2, 1, 7), 5, 5),
    ((2, 3, 3, 5, 24), 16, 7),
    ((1, 2, 8, 3, 16), 1, 3),
]


def make_inputs(shape, num_filters=8, size=7, dtype=torch.float32, device='cpu', seed=0):
    generator = torch.Generator().manual_seed(seed)
    frames = torch.randn(shape, generator=generator)
    weight = torch.randn(num_filters, shape[2], size, size, generator=generator) / size
    return frames.to(device, dtype), weight.to(device, dtype)


def with_gradients(frames, weight, backend, grad_maps, **kwargs):
    """Maps, the frames' and the filters' gradient, in float64."""
    frames, weight = frames.detach().requires_grad_(), weight.detach().requires_grad_()
    maps = persistence_of_appearance(frames, weight, backend=backend, **kwargs)
    grads = torch.autograd.grad(maps, (frames, weight), grad_maps.to(maps.dtype))
    return [tensor.double().cpu() for tensor in (maps.detach(), *grads)]


def assert_equals_reference(frames, weight, backend, bound, **kwargs):
    batch, num_frames, _, height, width = frames.shape
    grad_maps = torch.randn(batch, num_frames - 1, height, width).to(frames)
    expected = with_gradients(
        frames.double(), weight.double(), 'reference', grad_maps.double(), **kwargs
    )
    actual = with_gradients(frames, weight, backend, grad_maps, **kwargs)
    for name, one, other in zip(('maps', 'frames.grad', 'weight.grad'), actual, expected):
        assert one.shape == other.shape
        error = (one - other).abs().max() / other.abs().max()
        assert error <= bound, f'{name}: {error:.2e}'


class TestEqualsReference:
    @pytest.mark.parametrize(('shape', 'num_filters', 'size'), SHAPES)
    def test_shapes(self, backend, device, shape, num_filters, size):
        frames, weight = make_inputs(shape, num_filters, size, device=device)
        assert_equals_reference(frames, weight, backend, BOUNDS[torch.float32])

    @pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
    def test_half_precision(self, backend, device, dtype):
        frames, weight = make_inputs((1, 3, 3, 8, 9), dtype=dtype, device=device)
        assert_equals_reference(frames, weight, backend, BOUNDS[dtype])
        assert persistence_of_appearance(frames, weight, backend=backend).dtype == dtype

    @pytest.mark.parametrize(
        'layout',
        [
            lambda frames: (
                frames.flatten(0, 1)
                .contiguous(memory_format=torch.channels_last)
                .unflatten(0, frames.shape[:2])
            ),
            lambda frames: frames.permute(4, 2, 0, 1, 3).contiguous().permute(2, 3, 1, 4, 0),
            lambda frames: frames.repeat_interleave(2, dim=1)[:, ::2, :, :, 1:],
        ],
        ids=['channels_last', 'permuted', 'strided'],
    )
    def test_memory_layouts(self, backend, device, layout):
        frames, weight = make_inputs((2, 3, 3, 6, 7), device=device)
        assert_equals_reference(layout(frames), weight, backend, BOUNDS[torch.float32])

    @pytest.mark.parametrize('backend', ['triton'], indirect=True)
    def test_gpu_backward_in_several_chunks(self, backend, device, monkeypatch):
        gpu = pytest.importorskip('pan_mm.ops.gpu')
        monkeypatch.setattr(gpu, 'CHUNK', 1)
        frames, weight = make_inputs((3, 2, 3, 4, 9), device=device)
        assert_equals_reference(frames, weight, backend, BOUNDS[torch.float32])

    @pytest.mark.parametrize('backend', ['triton'], indirect=True)
    def test_gpu_offsets_beyond_32_bits(self, backend, device):
        """Rows lie 2 ** 30 bytes apart, in memory of which only their pages are ever touched."""
        values = torch.randint(0, 256, (1, 2, 1, 4, 8), dtype=torch.uint8, device=device)
        rows = 2**30
        frames = torch.empty(3 * rows + 64, dtype=torch.uint8, device=device)
        frames = frames.as_strided((1, 2, 1, 4, 8), (32, 16, 8, rows, 1)).copy_(values)
        _, weight = make_inputs((1, 2, 1, 4, 8), 2, 3, device=device)
        maps = persistence_of_appearance(frames, weight, std=(50.0,), backend=backend)
        expected = persistence_of_appearance(values, weight, std=(50.0,), backend='reference')
        torch.testing.assert_close(maps, expected, rtol=1e-5, atol=1e-5)

    def test_large_half_precision_frames_stay_finite(self, backend, device):
        """Squares of 300 overflow float16 (65504); the norm must not be taken there."""
        frames = torch.zeros(1, 2, 3, 8, 8, dtype=torch.float16, device=device)
        frames[:, 0] = 300
        weight = torch.zeros(3, 3, 3, 3, dtype=torch.float16, device=device)
        weight[..., 1, 1] = torch.eye(3)
        maps = persistence_of_appearance(frames, weight, backend=backend)
        expected = torch.full_like(maps, 300 * 3**0.5)
        torch.testing.assert_close(maps, expected, rtol=1e-3, atol=0)

    def test_cpu_bands_meet_without_a_seam(self, monkeypatch):
        from pan_mm.ops import cpu

        monkeypatch.setattr(cpu, 'BAND_PIXELS', 40)
        frames, weight = make_inputs((2, 3, 3, 23, 17))
        assert_equals_reference(frames, weight, 'cpu', BOUNDS[torch.float32])

    def test_bfloat16_units_of_a_processor(self, monkeypatch):
        from pan_mm.ops import cpu

        monkeypatch.setattr(cpu, 'has_bfloat16_units', lambda: True)
        frames, weight = make_inputs((2, 3, 3, 12, 16), dtype=torch.bfloat16)
        assert_equals_reference(frames, weight, 'cpu', BOUNDS[torch.bfloat16])


class TestRawFrames:
    STD = (58.395, 57.12, 57.375)
    MEAN = (123.675, 116.28, 103.53)

    def test_equal_to_normalized_frames(self, backend, device):
        _, weight = make_inputs((1, 3, 3, 6, 24), device=device)
        raw = torch.randint(0, 256, (1, 3, 3, 6, 24), dtype=torch.uint8, device=device)
        mean, std = (weight.new_tensor(v).view(-1, 1, 1) for v in (self.MEAN, self.STD))
        weight.requires_grad_()
        results = []
        for frames, options in (
            ((raw - mean) / std, dict(backend='reference')),
            (raw, dict(backend=backend, std=self.STD)),
        ):
            maps = persistence_of_appearance(frames, weight, **options)
            results.append((maps, *torch.autograd.grad(maps.sum(), weight)))
        (maps, grad), (raw_maps, raw_grad) = results
        assert raw_maps.dtype == weight.dtype
        torch.testing.assert_close(raw_maps, maps, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(raw_grad, grad, rtol=1e-4, atol=1e-4)

    @pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
    def test_autocast_with_a_loss_scale(self, backend, device, dtype):
        """Filters of 0.001 over a deviation are subnormal in float16, their gradients too large."""
        raw = torch.randint(0, 256, (1, 3, 3, 6, 24), dtype=torch.uint8, device=device)
        weight = make_inputs((1, 1, 3, 1, 1), device=device)[1].mul_(0.001).requires_grad_()
        maps = persistence_of_appearance(raw, weight, std=self.STD, backend='reference')
        (grad,) = torch.autograd.grad(maps.sum(), weight)
        with torch.autocast(device, dtype):
            half = persistence_of_appearance(raw, weight, std=self.STD, backend=backend)
        (half_grad,) = torch.autograd.grad(half.sum() * 65536, weight)
        assert half_grad.isfinite().all()
        bound = 2e-3 if backend != 'cpu' else BOUNDS[dtype]  # exact differences in float16
        assert (half - maps).abs().max() <= bound * maps.max()
        assert (half_grad / 65536 - grad).abs().max() <= bound * grad.abs().max()

    def test_std_goes_with_uint8(self):
        frames, weight = make_inputs((1, 2, 3, 6, 6))
        raw = frames.to(torch.uint8)
        for given, std in ((frames, self.STD), (raw, None), (raw, (1.0, 1.0))):
            with pytest.raises(ValueError, match='raw uint8 frames need std'):
                persistence_of_appearance(given, weight, std=std)


class TestGradients:
    @pytest.mark.parametrize('backend', ['auto', 'cpu'])  # 'auto' takes the reference
    def test_gradcheck(self, backend):
        frames, weight = make_inputs((1, 3, 2, 5, 4), 3, 3, dtype=torch.float64)
        frames.requires_grad_()
        weight.requires_grad_()
        assert gradcheck(
            lambda f, w: persistence_of_appearance(f, w, backend=backend), (frames, weight)
        )

    @pytest.mark.parametrize('eps', [1e-6, 0.0])
    def test_identical_frames(self, backend, device, eps):
        frames, weight = make_inputs((1, 1, 3, 6, 7), device=device)
        frames = frames.expand(1, 3, 3, 6, 7)
        weight.requires_grad_()
        maps = persistence_of_appearance(frames, weight, eps=eps, backend=backend)
        torch.testing.assert_close(maps, torch.full_like(maps, eps * 8**0.5), atol=1e-9, rtol=1e-3)
        (grad,) = torch.autograd.grad(maps.sum(), weight)
        assert torch.equal(grad, torch.zeros_like(grad))

    @pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
    def test_autocast(self, backend, device, dtype):
        frames, weight = make_inputs((1, 2, 3, 6, 7), device=device)
        weight.requires_grad_()
        maps = persistence_of_appearance(frames, weight, backend='reference')
        (grad,) = torch.autograd.grad(maps.sum(), weight)
        with torch.autocast(device, dtype):
            half = persistence_of_appearance(frames, weight, backend=backend)
        (half_grad,) = torch.autograd.grad(half.sum(), weight)
        assert (half.dtype, half_grad.dtype) == (torch.float32, torch.float32)
        for one, other in ((half, maps), (half_grad, grad)):
            assert (one - other).abs().max() <= BOUNDS[dtype] * other.abs().max()

    def test_autocast_of_little_motion(self, backend, device, dtype=torch.bfloat16):
        """Frames that are far from zero and close to each other: only differences are rounded."""
        frames, weight = make_inputs((1, 1, 3, 6, 7), device=device)
        frames = 3 + frames + 0.01 * torch.rand(1, 4, 3, 6, 7, device=device)
        maps = persistence_of_appearance(frames, weight, backend='reference')
        with torch.autocast(device, dtype):
            half = persistence_of_appearance(frames, weight, backend=backend)
        assert (half - maps).abs().max() <= BOUNDS[dtype] * maps.max()

    def test_same_from_run_to_run(self, backend, device):
        frames, weight = make_inputs((2, 3, 3, 9, 16), device=device)
        grad_maps = torch.randn(2, 2, 9, 16, device=device)
        torch.use_deterministic_algorithms(True)
        try:
            first, second = (with_gradients(frames, weight, backend, grad_maps) for _ in range(2))
        finally:
            torch.use_deterministic_algorithms(False)
        assert all(torch.equal(one, other) for one, other in zip(first, second))


class TestOperators:
    """``pan_mm::persistence`` in graphs: kept, with its backward."""

    @pytest.mark.parametrize('needs', [(True, True), (False, True), (True, False)])
    def test_registration(self, backend, device, needs):
        frames, weight = make_inputs((1, 3, 2, 4, 9), 4, 3, device=device)
        frames.requires_grad_(needs[0])
        weight.requires_grad_(needs[1])
        settings = (1e-6, torch.float32, torch.float32, backend)
        torch.library.opcheck(torch.ops.pan_mm.persistence, (frames, weight, *settings))
        grad = torch.randn(1, 2, 4, 9, device=device)
        args = (grad, frames.detach(), weight.detach(), 1e-6, torch.float32, *needs, backend)
        torch.library.opcheck(torch.ops.pan_mm.persistence_backward, args)

    @pytest.mark.parametrize('compiler', ['aot_eager', pytest.param('inductor', marks=SLOW)])
    def test_compiled(self, backend, device, compiler, inductor_cache):
        frames, weight = make_inputs((2, 3, 3, 6, 9), device=device)
        weight.requires_grad_()
        torch._dynamo.reset()  # else it counts how often other tests compiled `step`
        graphs = []

        def step(frames):
            return persistence_of_appearance(frames * 2, weight, backend=backend).mean((2, 3))

        def look(graph, inputs):
            graphs.append({str(node.target) for node in graph.graph.nodes})
            return torch._dynamo.lookup_backend(compiler)(graph, inputs)

        compiled = torch.compile(step, backend=look, fullgraph=True)
        # The graph of another batch size is the same for each compiler, and inductor takes long.
        for batch in (frames, frames[:1])[: 1 if compiler == 'inductor' else 2]:
            (expected,) = torch.autograd.grad(step(batch).sum(), weight)
            maps = compiled(batch)
            torch.testing.assert_close(maps, step(batch))
            torch.testing.assert_close(torch.autograd.grad(maps.sum(), weight)[0], expected)
        assert all('pan_mm.persistence.default' in targets for targets in graphs)

    def test_exported(self, backend, device):
        class Model(torch.nn.Module):
            def forward(self, frames, weight):
                return persistence_of_appearance(frames, weight, backend=backend)

        frames, weight = make_inputs((2, 3, 3, 6, 9), device=device)
        batch = torch.export.Dim('batch', min=1, max=8)
        program = torch.export.export(Model(), (frames, weight), dynamic_shapes=({0: batch}, None))
        assert 'pan_mm.persistence' in str(program.graph)
        maps = program.module()(frames[:1], weight)
        torch.testing.assert_close(maps, Model()(frames[:1], weight))


class TestSelection:
    def test_unknown(self):
        frames, weight = make_inputs((1, 2, 3, 6, 6))
        with pytest.raises(ValueError, match='must be one of auto, reference, cpu, triton'):
            persistence_of_appearance(frames, weight, backend='tpu')

    def test_unavailable(self, monkeypatch):
        frames, weight = make_inputs((1, 2, 3, 6, 6))
        monkeypatch.setenv('TRITON_INTERPRET', '0')
        with pytest.raises(RuntimeError, match="backend 'triton' needs .*; use backend='auto'"):
            persistence_of_appearance(frames, weight, backend='triton')
        monkeypatch.setenv('TRITON_INTERPRET', '1')
        with pytest.raises(RuntimeError, match='takes up to 16 filters of 3 × 3'):
            persistence_of_appearance(frames, weight[..., :1, :1], backend='triton')
        with pytest.raises(RuntimeError, match="backend 'cpu' needs CPU tensors, got meta"):
            persistence_of_appearance(frames.to('meta'), weight.to('meta'), backend='cpu')

    @pytest.mark.parametrize(
        ('change', 'message'),
        [
            (lambda f, w: (f[0], w), 'B, m, C, H, W'),
            (lambda f, w: (f[:, :1], w), 'm >= 2'),
            (lambda f, w: (f[:, :, :, :0], w), 'and pixels'),
            (lambda f, w: (f, w[:, :2]), r'\(K, 3, k, k\)'),
            (lambda f, w: (f, w[..., 1:]), 'k odd'),
            (lambda f, w: (f.half(), w), 'give both one dtype'),
            (lambda f, w: (f.int(), w), 'floating point or uint8'),
            (lambda f, w: (f, w.to('meta')), 'move one to the other'),
        ],
    )
    def test_bad_input(self, change, message):
        with pytest.raises(ValueError, match=message):
            persistence_of_appearance(*change(*make_inputs((1, 2, 3, 6, 6))))

    def test_other_programs_get_plain_operators(self):
        class Model(torch.nn.Module):
            def forward(self, frames, weight):
                return persistence_of_appearance(frames, weight)

        frames, weight = make_inputs((1, 2, 3, 6, 6))
        traced = torch.jit.trace(Model(), (frames, weight))
        assert 'pan_mm::' not in str(traced.graph)
        torch.testing.assert_close(traced(frames, weight), Model()(frames, weight))
        if importlib.util.find_spec('onnxscript'):
            program = torch.onnx.export(Model(), (frames, weight), dynamo=True, verbose=False)
            assert any(node.op_type == 'Conv' for node in program.model.graph)

    def test_per_sample_gradients(self):
        frames, weight = make_inputs((3, 2, 3, 6, 6))

        def loss(weight, sample):
            return persistence_of_appearance(sample[None], weight).sum()

        grads = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(weight, frames)
        weight.requires_grad_()
        for grad, sample in zip(grads, frames):
            (expected,) = torch.autograd.grad(loss(weight, sample), weight)
            torch.testing.assert_close(grad, expected, rtol=1e-4, atol=1e-4)
