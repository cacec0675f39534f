"""Names of drawn regions."""

import numpy as np
import pytest

from tumortwin.geometry import Region, drawn_regions
from tumortwin.geometry.segmentation.regions import region_of
from tumortwin.imaging.findings import Severity
from tumortwin.imaging.volume import Grid, Mask


@pytest.mark.parametrize(
    ("name", "region"),
    [
        ("enhancing", Region.ENHANCING),
        ("Enhancing Tumor", Region.ENHANCING),
        ("ET", Region.ENHANCING),
        ("Non-enhancing core", Region.NECROSIS),
        ("Necrosis", Region.NECROSIS),
        ("necrotic core", Region.NECROSIS),
        ("edema", Region.EDEMA),
        ("Peritumoral oedema", Region.EDEMA),
        ("Whole tumor", Region.WHOLE),
        ("WT", Region.WHOLE),
        ("GTV", Region.CORE),
        ("GTVp_60", Region.CORE),
        ("Tumour core", Region.CORE),
        ("resection cavity", Region.CAVITY),
        ("RC", Region.CAVITY),
        ("Cavity_post", Region.CAVITY),
        ("NETC", Region.NECROSIS),
        ("SNFH", Region.EDEMA),
        ("surrounding non-enhancing FLAIR hyperintensity", Region.EDEMA),
        ("non-enhancing core", Region.NECROSIS),
        ("PTV", None),
        ("brainstem", None),
        ("ring", None),
        ("something", None),
    ],
)
def test_names(name, region):
    assert region_of(name) == region


def test_unknown_and_empty_ones_are_findings_and_pieces_are_united():
    grid = Grid.regular((4, 4, 4))
    one, two, none = (np.zeros(grid.shape, bool) for _ in range(3))
    one[0], two[3] = True, True
    masks = {
        "GTV1": Mask(one, grid),
        "GTV2": Mask(two, grid),
        "edema": Mask(none, grid),
        "blob": Mask(one, grid),
        "brainstem": Mask(one, grid),
    }
    found, findings = drawn_regions(masks, "visit")
    assert set(found) == {Region.CORE}
    assert found[Region.CORE].array.sum() == 32
    assert sorted(f.what.split()[0] for f in findings) == ["no", "the"]
    assert all(f.severity is Severity.LEFT_OUT for f in findings)
    assert not any("brainstem" in f.what for f in findings)
