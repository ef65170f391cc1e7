"""While a training lasts, a teacher takes part in the labels."""

import pytest
import torch
from mmaction.registry import MODELS, RUNNERS
from mmaction.structures import ActionDataSample
from mmengine.config import Config

from builders import SMALL, first_stages, tiny_config, write_checkpoint, write_config
from pan_mm.inference.recognizer import load_recognizer
from projects.distillation import DistillationHook


@pytest.fixture
def make_config(tmp_path_factory):
    return lambda *args, **kwargs: write_config(tmp_path_factory.mktemp('config'), *args, **kwargs)


@pytest.fixture
def teacher(make_config, tmp_path):
    """Its config and checkpoint."""
    config = make_config(stream='rgb', num_classes=2, more=SMALL)
    return config, write_checkpoint(tmp_path, config)


def batch(labels, seed=0):
    generator = torch.Generator().manual_seed(seed)
    inputs = [torch.randint(256, (16, 3, 64, 64), generator=generator).byte() for _ in labels]
    return dict(
        inputs=inputs, data_samples=[ActionDataSample().set_gt_label(label) for label in labels]
    )


class Runner:
    """What the hook asks a runner for."""

    def __init__(self, config, **preprocessor):
        model = Config.fromfile(config).model
        model.data_preprocessor.update(preprocessor)
        torch.manual_seed(1)
        self.model = MODELS.build(model)


@pytest.mark.parametrize('weight', [0.3, 1.0])
def test_labels_are_mixed_with_the_teachers_answers(make_config, teacher, weight):
    student = Runner(make_config(num_classes=2, more=SMALL))
    names = student.model.state_dict().keys()
    preprocess = student.model.data_preprocessor
    hook = DistillationHook(*teacher, weight=weight)
    hook.before_train(student)
    given = preprocess(batch([1, 0]), training=True)
    frames = preprocess(batch([1, 0]), training=False)['inputs']
    assert torch.equal(given['inputs'], frames)
    with torch.no_grad():
        answers = load_recognizer(*teacher).extract_feat(frames, stage='head')[0].softmax(1)
    labels = torch.stack([sample.gt_label for sample in given['data_samples']])
    expected = (1 - weight) * torch.eye(2)[[1, 0]] + weight * answers
    torch.testing.assert_close(labels, expected)
    assert (answers[0] - answers[1]).abs().max() > 0.01  # of these two clips

    student.model.cls_head.dropout.p = 0.0
    logits = student.model.extract_feat(frames, stage='head')[0]
    loss = student.model(**given, mode='loss')['loss_cls']
    torch.testing.assert_close(loss, -(expected * logits.log_softmax(1)).sum(1).mean())
    assert student.model.state_dict().keys() == names  # without the teacher

    tested = preprocess(batch([1, 0]), training=False)
    assert [sample.gt_label.tolist() for sample in tested['data_samples']] == [[1], [0]]
    hook.after_train(student)
    after = preprocess(batch([1, 0]), training=True)
    assert [sample.gt_label.tolist() for sample in after['data_samples']] == [[1], [0]]


def test_clips_that_are_mixed_already(make_config, teacher):
    mixup = dict(type='MixupBlending', num_classes=2)
    student = Runner(make_config(num_classes=2, more=SMALL), blending=mixup)
    DistillationHook(*teacher, weight=1).before_train(student)
    given = student.model.data_preprocessor(batch([1, 0]), training=True)
    plain = student.model.data_preprocessor(batch([1, 0]), training=False)
    assert not torch.allclose(given['inputs'], plain['inputs'])
    with torch.no_grad():
        logits = load_recognizer(*teacher).extract_feat(given['inputs'], stage='head')[0]
    labels = torch.stack([sample.gt_label for sample in given['data_samples']])
    torch.testing.assert_close(labels, logits.softmax(1))


def test_two_epochs_in_a_runner(videos, tmp_path):
    """Of a model that is its own teacher: it is held back, and its checkpoint is no larger."""
    names = [f'{index}.mp4' for index in range(4)]
    plain = RUNNERS.build(tiny_config(tmp_path, videos, names))
    keys = plain.model.state_dict().keys()
    config, checkpoint = tmp_path / 'teacher.py', tmp_path / 'teacher.pth'
    config.write_text(f'model = {plain.cfg.model.to_dict()}')
    torch.save(plain.model.state_dict(), checkpoint)
    plain.train()
    hook = dict(type='DistillationHook', config=str(config), checkpoint=str(checkpoint), weight=1)
    folder = tmp_path / 'student'
    folder.mkdir()
    runner = RUNNERS.build(tiny_config(folder, videos, names, custom_hooks=[hook]))
    runner.train()
    assert runner.epoch == 2 and runner.model.state_dict().keys() == keys
    name = 'cls_head.fc_cls.weight'
    assert not torch.equal(runner.model.state_dict()[name], plain.model.state_dict()[name])


@pytest.mark.parametrize('weight', [0, -0.5, 1.5, float('nan')])
def test_weights_that_are_no_share(weight):
    with pytest.raises(ValueError, match='weight must be greater than 0 and at most 1'):
        DistillationHook('a.py', 'a.pth', weight=weight)


def test_what_does_not_fit_is_named(make_config, teacher, tmp_path):
    config, checkpoint = teacher
    student = make_config(num_classes=3, more=SMALL)
    with pytest.raises(ValueError, match='classes differ: 3 and 2'):
        DistillationHook(config, checkpoint).before_train(Runner(student))
    student = make_config(num_classes=2, more=first_stages(1))
    with pytest.raises(ValueError, match=r'mean differ: \[123.*and \[127.5'):
        DistillationHook(config, checkpoint).before_train(Runner(student))
    student = make_config(num_classes=2, more=SMALL)
    with pytest.raises(FileNotFoundError, match='none.pth'):
        DistillationHook(config, tmp_path / 'none.pth').before_train(Runner(student))
    with pytest.raises(FileNotFoundError, match='no such config'):
        DistillationHook(tmp_path / 'none.py', checkpoint).before_train(Runner(student))
    with pytest.raises(RuntimeError, match='conv1'):
        DistillationHook(make_config(num_classes=2), checkpoint).before_train(Runner(student))
