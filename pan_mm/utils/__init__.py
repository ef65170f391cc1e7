"""The ground floor: files, checkpoints and the environment. Imports nothing else of ``pan_mm``."""


def register_all_modules(init_default_scope: bool = True) -> None:
    """Fill MMAction2's registries; ``import pan_mm`` has added PAN's parts already.

    MMEngine calls it by this name in a package whose configs it builds. The default scope becomes
    'mmaction' if asked for, where there is none yet.
    """
    from mmaction.utils import register_all_modules as register_upstream  # after the repairs
    from mmengine.registry import DefaultScope

    register_upstream(init_default_scope and DefaultScope.get_current_instance() is None)
