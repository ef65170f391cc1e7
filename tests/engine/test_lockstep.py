"""The package beside a plain transcription of the paper's equations and the authors' recipe.

``Paper`` holds its weights under the authors' names and shares no code with the package: features
first and differences after, with the bias that cancels; shift, batch norm, pooling at several
timescales, clipping, SGD and its parameter groups written out.
"""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from mmaction.registry import MODELS, PARAM_SCHEDULERS
from mmaction.structures import ActionDataSample
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper

from pan_mm.convert.official import official_name

CONFIGS = Path(__file__).resolve().parents[2] / 'configs/recognition/pan'
VIDEOS, SEGMENTS, PIXELS, CLASSES, STAGES = 2, 4, 24, 5, 2
LR = 0.01 * VIDEOS / 64
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
DECAYS = {'rgb': (20 / 50, 40 / 50), 'pa': (30 / 80, 60 / 80), 'lite': (30 / 80, 60 / 80)}


class Paper:
    """PAN of a stream on a narrow half of ResNet-18, trained as the authors train it."""

    def __init__(self, stream, state, steps):
        self.stream, self.steps, self.steps_done = stream, steps, 0
        state = {n: v.detach().clone() for n, v in state.items() if 'tracked' not in n}
        self.state = state
        if stream != 'rgb':
            self.state['PA.shallow_conv.bias'] = torch.randn(8, dtype=torch.float64)
        self.weights = {
            name: value.requires_grad_()
            for name, value in self.state.items()
            if not name.endswith(('running_mean', 'running_var'))
        }
        self.velocity = {name: torch.zeros_like(value) for name, value in self.weights.items()}

    def conv(self, name, x, **options):
        return F.conv2d(x, self.state[f'{name}.weight'], **options)

    def norm(self, name, x):
        weight, bias = self.state[f'{name}.weight'], self.state[f'{name}.bias']
        mean = x.mean(dim=(0, 2, 3))
        var = (x - mean[:, None, None]).square().mean(dim=(0, 2, 3))
        with torch.no_grad():
            count = x.numel() / x.shape[1]
            for part, new in (('mean', mean), ('var', var * count / (count - 1))):
                self.state[f'{name}.running_{part}'].mul_(0.9).add_(0.1 * new)
        x = (x - mean[:, None, None]) / (var[:, None, None] + 1e-5).sqrt()
        return x * weight[:, None, None] + bias[:, None, None]

    def shift(self, x):
        x = x.view(VIDEOS, SEGMENTS, *x.shape[1:])
        fold = x.shape[2] // 8
        zero = torch.zeros_like(x[:, :1, :fold])
        back = torch.cat([x[:, 1:, :fold], zero], dim=1)
        forth = torch.cat([zero, x[:, :-1, fold : 2 * fold]], dim=1)
        return torch.cat([back, forth, x[:, :, 2 * fold :]], dim=2).flatten(0, 1)

    def block(self, name, x, stride):
        out = self.conv(f'{name}.conv1.net', self.shift(x), stride=stride, padding=1)
        out = self.norm(f'{name}.bn1', out).relu()
        out = self.norm(f'{name}.bn2', self.conv(f'{name}.conv2', out, padding=1))
        if f'{name}.downsample.0.weight' in self.state:
            x = self.norm(
                f'{name}.downsample.1', self.conv(f'{name}.downsample.0', x, stride=stride)
            )
        return (out + x).relu()

    def motion(self, x):
        """PA of (N·T, m, 3, H, W): the norm of the features' differences."""
        features = [
            self.conv('PA.shallow_conv', frame, bias=self.state['PA.shallow_conv.bias'], padding=3)
            for frame in x.unbind(1)
        ]
        pairs = zip(features, features[1:])
        return torch.stack([(a - b + 1e-6).square().sum(1).sqrt() for a, b in pairs], dim=1)

    def logits(self, frames):
        mean, std = (torch.tensor(v).view(3, 1, 1).double() for v in (MEAN, STD))
        x = (frames - mean) / std
        x = x.view(VIDEOS * SEGMENTS, -1, 3, PIXELS, PIXELS)
        if self.stream == 'rgb':
            x = x[:, 0]
        elif self.stream == 'pa':
            x = self.motion(x)
        else:
            x = torch.cat([x[:, 0], self.motion(x)], dim=1)
        x = self.norm('base_model.bn1', self.conv('base_model.conv1', x, stride=2, padding=3))
        x = F.max_pool2d(x.relu(), 3, stride=2, padding=1)
        for layer in range(1, STAGES + 1):
            for block in range(2):
                stride = 2 if layer > 1 and block == 0 else 1
                x = self.block(f'base_model.layer{layer}.{block}', x, stride)
        x = x.mean(dim=(2, 3)).view(VIDEOS, SEGMENTS, -1)
        vectors, timescale = [], 1
        while timescale < SEGMENTS:
            vectors += [x[:, first::timescale].max(dim=1)[0] for first in range(timescale)]
            timescale *= 2
        vectors = torch.stack(vectors, dim=1)
        hidden = (vectors.mean(dim=2) @ self.state['base_model.fc.TES.0.weight'].T).relu()
        weights = (hidden @ self.state['base_model.fc.TES.2.weight'].T).exp()  # softmax
        weights = weights / weights.sum(dim=1, keepdim=True)
        pooled = F.dropout((weights[:, :, None] * vectors).sum(dim=1), 0.5)
        name = 'base_model.fc.pred'
        return pooled @ self.state[f'{name}.weight'].T + self.state[f'{name}.bias']

    def multipliers(self, name):
        """Of learning rate and weight decay."""
        is_bias = name.endswith('bias')
        if name.startswith(('PA.', 'base_model.fc.')):
            return (10, 0) if is_bias else (5, 1)
        return (1, 0) if self.weights[name].ndim == 1 else (1, 1)  # batch norms; convolutions

    def step(self, frames, labels):
        """One step of SGD; returns the loss and the gradients before they are clipped."""
        loss = F.cross_entropy(self.logits(frames).float(), torch.tensor(labels))
        grads = dict(zip(self.weights, torch.autograd.grad(loss, list(self.weights.values()))))
        total = sum(grad.square().sum() for grad in grads.values()).sqrt()
        scale = min(20 / (total.item() + 1e-6), 1)
        rate = LR * 0.1 ** sum(self.steps_done >= self.steps * part for part in DECAYS[self.stream])
        with torch.no_grad():
            for name, weight in self.weights.items():
                lr_mult, decay_mult = self.multipliers(name)
                change = grads[name] * scale + 1e-4 * decay_mult * weight
                self.velocity[name].mul_(0.9).add_(change)
                weight -= rate * lr_mult * self.velocity[name]
        self.steps_done += 1
        return loss.item(), grads


