"""A training that starts from the weights of a model that differs in parts."""

import pytest
import torch

from pan_mm.utils.errors import DataError


@pytest.fixture
def checkpoint(make_runner, tmp_path):
    """Weights of another head, none of them as they start."""
    runner = make_runner(folder=tmp_path / 'other', **{'model.cls_head.num_classes': 5})
    state = {key: value + 1 for key, value in runner.model.state_dict().items()}
    torch.save(dict(state_dict=state), tmp_path / 'other.pth')
    return tmp_path / 'other.pth'


def test_another_number_of_classes(make_runner, checkpoint, log):
    runner = make_runner(runner_type='CheckedRunner', load_from=str(checkpoint))
    before = runner.model.cls_head.fc_cls.weight.clone()
    runner.load_or_resume()
    assert torch.equal(runner.model.cls_head.fc_cls.weight, before)
    weight = torch.load(checkpoint)['state_dict']['backbone.0.weight']
    assert torch.equal(runner.model.backbone[0].weight, weight)
    text = log()
    assert '6 of 8 parameters are from' in text
    assert 'from scratch:\n  cls_head.fc_cls.weight\n  cls_head.fc_cls.bias' in text


def test_weights_of_another_model(make_runner, tmp_path):
    torch.save(dict(state_dict={'encoder.weight': torch.ones(3)}), tmp_path / 'other.pth')
    runner = make_runner(runner_type='CheckedRunner', load_from=str(tmp_path / 'other.pth'))
    with pytest.raises(DataError, match='no weight of .*other.pth fits'):
        runner.load_or_resume()
