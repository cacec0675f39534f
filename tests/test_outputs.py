"""Result files appear whole or not at all."""

import os
import stat

import pytest

from tumortwin.errors import OutputExistsError
from tumortwin.outputs import new_file


def test_an_error_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "result.csv"
    path.write_text("old")

    def fail_halfway():
        with new_file(path, overwrite=True) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail_halfway()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_folder_is_made_and_the_suffix_kept(tmp_path):
    path = tmp_path / "a" / "b" / "page.pdf"
    with new_file(path) as temporary:
        assert temporary.suffix == ".pdf"
        temporary.write_text("new")
    assert path.read_text() == "new"


def test_permissions_follow_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        with new_file(tmp_path / "x") as temporary:
            temporary.write_text("x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o640


def test_an_existing_file_needs_overwrite(tmp_path):
    (tmp_path / "x").write_text("old")
    with pytest.raises(OutputExistsError, match="--force"), new_file(tmp_path / "x"):
        pass
