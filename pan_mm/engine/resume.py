"""Resuming with the optimizer settings and the schedule that the config has now."""

import copy
from typing import Any

from mmengine.optim.scheduler.param_scheduler import _ParamScheduler

MOVING = {'last_step', '_global_step', '_last_value'}  # of a scheduler, as it steps


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
        scheduled = {scheduler.param_name for scheduler in self.schedulers}
        changes = [
            f'{key}: {group.get(key)} is now {value}'
            for group, own in zip(optimizer.param_groups, self.groups)
            for key, value in own.items()
            if key not in scheduled and group.get(key) != value
        ]
        for scheduler, own in zip(self.schedulers, self.states):
            changes += [
                f'{key} of {type(scheduler).__name__}: {vars(scheduler).get(key)} is now {value}'
                for key, value in own.items()
                if key not in MOVING | {'base_values'} and vars(scheduler).get(key) != value
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
