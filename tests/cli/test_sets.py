"""Finding the test sets a command line names."""

from __future__ import annotations

from pathlib import Path

import pytest

from kebpf.cli.errors import CommandUsageError, KebpfError, NothingToRunError
from kebpf.cli.sets import find_test_sets


def make_set(path: Path) -> Path:
    path.mkdir(parents=True)
    (path / "test-set.yaml").write_text("name: x\n")
    return path


def test_names_paths_and_folders(tmp_path: Path) -> None:
    folder = tmp_path / "kebpf"
    second, first = make_set(folder / "shop-2"), make_set(folder / "shop-1")
    other = make_set(tmp_path / "other" / "set")
    (folder / "no-set").mkdir()
    assert find_test_sets([], folder) == [first, second]
    assert find_test_sets(["shop-2"], folder) == [second]
    assert find_test_sets([str(other), "shop-1"], folder) == [other, first]
    assert find_test_sets([str(folder), "shop-1"], folder) == [first, second]


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    folder = tmp_path / "kebpf"
    with pytest.raises(NothingToRunError, match=r"^there is no test set under "):
        find_test_sets([], folder)
    make_set(folder / "shop-1")
    with pytest.raises(CommandUsageError) as caught:
        find_test_sets(["shop"], folder)
    assert caught.value.message == (
        f"there is no test set 'shop' (under {folder}/ there are: shop-1)"
    )


def test_a_folder_that_is_no_set_is_left_to_whoever_opens_it(tmp_path: Path) -> None:
    folder = tmp_path / "kebpf"
    (folder / "empty").mkdir(parents=True)
    assert find_test_sets(["empty"], folder) == [folder / "empty"]
    assert find_test_sets([str(folder / "empty")], tmp_path) == [folder / "empty"]


def test_one_that_is_being_written_is_not_among_all(tmp_path: Path) -> None:
    make_set(tmp_path / ".shop.unfinished-x")
    with pytest.raises(NothingToRunError):
        find_test_sets([], tmp_path)


def test_a_name_no_file_can_have_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(KebpfError, match="cannot be read: File name too long"):
        find_test_sets(["x" * 300], tmp_path)
