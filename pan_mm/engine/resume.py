"""Resuming with the optimizer settings and the schedule that the config has now."""

import copy
from typing import Any

from mmengine.optim.scheduler.param_scheduler import _ParamScheduler

MOVING = {'last_step', '_global_step', '_last_value', 'base_values'}  # of a scheduler


class ConfiguredSettings:
    """Optimizer settings and schedules of the config, taken before a checkpoint is loaded.

    MMEngine's ``Runner.resume`` restores the checkpoint's, so that a longer schedule or another
    learning rate in the config has no effect.

    Args:
        optimizer (OptimWrapper): Built from the config, before any step.
        schedulers (list): Its parameter schedulers.
    """

    def __init__(self, optimizer: Any, schedulers: Any) -> None:
        self.groups = [_settings(group) for group in optimizer.param_groups]
        self.schedulers = schedulers if isinstance(schedulers, list) else []
        self.states = [copy.deepcopy(scheduler.state_dict()) for scheduler in self.schedulers]

    def apply(self, optimizer: Any) -> list:
        """Set them after a resume, and bring the schedules to the step of the checkpoint.

        Returns:
            list[str]: What differed from the checkpoint, each with both values.
        """
        moving = MOVING | {scheduler.param_name for scheduler in self.schedulers}
        pairs = [('', *pair) for pair in zip(optimizer.param_groups, self.groups)]
        for scheduler, own in zip(self.schedulers, self.states):
            pairs.append((f' of {type(scheduler).__name__}', vars(scheduler), own))
        changes = [
            f'{key}{of}: {loaded.get(key)} is now {value}'
            for of, loaded, own in pairs
            for key, value in own.items()
            if key not in moving and loaded.get(key) != value
        ]
        if changes and all(isinstance(each, _ParamScheduler) for each in self.schedulers):
            self._replay(optimizer)
        return list(dict.fromkeys(changes))

    def _replay(self, optimizer):
        steps = [scheduler._global_step for scheduler in self.schedulers]
        for group, own in zip(optimizer.param_groups, self.groups):
            group.update(own)
        for scheduler, own in zip(self.schedulers, self.states):
            scheduler.load_state_dict(copy.deepcopy(own))
        optimizer._global_step = max(steps, default=0)  # else each schedule warns of it
        for step in range(max(steps, default=0)):  # in turns: each changes the value of the others
            for scheduler, last in zip(self.schedulers, steps):
                if step < last:
                    scheduler.step()


def _settings(group):
    return {key: copy.deepcopy(value) for key, value in group.items() if key != 'params'}
