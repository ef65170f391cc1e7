"""While a training lasts, a teacher takes part in the labels."""

import pytest
import torch
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample
from mmengine.config import Config

from builders import SMALL, first_stages, write_checkpoint
from pan_mm.inference.recognizer import load_recognizer
from projects.distillation import DistillationHook


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


def test_labels_are_mixed_with_the_teachers_answers(make_config, teacher, weight=0.3):
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


def test_what_does_not_fit_is_named(make_config, teacher):
    config, checkpoint = teacher
    student = make_config(num_classes=3, more=SMALL)
    with pytest.raises(ValueError, match='classes differ: 3 and 2'):
        DistillationHook(config, checkpoint).before_train(Runner(student))
    student = make_config(num_classes=2, more=first_stages(1))
    with pytest.raises(ValueError, match=r'mean differ: \[123.*and \[127.5'):
        DistillationHook(config, checkpoint).before_train(Runner(student))
