#!/usr/bin/env python3
"""Compare ways to join segments, as heads on the cached features of one trained backbone.

    python -m benchmarks.segment_heads CONFIG CHECKPOINT --classes 10 --cfg-options \\
        train_dataloader.dataset.ann_file=fold1_train.txt \\
        test_dataloader.dataset.ann_file=fold1_test.txt

The training clips pass through the backbone several times, each time with other crops and frames.
Each head is trained on these features, and tested on the ones of the test clips with their segments
forwards, reversed, and in random order: a head that does not read their order answers the same.
Writes a section for the test list to results/segment_heads.json.
"""

import argparse
import hashlib
from pathlib import Path
from typing import Optional

import torch
from mmaction.registry import DATASETS, MODELS
from mmengine.config import DictAction
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

from benchmarks.runs import RESULTS
from pan_mm.inference.recognizer import load_config, load_recognizer
from pan_mm.models import VAPHead

from .timing import environment, new_parser, positive, write_report

BATCH = 16
ORDERS = ('forwards', 'reversed', 'shuffled')


@MODELS.register_module()
class SegmentConvolution(nn.Module):
    """Convolution over the segments, ReLU, mean. It starts as the mean of features above zero.

    Args:
        num_segments (int): T.
        channels (int): C.
        kernel_size (int, optional): Odd, for neighboring segments and across channels. By default
            T without padding, for each channel by itself.
    """

    def __init__(self, num_segments: int, channels: int, kernel_size: Optional[int] = None) -> None:
        super().__init__()
        if kernel_size:
            self.conv = nn.Conv1d(channels, channels, kernel_size, padding=kernel_size // 2)
            nn.init.dirac_(self.conv.weight)
        else:
            self.conv = nn.Conv1d(channels, channels, num_segments, groups=channels)
            nn.init.constant_(self.conv.weight, 1 / num_segments)
        nn.init.zeros_(self.conv.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Join segment features (N, T, C) into (N, C)."""
        return self.conv(x.transpose(1, 2)).relu().mean(dim=2)


AGGREGATIONS = {
    'VAP': dict(type='VariousTimescaleAggregation'),
    'mean': dict(type='SegmentPooling', mode='mean'),
    'maximum': dict(type='SegmentPooling', mode='max'),
    'convolution over all segments, by channel': dict(type='SegmentConvolution'),
    'convolution over three segments': dict(type='SegmentConvolution', kernel_size=3),
}


@torch.no_grad()
def segment_features(model: nn.Module, dataset: torch.utils.data.Dataset) -> tuple:
    """Compute features of the segments, (N, T, C), and labels, (N,), of the clips of a dataset."""
    features, labels = [], []
    for batch in DataLoader(dataset, BATCH, collate_fn=pseudo_collate):
        data = model.data_preprocessor(batch)
        maps, _ = model.extract_feat(data['inputs'], stage='backbone', test_mode=True)
        features.append(maps.float().mean(dim=(2, 3)).unflatten(0, (len(batch['inputs']), -1)))
        labels += [int(sample.gt_label) for sample in data['data_samples']]
    return torch.cat(features), torch.tensor(labels)


def build_head(aggregation: dict, features: Tensor, num_classes: int) -> VAPHead:
    """Build PAN's head, with an aggregation in VAP's place, for features (…, T, C)."""
    num_segments, channels = features.shape[-2:]
    if aggregation['type'] == 'SegmentConvolution':
        aggregation = dict(aggregation, channels=channels)
    sizes = dict(num_classes=num_classes, in_channels=channels, num_segments=num_segments)
    return VAPHead(**sizes, init_std=0.01, aggregation=aggregation)


def classify(head: nn.Module, features: Tensor) -> Tensor:
    """Compute logits (N, num_classes) of segment features (N, T, C)."""
    return head(features.flatten(0, 1)[..., None, None], num_segs=features.shape[1])


def count_params(head: nn.Module) -> int:
    """Count the parameters besides the linear classifier."""
    return sum(p.numel() for name, p in head.named_parameters() if not name.startswith('fc_cls.'))


def train_head(head: VAPHead, features: Tensor, labels: Tensor, epochs: int) -> None:
    """Train a head like the networks: AdamW at 0.001, a cosine down to zero.

    Args:
        head (VAPHead): The head.
        features (Tensor): Shape (views, N, T, C); an epoch takes a random view of each clip.
        labels (Tensor): Shape (N,).
        epochs (int): Number of passes over the clips.
    """
    views, clips = features.shape[:2]
    optimizer = torch.optim.AdamW(head.parameters(), lr=0.001, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    head.train()
    for _ in range(epochs):
        for chosen in torch.randperm(clips).split(BATCH):
            view = torch.randint(views, (len(chosen),))
            loss = cross_entropy(classify(head, features[view, chosen]), labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
    head.eval()


def reorder(features: Tensor, order: str) -> Tensor:
    """Bring the segments of features (N, T, C) into another order, each clip's own if shuffled."""
    if order == 'reversed':
        return features.flip(1)
    if order == 'shuffled':
        places = torch.rand(features.shape[:2]).argsort(dim=1)
        return features.take_along_dim(places[..., None], dim=1)
    return features


@torch.no_grad()
def count_right(head: nn.Module, features: Tensor, labels: Tensor, classes: int) -> dict:
    """Count recognized clips of the first classes in each order, by the scores of these classes."""
    own = labels < classes
    answers = {
        order: classify(head, reorder(features[own], order))[:, :classes].argmax(1)
        for order in ORDERS
    }
    return {order: int((found == labels[own]).sum()) for order, found in answers.items()}


def compare(network: nn.Module, train: tuple, test: tuple, args: argparse.Namespace) -> dict:
    """Train and test each head once for each seed, and test the one of the network.

    Args:
        network (nn.Module): The head that was trained with the backbone.
        train (tuple[Tensor]): Features (views, N, T, C) and labels (N,).
        test (tuple[Tensor]): Features (M, T, C) and labels (M,).
        args (argparse.Namespace): With ``epochs``, ``seeds``, ``num_classes`` and ``classes``.

    Returns:
        dict: By the name of the head, ``params`` without the classifier, and ``right``, the numbers
        of recognized clips by order, a number for each seed.
    """
    heads = {
        "the network's own head": _report(network, [count_right(network, *test, args.classes)])
    }
    for name, aggregation in AGGREGATIONS.items():
        counts = []
        for seed in range(args.seeds):
            torch.manual_seed(seed)
            head = build_head(aggregation, train[0], args.num_classes)
            train_head(head, *train, args.epochs)
            counts.append(count_right(head, *test, args.classes))
        heads[name] = _report(head, counts)
        print(name, heads[name], flush=True)
    return heads


def _report(head, counts):
    right = {order: [count[order] for count in counts] for order in ORDERS}
    return dict(params=count_params(head), right=right)


def main(argv: Optional[list] = None) -> None:
    parser = new_parser(__doc__, device=False)
    parser.add_argument('config')
    parser.add_argument('checkpoint', type=Path)
    parser.add_argument('--views', type=positive, default=6, help='passes of a training clip')
    parser.add_argument('--epochs', type=positive, default=60)
    parser.add_argument('--seeds', type=positive, default=5)
    parser.add_argument('--classes', type=positive, help='count only the first ones')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={})
    parser.add_argument('--out', type=Path, default=RESULTS / 'segment_heads.json')
    args = parser.parse_args(argv)
    cfg = load_config(args.config, args.cfg_options)
    args.num_classes = cfg.model.cls_head.num_classes
    args.classes = args.classes or args.num_classes
    surroundings = environment('cpu')
    model = load_recognizer(cfg, args.checkpoint, 'cpu')
    init_default_scope('mmaction')
    train, test = (DATASETS.build(cfg[f'{s}_dataloader'].dataset) for s in ('train', 'test'))
    torch.manual_seed(0)
    views, labels = zip(*(segment_features(model, train) for _ in range(args.views)))
    tested = segment_features(model, test)
    report = dict(
        environment=surroundings,
        config=Path(args.config).stem,
        sha256=hashlib.sha256(args.checkpoint.read_bytes()).hexdigest(),
        train_list=Path(train.ann_file).name,
        test_list=Path(test.ann_file).name,
        **{key: getattr(args, key) for key in ('views', 'epochs', 'seeds', 'classes')},
        clips=int((tested[1] < args.classes).sum()),
        heads=compare(model.cls_head, (torch.stack(views), labels[0]), tested, args),
    )
    write_report(args.out, report, report['test_list'])


if __name__ == '__main__':
    main()
