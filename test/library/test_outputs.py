# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Files that commands write: whole or not at all, and never over a file of the user's."""

import os
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from instance_seg_ros.cli.outputs import OutputError, Outputs, place_of
from instance_seg_ros.cli.sources import find_images
from instance_seg_ros.cli.targets import annotated_target


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a source, a.jpg, and another file, b.jpg, in out/."""
    (tmp_path / 'out').mkdir()
    (tmp_path / 'a.jpg').write_text('a source')
    (tmp_path / 'out' / 'b.jpg').write_text('a file of the user')
    return tmp_path


def outputs(folder: Path, **options: bool) -> Outputs:
    return Outputs(folder / 'out', [folder / 'a.jpg'], **options)


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob('*') if path.is_file())


# ---- planned
def test_a_file_that_exists_is_replaced_only_where_that_is_asked_for(folder: Path) -> None:
    target = folder / 'out' / 'b.jpg'
    with pytest.raises(OutputError, match='b.jpg: exists. .*--overwrite'):
        outputs(folder).plan(target, 'b')
    run = outputs(folder, overwrite=True)
    run.plan(target, 'b')
    run.write(target, b'new')
    assert target.read_bytes() == b'new'


@pytest.mark.parametrize('link', [None, os.link, os.symlink])
def test_a_source_is_never_replaced(folder: Path, link: object) -> None:
    target = folder / 'a.jpg'
    if link is not None:
        target = folder / 'out' / 'link.jpg'
        link(folder / 'a.jpg', target)
    run = outputs(folder, overwrite=True)
    with pytest.raises(OutputError, match='is read by this command'):
        run.plan(target, 'x', inside=False)
    with pytest.raises(OutputError, match='nothing is overwritten'):
        run.write(target, b'new')
    assert (folder / 'a.jpg').read_text() == 'a source'


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_device(path: Path) -> None:
    """Make a second /dev/null."""
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 3))
    except PermissionError:
        pytest.skip('only root makes devices')


@pytest.mark.parametrize('make', [make_pipe, make_device])
@pytest.mark.parametrize('linked', [False, True])
def test_a_device_or_pipe_is_never_replaced(
    folder: Path, make: Callable[[Path], None], linked: bool
) -> None:
    special = folder / 'out' / 'special'
    target = folder / 'out' / 'link' if linked else special
    if linked:
        target.symlink_to(special)
    run = outputs(folder, overwrite=True)
    run.plan(target, '--csv')
    make(special)
    before = os.lstat(special)
    with pytest.raises(OutputError, match='has come to exist meanwhile'):
        run.write(target, b'new')
    with pytest.raises(OutputError, match='is a device, a pipe or the like; --csv'):
        outputs(folder, overwrite=True).plan(target, '--csv')
    assert os.lstat(special) == before and target.is_symlink() == linked


def test_a_name_of_the_standard_output_is_never_replaced(folder: Path) -> None:
    target = folder / 'out' / 'stdout'
    target.symlink_to('/proc/self/fd/1')  # as /dev/stdout, whatever that is just now
    with pytest.raises(OutputError, match='is a device, a pipe or the like'):
        outputs(folder, overwrite=True).plan(target, '--csv')


def test_two_results_do_not_share_a_place(folder: Path) -> None:
    run = outputs(folder, overwrite=True)
    run.plan(folder / 'out' / 'x.png', 'x')
    with pytest.raises(OutputError, match='x.png and x would both be written to'):
        run.plan(folder / 'out' / 'y' / '..' / 'x.png', 'x.png')


def test_a_target_stays_in_the_folder(folder: Path) -> None:
    (folder / 'elsewhere').mkdir()
    (folder / 'out' / 'below').symlink_to(folder / 'elsewhere')
    for target in ('out/below/x.jpg', 'out/../x.jpg', 'x.jpg'):
        with pytest.raises(OutputError, match='would be outside of'):
            outputs(folder).plan(folder / target, 'x')


def test_a_link_that_is_replaced_leaves_what_it_leads_to(folder: Path) -> None:
    (folder / 'mine').write_text('mine')
    (folder / 'out' / 'x.jpg').symlink_to(folder / 'mine')
    outputs(folder, overwrite=True).write(folder / 'out' / 'x.jpg', b'new')
    assert (folder / 'mine').read_text() == 'mine'
    assert (folder / 'out' / 'x.jpg').read_bytes() == b'new'


NAMES = st.sampled_from(['a', 'b', '..', '.', 'a/..', 'link', 'b/../a'])
PATHS = st.lists(
    st.tuples(st.lists(NAMES, max_size=4), st.sampled_from(['1.jpg', '2.jpg', 'x', 'x.png'])),
    min_size=1, max_size=5,
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(PATHS, st.sampled_from(['out', '.', 'a', 'out/../b', 'link/x']), st.booleans())
def test_no_choice_of_paths_costs_a_file(
    paths: list[tuple[list[str], str]], output: str, overwrite: bool
) -> None:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name).resolve() / 'u' / 'v' / 'w' / 'x' / 'y'
        for folder in ('a/a', 'a/b', 'b/a', 'b/b'):
            (root / folder).mkdir(parents=True)
        (root / 'link').symlink_to('b')
        given_paths = [root.joinpath(*parents, file) for parents, file in paths]
        sources = []
        for path in given_paths:
            if path.parent.is_dir() and not path.exists():
                path.write_text(f'source {path.resolve()}')
            if path.is_file():
                sources.append(place_of(path))
        (root / '1.jpg').write_text('not named')
        sources = list(dict.fromkeys(sources))
        before = {path: path.read_text() for path in Path(name).rglob('*') if path.is_file()}
        run = Outputs(root / output, sources, overwrite=overwrite)
        targets = []
        try:
            images = find_images([str(path) for path in sources]).files if sources else []
            targets = [annotated_target(root / output, image) for image in images]
            for image, target in zip(images, targets, strict=True):
                run.plan(target, image.path)
            for target in targets:
                run.write(target, b'result')
        except OutputError:
            pass
        places = {place_of(target) for target in targets}
        if len(places) < len(targets):  # two would share a place: then nothing is written at all
            assert set(files(Path(name))) == {str(p.relative_to(name)) for p in before}
        for path, content in before.items():
            if path not in places or path in sources or not overwrite:
                assert path.read_text() == content
        for path in set(files(Path(name))) - {str(p.relative_to(name)) for p in before}:
            assert (Path(name).resolve() / path).is_relative_to((root / output).resolve())


# ---- written
def test_a_file_that_comes_meanwhile_stays(folder: Path) -> None:
    run, target = outputs(folder), folder / 'out' / 'new.jpg'
    run.plan(target, 'new')
    target.write_text('of somebody else')
    with pytest.raises(OutputError, match='has come to exist meanwhile'):
        run.write(target, b'x')
    assert target.read_text() == 'of somebody else'
    assert files(folder / 'out') == ['b.jpg', 'new.jpg']


def test_an_error_leaves_what_was_there(folder: Path) -> None:
    run, target = outputs(folder, overwrite=True), folder / 'out' / 'b.jpg'
    with pytest.raises(RuntimeError), run.open(target) as beside:
        beside.write_text('half of')
        raise RuntimeError
    assert target.read_text() == 'a file of the user'
    assert files(folder / 'out') == ['b.jpg']


def test_a_full_disk_is_reported_with_the_files_name(folder: Path) -> None:
    code = (
        'import resource, sys; from pathlib import Path\n'
        'from instance_seg_ros.cli.outputs import *\n'
        'resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n'
        'import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n'
        'run = Outputs(Path("out"), [], overwrite=True)\n'
        'try: run.write(Path("out/b.jpg"), bytes(5000))\n'
        'except OutputError as error: print(error)\n'
    )
    done = subprocess.run(
        [sys.executable, '-c', code], cwd=folder, capture_output=True, text=True, check=True
    )
    assert done.stdout == 'out/b.jpg: cannot be written (File too large)\n'
    assert (folder / 'out' / 'b.jpg').read_text() == 'a file of the user'
    assert files(folder / 'out') == ['b.jpg']


def test_places_that_cannot_be_written_are_found_beforehand(folder: Path) -> None:
    with pytest.raises(OutputError, match='a.jpg: cannot be written'):
        outputs(folder).prepare([folder / 'a.jpg'])
    with pytest.raises(OutputError, match='/proc/x: cannot be written'):
        outputs(folder).prepare([Path('/proc/x')])


def test_what_a_killed_run_left_is_removed_but_nothing_of_one_that_lives(folder: Path) -> None:
    code = (
        'import sys, time; from pathlib import Path; from instance_seg_ros.cli.outputs import *\n'
        'with Outputs(Path("out"), []).open(Path("out/x.jpg")) as beside:\n'
        '    beside.write_text("half of"); print("there", flush=True); time.sleep(60)\n'
    )
    processes = [
        subprocess.Popen([sys.executable, '-c', code], cwd=folder, stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    try:
        for process in processes:
            process.stdout.readline()
        assert len(files(folder / 'out')) == 3
        processes[0].send_signal(signal.SIGKILL)
        processes[0].wait()
        outputs(folder).prepare([folder / 'out'])
        assert len(files(folder / 'out')) == 2
        assert not (folder / 'out' / 'x.jpg').exists()
    finally:
        for process in processes:
            process.kill()
            process.wait()


def test_permissions_are_those_of_an_ordinary_file(folder: Path) -> None:
    outputs(folder).write(folder / 'out' / 'x.jpg', b'x')
    (folder / 'plain').write_text('x')
    mode = (folder / 'plain').stat().st_mode
    assert (folder / 'out' / 'x.jpg').stat().st_mode == mode
