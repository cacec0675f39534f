"""ADC maps: their unit is read, shown or refused, never guessed silently."""

import re

import numpy as np
import pytest
from pydicom.dataset import Dataset

from tumortwin.errors import InputError
from tumortwin.imaging.findings import Severity
from tumortwin.imaging.folder import read_folder
from tumortwin.imaging.reading.diffusion import parse_unit
from tumortwin.imaging.sequence import MRSequence

ADC = {"ImageType": ["DERIVED", "PRIMARY", "DIFFUSION", "ADC"], "SeriesDescription": "ADC"}


@pytest.mark.parametrize(
    ("written", "factor"),
    [
        ("um2/s", 1e-6),
        ("mm2/s", 1),
        ("10^-6 mm^2/s", 1e-6),
        ("1e-3mm2/s", 1e-3),
        ("10-6 mm²/s", 1e-6),
        ("µm²/sec", 1e-6),
        ("mm2/s *10^-3", 1e-3),
        ("mm^2.s^-1", 1),
        ("US", None),
        ("", None),
    ],
)
def test_written_units(written, factor):
    assert parse_unit(written) == (None if factor is None else pytest.approx(factor))


@pytest.fixture
def adc():
    return np.random.default_rng(0).integers(500, 2500, (6, 8, 10)).astype(np.uint16)


def mapped(unit, slope):
    code, mapping = Dataset(), Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = unit, "UCUM", unit
    mapping.MeasurementUnitsCodeSequence = [code]
    mapping.RealWorldValueSlope, mapping.RealWorldValueIntercept = slope, 0.0
    return [mapping]


@pytest.mark.parametrize(
    "attributes",
    [
        {"RealWorldValueMappingSequence": mapped("mm2/s", 1e-6)},
        {"RealWorldValueMappingSequence": mapped("um2/s", 1.0)},
        {"RescaleSlope": 1, "RescaleIntercept": 0, "RescaleType": "10^-6 mm^2/s"},
        {"RescaleSlope": "0.001", "RescaleIntercept": 0, "RescaleType": "10^-3 mm2/s"},
    ],
)
def test_a_stated_unit_is_believed(tmp_path, make_series, grid, adc, attributes):
    make_series(tmp_path, adc, grid, **ADC, **attributes)
    (image,) = read_folder(tmp_path, strict=True).images
    np.testing.assert_allclose(image.volume.array, adc * 1e-6, rtol=1e-6)
    assert image.volume.unit == "mm^2/s"


def test_a_unit_that_is_not_stated_is_an_assumption(tmp_path, make_series, grid, adc):
    make_series(tmp_path, adc, grid, **ADC)
    study = read_folder(tmp_path)
    np.testing.assert_allclose(study.images[0].volume.array, adc * 1e-6, rtol=1e-6)
    (finding,) = [f for f in study.findings if f.severity is Severity.ASSUMED]
    assert "no ADC unit is stated; 5 to 95 % of its positive values are" in finding.what
    assert finding.action == "taken as 10^-6 mm^2/s"
    (said,) = read_folder(tmp_path, adc_unit=2e-6, strict=True).images
    np.testing.assert_allclose(said.volume.array, adc * 2e-6, rtol=1e-6)


@pytest.mark.parametrize(
    "attributes",
    [{"RescaleSlope": 10, "RescaleIntercept": 0}, {"RescaleSlope": 1, "RescaleIntercept": 0, "RescaleType": "mm2/s"}],
)
def test_values_that_are_no_adc_are_refused(tmp_path, make_series, grid, adc, attributes):
    make_series(tmp_path, adc, grid, **ADC, **attributes)
    study = read_folder(tmp_path)
    assert study.images == ()
    assert [f.severity for f in study.findings] == [Severity.LEFT_OUT]
    remedy = float(re.search(r"give adc_unit=(\S+)", study.findings[0].what)[1])
    (image,) = read_folder(tmp_path, adc_unit=remedy).images
    assert image.volume.unit == "mm^2/s"


def test_a_given_unit_is_obeyed_where_a_map_is_slow(tmp_path, make_series, grid, adc):
    make_series(tmp_path, adc // 60 + 1, grid, **ADC)
    assert read_folder(tmp_path).images == ()
    study = read_folder(tmp_path, adc_unit=1e-6)
    np.testing.assert_allclose(study.images[0].volume.array, 1e-6 * (adc // 60 + 1), rtol=1e-6)
    assert "used as you say" in study.findings[0].action


def test_adc_is_computed_where_no_map_is(tmp_path, make_series, grid):
    truth = np.random.default_rng(0).uniform(0.5e-3, 2.5e-3, grid.shape)
    b0 = np.full(grid.shape, 20000, np.uint16)
    b0[0, 0, 0] = 0
    for b in (0, 500, 1000):
        make_series(
            tmp_path / str(b),
            (b0 * np.exp(-b * truth)).round().astype(np.uint16),
            grid,
            SeriesDescription="DWI",
            DiffusionBValue=float(b),
        )
    study = read_folder(tmp_path, strict=True)
    (adc,) = [i for i in study.images if i.sequence is MRSequence.ADC]
    truth[0, 0, 0] = 0
    np.testing.assert_allclose(adc.volume.array, truth, atol=1e-6)
    assert "images with b 0 and b 1000 (1 direction(s))" in study.findings[-1].what
    make_series(tmp_path / "adc", (truth * 1e6).astype(np.uint16), grid, **ADC, RescaleType="um2/s")
    assert len([i for i in read_folder(tmp_path).images if i.sequence is MRSequence.ADC]) == 1


def test_adc_is_not_computed_across_grids(tmp_path, make_series, grid, values):
    make_series(tmp_path / "0", values, grid, SeriesDescription="DWI", DiffusionBValue=0.0)
    upper = grid.cropped((slice(1, 6), slice(None), slice(None)))
    make_series(tmp_path / "1", values[1:], upper, SeriesDescription="DWI", DiffusionBValue=1000.0)
    study = read_folder(tmp_path)
    assert MRSequence.ADC not in {i.sequence for i in study.images}
    assert "unlike grids" in study.findings[-1].what


def test_an_adc_unit_is_a_positive_number(tmp_path):
    with pytest.raises(InputError, match="positive number"):
        read_folder(tmp_path, adc_unit=-1)
