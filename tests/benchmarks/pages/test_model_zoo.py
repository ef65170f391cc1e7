from benchmarks.pages.model_zoo import costs


def test_hours_are_those_of_the_operations():
    *_, line = costs('ucf101').splitlines()
    name, paper, gmacs, epochs, hours = (cell.strip() for cell in line.strip('|').split('|'))
    assert (name[:14], paper, epochs) == ('`pan-lite_imag', '', '80')
    work = 9_537 * 80 * 3 * 2 * float(gmacs) * 1e9
    assert abs(float(hours) / (work / (8 * 30e12 * 3600)) - 1) < 0.03


def test_an_ensemble_has_no_hours_but_the_papers_accuracy():
    (line,) = (line for line in costs('sthv1').splitlines() if 'pan-en_r50' in line)
    assert '53.4 / 81.1' in line and line.endswith('|  |  |')
