# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Label files, and the class names that users give."""

from pathlib import Path

import pytest
from random_models import COCO_LABELS

from instance_seg_ros import ModelError
from instance_seg_ros.class_names import class_ids_of, read_class_names

COCO_IDS_WITHOUT_A_CLASS = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}


def test_cocos_labels_keep_the_gaps() -> None:
    labels = read_class_names(COCO_LABELS, 90)
    assert len(labels) == 80
    assert set(range(90)) - set(labels) == {i - 1 for i in COCO_IDS_WITHOUT_A_CLASS}
    # COCO's category ids, less one; a list of 80 names goes wrong from the second on.
    assert {i: labels[i] for i in (0, 12, 61, 89)} == {
        0: 'person',
        12: 'stop sign',
        61: 'chair',
        89: 'toothbrush',
    }


@pytest.mark.parametrize('gap', ['', '-', '   '])
def test_a_gap_is_an_empty_line_or_a_dash(tmp_path: Path, gap: str) -> None:
    path = tmp_path / 'labels.txt'
    path.write_text(f'cup\n{gap}\nplate\n')
    assert read_class_names(path, 3) == {0: 'cup', 2: 'plate'}


def test_80_lines_for_90_class_ids_are_refused_with_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / 'labels.txt'
    path.write_text('\n'.join(f'name {i}' for i in range(80)) + '\n')
    with pytest.raises(ModelError, match=r'labels\.txt: has 80 lines.*90.*"-"'):
        read_class_names(path, 90)


@pytest.mark.parametrize('lines', [0, 2, 4])
def test_another_number_of_lines_is_refused(tmp_path: Path, lines: int) -> None:
    path = tmp_path / 'labels.txt'
    path.write_text('name\n' * lines)
    with pytest.raises(ModelError, match=rf'labels\.txt: has {lines} lines, the model has 3'):
        read_class_names(path, 3)


def test_files_that_are_no_labels_are_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r'nowhere\.txt: No such file'):
        read_class_names(tmp_path / 'nowhere.txt', 3)
    with pytest.raises(ModelError, match='Is a directory'):
        read_class_names(tmp_path, 3)
    binary = tmp_path / 'binary.txt'
    binary.write_bytes(b'\xff\xfe\x00\x01')
    with pytest.raises(ModelError, match=r'binary\.txt: is not a UTF-8 text file'):
        read_class_names(binary, 3)


def test_a_windows_file_reads_like_any_other(tmp_path: Path) -> None:
    path = tmp_path / 'labels.txt'
    path.write_bytes('\ufeffcup\r\nfork\r\n'.encode())
    assert read_class_names(path, 2) == {0: 'cup', 1: 'fork'}


def test_names_become_class_ids() -> None:
    labels = read_class_names(COCO_LABELS, 90)
    assert class_ids_of(['toothbrush', 'person'], labels) == {0, 89}
    assert class_ids_of([], labels) == frozenset()


def test_an_unknown_class_lists_close_ones() -> None:
    labels = read_class_names(COCO_LABELS, 90)
    with pytest.raises(ValueError, match="no class 'persn'; did you mean person"):
        class_ids_of(['person', 'persn'], labels)
    with pytest.raises(ValueError, match="no class 'xyzzy'; it knows airplane, apple"):
        class_ids_of(['xyzzy'], labels)


def test_a_name_on_two_lines_stands_for_both_ids() -> None:
    assert class_ids_of(['cup'], {0: 'cup', 1: 'fork', 2: 'cup'}) == {0, 2}
