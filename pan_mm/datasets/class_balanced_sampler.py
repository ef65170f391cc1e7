"""A sampler for training lists in which some classes have many more videos than others."""

from collections.abc import Iterator

import torch
from mmaction.registry import DATA_SAMPLERS
from mmengine.dataset import DefaultSampler

from pan_mm.utils.errors import DataError


@DATA_SAMPLERS.register_module()
class ClassBalancedSampler(DefaultSampler):
    """Shows each class equally often; an epoch stays as long as the list.

    The videos of a class come in random order, each once before one comes again. A video with
    several labels counts for each of its classes.

    Args:
        dataset (Dataset): A dataset of MMAction2, or one in a wrapper of MMEngine.
        **kwargs: Arguments of ``DefaultSampler``: ``shuffle``, ``seed``, ``round_up``. Without
            ``shuffle`` each epoch draws the same videos.

    Raises:
        DataError: If a video has no label.
    """

    def __init__(self, dataset, **kwargs) -> None:
        super().__init__(dataset, **kwargs)
        self.videos: dict = {}  # indices by class
        for index in range(len(dataset)):
            label = dataset.get_data_info(index).get('label', -1)
            is_vector = isinstance(label, torch.Tensor)  # of zeros and ones
            for each in label.nonzero().flatten().tolist() if is_vector else [label]:
                if each < 0:
                    raise DataError(
                        f'ClassBalancedSampler: video {index} of the list has no label; label each'
                    )
                self.videos.setdefault(each, []).append(index)

    def __iter__(self) -> Iterator[int]:
        """Indices of this process."""
        generator = torch.Generator()
        generator.manual_seed(self.seed + (self.epoch if self.shuffle else 0))
        rounds = -(-self.total_size // max(len(self.videos), 1))
        drawn = [_draw(videos, rounds, generator) for videos in self.videos.values()]
        order = torch.randperm(len(self.videos) * rounds, generator=generator)
        indices = torch.tensor(drawn).flatten()[order].tolist()[: self.total_size]
        return iter(indices[self.rank : self.total_size : self.world_size])


def _draw(videos, number, generator):
    """``number`` of the videos in random order, each once before one comes again."""
    drawn: list = []
    while len(drawn) < number:
        drawn += [videos[i] for i in torch.randperm(len(videos), generator=generator)]
    return drawn[:number]
