"""Every file that ships with pydicom, pydicom-data and nibabel: read or refused in words, never a crash."""

from importlib.util import find_spec
from pathlib import Path

import nibabel
import pydicom
import pytest

from tumortwin.errors import ReadError
from tumortwin.imaging.folder import read_folder

ROOTS = [Path(pydicom.__file__).parent / "data", Path(nibabel.__file__).parent / "nicom/tests/data"]
if (extra := find_spec("data_store")) is not None and extra.submodule_search_locations:
    ROOTS += [Path(p) for p in extra.submodule_search_locations]


@pytest.mark.parametrize("root", ROOTS, ids=lambda p: p.parent.name)
def test_no_file_crashes_the_reader(root, tmp_path):
    files = [
        p for p in root.rglob("*") if p.is_file() and p.suffix not in (".py", ".pyc") and p.stat().st_size < 2_000_000
    ]
    assert len(files) > 3
    seen = set()
    for n, path in enumerate(files):
        folder = tmp_path / str(n)
        folder.mkdir()
        (folder / path.name).symlink_to(path)
        try:
            study = read_folder(folder)
        except ReadError:
            continue
        seen |= {s.modality for s in study.series}
        for series in study.series:
            assert series.why
        assert study.series or study.findings
        assert path.name in study.sources or not (study.images or study.structures or study.doses or study.plans)
    assert seen
