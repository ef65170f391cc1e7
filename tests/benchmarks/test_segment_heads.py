"""Ways to join segments, compared on features in which only their order tells the class."""

import hashlib
import json

import pytest
import torch
from mmaction.registry import DATASETS
from mmengine.dataset import pseudo_collate

from benchmarks import segment_heads
from benchmarks.segment_heads import (
    AGGREGATIONS,
    ORDERS,
    build_head,
    classify,
    count_right,
    reorder,
    segment_features,
    train_head,
)
from builders import first_stages, list_loaders
from pan_mm.inference.recognizer import load_config, load_recognizer

SEGMENTS, CHANNELS = 8, 16


@pytest.fixture(scope='module')
def clips():
    """Features (N, T, C) of two classes, rising or falling over the segments, and labels."""
    torch.manual_seed(0)
    labels = torch.arange(64) % 2
    slope = torch.linspace(0, 1, SEGMENTS)[:, None].expand(-1, CHANNELS)
    features = torch.stack([slope.flip(0) if label else slope for label in labels])
    return features + 0.1 * torch.rand_like(features), labels


def trained(name, clips, epochs=20):
    torch.manual_seed(0)
    head = build_head(AGGREGATIONS[name], clips[0], 2)
    train_head(head, clips[0][None], clips[1], epochs)
    return head


def test_orders(clips):
    features, _ = clips
    assert reorder(features, 'forwards') is features
    assert torch.equal(reorder(features, 'reversed')[:, 0], features[:, -1])
    shuffled = reorder(features, 'shuffled')
    assert not torch.equal(shuffled, features)
    places = (shuffled[:, :, None] == features[:, None]).all(-1).int().argmax(2)
    assert all(sorted(own) == list(range(SEGMENTS)) for own in places.tolist())
    assert len(set(map(tuple, places.tolist()))) > 32  # each clip has its own


@pytest.mark.parametrize('name', AGGREGATIONS)
def test_a_head_begins_as_pans_or_as_the_mean(name, clips):
    torch.manual_seed(0)
    head = build_head(AGGREGATIONS[name], clips[0], 2).eval()
    joined = head.aggregation(clips[0])
    if 'convolution' in name or name == 'mean':
        torch.testing.assert_close(joined, clips[0].mean(1))
    elif name == 'maximum':
        assert torch.equal(joined, clips[0].amax(1))
    else:
        assert joined.shape == (64, CHANNELS)
    torch.testing.assert_close(classify(head, clips[0]), head.fc_cls(joined))


def test_only_a_learned_order_tells_rising_from_falling(clips):
    features, labels = clips
    for name in ('mean', 'maximum'):
        right = count_right(trained(name, clips), features, labels, 2)
        assert len(set(right.values())) == 1 and right['forwards'] < 56
    name = 'convolution over all segments, by channel'
    right = count_right(trained(name, clips), features, labels, 2)
    assert right['forwards'] == 64 and right['reversed'] == 0 and 8 < right['shuffled'] < 56


def test_only_the_first_classes_are_counted(clips):
    class Head(torch.nn.Module):
        def forward(self, x, num_segs):
            logits = torch.tensor([0.0, 1.0, 2.0])
            return logits.expand(len(x) // SEGMENTS, -1)

    labels = torch.arange(64) % 3
    for classes, right in ((3, 21), (2, 21), (1, 22)):
        found = count_right(Head(), clips[0], labels, classes)
        assert found == dict.fromkeys(ORDERS, right)


@pytest.mark.slow
def test_a_trained_backbone(make_config, make_checkpoint, videos, tmp_path, monkeypatch):
    (tmp_path / 'list.txt').write_text(''.join(f'{videos}/{i}.mp4 {i}\n' for i in range(4)))
    config = make_config(
        more=list_loaders(tmp_path / 'list.txt', 'train_dataloader', 'test_dataloader')
        + first_stages(2)
    )
    checkpoint = make_checkpoint(config)
    out = tmp_path / 'heads.json'
    out.write_text('{"other.txt": {}}')
    words = [config, checkpoint, '--out', out, '--views', 2, '--epochs', 3, '--seeds', 2]
    segment_heads.main([*map(str, words), '--classes', '3'])
    report = json.loads(out.read_text())
    assert [*report] == ['other.txt', 'list.txt']
    own = report['list.txt']
    assert (own['clips'], own['views'], own['train_list']) == (3, 2, 'list.txt')
    assert own['sha256'] == hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    assert [*own['heads']] == ["the network's own head", *AGGREGATIONS]
    params = [head['params'] for head in own['heads'].values()]
    assert params == [72, 72, 0, 0, 128 * 4 + 128, 128 * 128 * 3 + 128]
    for name, head in own['heads'].items():
        assert head['right'].keys() == set(ORDERS)
        seeds = 2 if name in AGGREGATIONS else 1
        assert all(len(r) == seeds and max(r) <= 3 for r in head['right'].values())


@pytest.mark.slow
def test_features_are_what_the_networks_head_joins(config, checkpoint, videos, tmp_path):
    cfg = load_config(config)
    (tmp_path / 'list.txt').write_text(''.join(f'{videos}/{i}.mp4 {i}\n' for i in range(4)))
    own = dict(ann_file=str(tmp_path / 'list.txt'), pipeline=cfg.test_pipeline, test_mode=True)
    dataset = DATASETS.build(dict(own, type='VideoDataset'))
    model = load_recognizer(cfg, checkpoint, 'cpu')
    features, labels = segment_features(model, dataset)
    assert features.shape == (4, 4, 512) and labels.tolist() == [0, 1, 2, 3]
    model.cls_head.average_clips = 'score'
    with torch.no_grad():
        samples = model.test_step(pseudo_collate([dataset[index] for index in range(4)]))
        logits = classify(model.cls_head, features)
    torch.testing.assert_close(logits, torch.stack([sample.pred_score for sample in samples]))
