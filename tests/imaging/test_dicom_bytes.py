"""Equal input gives equal bytes, whatever the process, its hash seed, its time zone and the time of day."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tumortwin
from tumortwin.imaging import read_folder
from tumortwin.imaging.nifti import write_nifti
from tumortwin.imaging.volume import Grid, Mask, TotalDose
from tumortwin.imaging.writing.dose import write_dose
from tumortwin.imaging.writing.encapsulated_pdf import write_pdf
from tumortwin.imaging.writing.parametric_map import write_map
from tumortwin.imaging.writing.plan import write_plan
from tumortwin.imaging.writing.secondary_capture import write_captures
from tumortwin.imaging.writing.segmentation import write_segmentation
from tumortwin.imaging.writing.source import DicomSource
from tumortwin.imaging.writing.structure_set import write_structures
from tumortwin.imaging.writing.structured_report import Measured, write_measurements


def write_everything(images: Path, out: Path, identity: str) -> dict[str, str]:
    """One object of every kind; SHA-256 by file name."""
    source = DicomSource.of(sorted(images.glob("*.dcm")), identity, b"key")
    volume = read_folder(images).images[0].volume
    inside = np.zeros(volume.grid.shape, bool)
    inside[4:7, 8:20, 8:20] = True
    mask = Mask(inside, volume.grid)
    density = volume.with_array(np.float32(0.7) * inside, unit="1")
    seg = write_segmentation({"edema": mask}, source, out / "seg.dcm", derivation="drawn")
    struct = write_structures({"PTV": mask}, source, out / "struct.dcm", derivation="drawn")
    plan = write_plan(60.0, 30, source.followed_by(struct), out / "plan.dcm", derivation="chosen")
    write_dose(TotalDose(np.float32(60) * inside, mask.grid), source.followed_by(plan), out / "dose.dcm")
    write_map(density, source, out / "map.dcm", label="cell density", derivation="computed")
    write_measurements([Measured("edema", mask.volume_ml)], seg, source, out / "sr.dcm", method="counted")
    write_pdf(b"%PDF-1.4", source, out / "page.dcm", title="Page")
    write_captures({"picture": np.zeros((8, 8, 3), np.uint8)}, source, out)
    write_nifti(density, out / "density.nii.gz")
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in out.iterdir()}


@pytest.mark.parametrize(("identity", "zone"), [("source", "Asia/Tokyo"), ("removed", "America/Los_Angeles")])
def test_another_process_writes_the_same(identity, zone, mr_series, tmp_path):
    images = tmp_path / "images"
    mr_series(Grid.regular((11, 33, 28), (4.0, 1.5, 1.25), -20.0, "2.25.1"), images)
    here = write_everything(images, tmp_path / "here", identity)
    assert len(here) == 9
    here_too = str(Path(tumortwin.__file__).parents[1])
    environment = {**os.environ, "PYTHONHASHSEED": "7", "TZ": zone, "PYTHONPATH": here_too}
    subprocess.run([sys.executable, __file__, images, tmp_path / "there", identity], env=environment, check=True)
    there = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (tmp_path / "there").iterdir()}
    assert there == here


if __name__ == "__main__":
    write_everything(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
