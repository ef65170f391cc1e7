import sys

import pytest

from pan_mm.compat.repair import Repair, install


@pytest.fixture
def module_name(tmp_path, monkeypatch):
    (tmp_path / 'upstream_stand_in.py').write_text('value = 1\n')
    monkeypatch.syspath_prepend(tmp_path)
    yield 'upstream_stand_in'
    sys.modules.pop('upstream_stand_in', None)


def repair(module, needed):
    def apply(module):
        module.value += 1

    return Repair('name', 'reason', 'until', needed, apply, module)


@pytest.mark.parametrize('is_imported', [False, True])
def test_a_module_is_repaired_once(module_name, is_imported):
    if is_imported:
        __import__(module_name)
    once = repair(module_name, needed=lambda module: True)
    install(once)
    assert (module_name in sys.modules) == is_imported  # it waits for it
    install(once)
    module = __import__(module_name)
    install(once)
    assert module.value == 2 and once.state == 'active'


def test_healthy_module_stays(module_name):
    unneeded = repair(module_name, needed=lambda module: False)
    install(unneeded)
    assert __import__(module_name).value == 1
    assert unneeded.status().state == 'not needed'


def test_probe_that_fails_warns_and_leaves_the_module_usable(module_name):
    broken = repair(module_name, needed=lambda module: module.no_such_name)
    install(broken)
    with pytest.warns(UserWarning, match='whether name is needed'):
        assert __import__(module_name).value == 1
    assert broken.status().state == 'not needed'
