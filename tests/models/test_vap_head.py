import numpy as np
import pytest
import torch
from mmaction.structures import ActionDataSample

from pan_mm.models import VAPHead


def samples(labels):
    return [ActionDataSample().set_gt_label(label) for label in labels]


@pytest.mark.parametrize('num_segments', [4, 8, 16])
def test_equals_the_authors_code(parity_dir, fixture_value, num_segments):
    fixture = np.load(parity_dir / 'expected_vap.npz')
    head = VAPHead(num_classes=10, in_channels=64, num_segments=num_segments).eval()
    theirs = dict(
        zip(
            ('aggregation.excitation.0.weight', 'aggregation.excitation.2.weight'),
            ('TES.0.weight', 'TES.2.weight'),
        )
    )
    theirs.update({'fc_cls.weight': 'pred.weight', 'fc_cls.bias': 'pred.bias'})
    head.load_state_dict(
        {
            name: fixture_value(f'base_model.fc.{theirs[name]}', list(value.shape))
            for name, value in head.state_dict().items()
        }
    )
    x = torch.from_numpy(fixture[f'x_{num_segments}'])[:, :, None, None]
    expected = fixture[f'y_{num_segments}']
    logits = head(x).detach().numpy()
    np.testing.assert_allclose(logits, expected, atol=1e-4 * np.abs(expected).max())


def test_fully_convolutional_features_give_the_same():
    head = VAPHead(5, 16, num_segments=4).eval()
    x = torch.randn(2 * 4, 16, 3, 2)
    as_fcn = x.unflatten(0, (2, 4)).transpose(1, 2)  # (N, C, T, h, w)
    torch.testing.assert_close(head(as_fcn), head(x))


def test_logits_are_float32_under_autocast():
    head = VAPHead(5, 16)
    with torch.autocast('cpu', torch.bfloat16):
        losses = head.loss(torch.randn(16, 16, 2, 2), samples([0, 4]))
    assert losses['loss_cls'].dtype == torch.float32
    losses['loss_cls'].backward()
    assert head.fc_cls.weight.grad.isfinite().all()


def test_views_of_a_video_are_averaged():
    head = VAPHead(3, 4, num_segments=2, average_clips='score').eval()
    torch.nn.init.normal_(head.fc_cls.weight)
    x = torch.randn(2 * 3 * 2, 4, 1, 1)  # 2 videos, 3 views, 2 segments
    predictions = head.predict(x, samples([0, 1]))
    expected = head(x).view(2, 3, 3).mean(1)
    torch.testing.assert_close(torch.stack([p.pred_score for p in predictions]), expected)


def test_no_whole_clip():
    with pytest.raises(ValueError, match='12 segments are not a multiple of num_segments=8'):
        VAPHead(5, 16)(torch.rand(12, 16, 1, 1))
