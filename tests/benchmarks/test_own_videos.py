import json
import sys

import pytest

from benchmarks import own_videos


@pytest.fixture
def data_root(tmp_path):
    """JHMDB's layout: seven classes, of which the second has a clip too few."""
    folder = tmp_path / 'jhmdb'
    (folder / 'annotations').mkdir(parents=True)
    (folder / 'label_map.txt').write_text(''.join(f'action {label}\n' for label in range(7)))
    for name, first, clips in (('dev_train', 0, 22), ('dev_val', 50, 3)):
        lines = []
        for label in range(7):
            for number in range(
                first, first + (19 if (name, label) == ('dev_train', 1) else clips)
            ):
                path = folder / 'videos' / f'action_{label}' / f'{number}.mp4'
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(f'{label} {number}')
                lines.append(f'action_{label}/{number}.mp4 {label}\n')
        (folder / 'annotations' / f'{name}.txt').write_text(''.join(lines))
    return folder


def test_as_many_clips_of_each_class_and_no_clip_on_both_sides(data_root, tmp_path):
    videos = tmp_path / 'videos'
    names = own_videos.lay_out(data_root, videos)
    assert names == [f'action {label}' for label in (0, 2, 3, 4, 5)]
    found = {
        split: {path.read_text() for path in (videos / split).rglob('*.mp4')}
        for split in ('train', 'val')
    }
    assert found['train'] == {f'{label} {n}' for label in (0, 2, 3, 4, 5) for n in range(20)}
    assert found['val'] == {f'{label} {n}' for label in (0, 2, 3, 4, 5) for n in range(50, 53)}


def test_a_tool_that_fails_ends_it_with_what_it_printed(tmp_path):
    with pytest.raises(SystemExit, match=r'build_list\.py(.|\n)*error: .*none'):
        own_videos.run([sys.executable, 'tools/data/build_list.py', str(tmp_path / 'none')], 1)


def test_what_the_tutorial_says_of_it_holds():
    report = json.loads((own_videos.ROOT / 'results/own_videos.json').read_text(encoding='utf-8'))
    assert report['classes'] == ['catch', 'clap', 'golf', 'pour', 'pullup']
    assert set(report['variants']) == set(own_videos.VARIANTS)
    assert {found['clips'] for found in report['variants'].values()} == {46}
    assert all(found['minutes'] < 20 for found in report['variants'].values())
    scratch = report['variants']['from scratch']['top1']
    assert all(found['top1'] >= scratch for found in report['variants'].values())