def shrink(network):
    """Keep two stages and every second channel, in place, so that steps take a fraction."""
    for name in network.res_layers[STAGES:]:
        delattr(network, name)
    network.res_layers, network.out_indices = network.res_layers[:STAGES], (STAGES - 1,)
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            outputs, inputs = module.weight.shape[:2]
            inputs = inputs // 2 if inputs >= 64 else inputs  # not of the stem
            module.weight.data = module.weight.data[: outputs // 2, :inputs].clone()
        elif isinstance(module, torch.nn.BatchNorm2d):
            for values in (module.weight, module.bias, module.running_mean, module.running_var):
                values.data = values.data[: len(values) // 2].clone()


def package(stream, steps):
    """The recognizer of a config of the zoo, smaller, and its optimizer and schedule."""
    epochs, clip_len = (50, 1) if stream == 'rgb' else (80, 4)
    name = f'pan-{stream}_imagenet-pretrained-r50_8xb8-{clip_len}x1x8-{epochs}e_sthv1-rgb.py'
    cfg = Config.fromfile(CONFIGS / name)
    cfg.model.backbone.update(num_segments=SEGMENTS, clip_len=clip_len)
    cfg.model.backbone.backbone.update(depth=18, pretrained=None)
    cfg.model.cls_head.update(num_classes=CLASSES, in_channels=64, num_segments=SEGMENTS)
    model = MODELS.build(cfg.model)
    model.init_weights()
    shrink(model.backbone.backbone)
    model = model.double().train()
    cfg.optim_wrapper.optimizer.lr *= VIDEOS / cfg.auto_scale_lr.base_batch_size
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    (schedule,) = cfg.param_scheduler
    milestones = [-(-steps * epoch // epochs) for epoch in schedule.milestones]
    schedule = dict(type=schedule.type, milestones=milestones, gamma=schedule.gamma)
    schedule = PARAM_SCHEDULERS.build(dict(schedule, by_epoch=False, optimizer=wrapper))
    return model, wrapper, schedule


def gap(own, other):
    """Largest distance between tensors of the same names, relative to their sizes."""
    return max(((own[name] - other[name]).norm() / other[name].norm()).item() for name in own)


@pytest.mark.slow
@pytest.mark.parametrize('stream', ['lite', 'pa', 'rgb'])
def test_the_package_trains_as_the_paper_says(stream, steps=200):
    """Loss, gradients, weights and statistics agree to the last step.

    In float64, because rounding grows. Loss and logits are float32, as in training. The later
    stages of a ResNet would add no other kind of layer, and at their few pixels batch norm over
    eight values grows rounding so fast that nothing could be compared after some steps.
    """
    torch.manual_seed(0)
    model, wrapper, schedule = package(stream, steps)
    paper = Paper(stream, {official_name(n): v for n, v in model.state_dict().items()}, steps)
    shape = (8, SEGMENTS * (1 if stream == 'rgb' else 4), 3, PIXELS, PIXELS)
    clips = torch.randint(256, shape, dtype=torch.uint8)
    for step in range(steps):
        chosen = torch.randint(len(clips), (VIDEOS,))
        labels = (chosen % CLASSES).tolist()
        samples = [ActionDataSample().set_gt_label(label) for label in labels]
        data = dict(inputs=list(clips[chosen]), data_samples=samples)
        torch.manual_seed(step)  # of dropout
        data = model.data_preprocessor(data, training=True)
        loss, _ = model.parse_losses(model(**data, mode='loss'))
        wrapper.backward(loss)
        grads = {official_name(n): p.grad.clone() for n, p in model.named_parameters()}
        wrapper.step()
        wrapper.zero_grad()
        schedule.step()
        torch.manual_seed(step)
        papers_loss, papers_grads = paper.step(clips[chosen], labels)
        assert loss.item() == pytest.approx(papers_loss, rel=1e-6, abs=1e-7), step
        assert gap(grads, papers_grads) < 1e-9, step
    own = {official_name(n): v for n, v in model.state_dict().items() if 'tracked' not in n}
    assert own.keys() == paper.state.keys() - {'PA.shallow_conv.bias'}
    assert gap(own, paper.state) < 1e-9  # weights, and the batch norms' statistics
