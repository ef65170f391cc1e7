"""Randomness that depends only on the seed and the epoch."""

import numpy as np
from mmaction.registry import HOOKS
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import Runner, set_random_seed


@HOOKS.register_module()
class EpochSeedHook(Hook):
    """Seeds Python, NumPy and PyTorch for each epoch, so that a resumed run is exact.

    MMEngine resumes no state of a random generator. With this hook, and without workers that
    persist, a resumed run draws the same as the undisturbed one, and ends with the same weights.
    """

    def before_train_epoch(self, runner: Runner) -> None:
        """Seed the epoch."""
        state = np.random.SeedSequence([runner.seed, runner.epoch, get_rank()]).generate_state(1)
        set_random_seed(int(state[0]))
        # PyTorch seeds workers from the state set above; MMEngine's function would give them the
        # same seed in every epoch.
        runner.train_dataloader.worker_init_fn = None
