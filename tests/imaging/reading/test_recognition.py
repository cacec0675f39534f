"""What series of several vendors show."""

import pytest

from tumortwin.errors import InputError
from tumortwin.imaging.findings import Severity
from tumortwin.imaging.folder import read_folder, scan_folder
from tumortwin.imaging.sequence import MRSequence

SE = {"ScanningSequence": "SE", "RepetitionTime": 550, "EchoTime": 12}
MPRAGE = {"ScanningSequence": ["GR", "IR"], "RepetitionTime": 2300, "EchoTime": 2.9, "InversionTime": 900}
SPGR = {"ScanningSequence": "GR", "RepetitionTime": 8, "EchoTime": 3.2, "InversionTime": 450}
T2 = {"ScanningSequence": "SE", "RepetitionTime": 5000, "EchoTime": 95}
FLAIR = {"ScanningSequence": ["SE", "IR"], "RepetitionTime": 9000, "EchoTime": 120, "InversionTime": 2500}
NOTHING = {"ScanningSequence": None, "RepetitionTime": None, "EchoTime": None}


@pytest.mark.parametrize(
    ("description", "attributes", "sequence", "sure"),
    [
        ("t1_se_tra", SE, MRSequence.T1, True),
        ("AX T1 POST", SE, MRSequence.T1GD, True),
        ("t1_mprage_sag_p2_iso KM", MPRAGE, MRSequence.T1GD, True),
        ("t1_mprage_sag_p2_iso", MPRAGE | {"ContrastBolusAgent": "Gadovist"}, MRSequence.T1GD, True),
        ("t1_mprage_sag_nativ", MPRAGE | {"ContrastBolusAgent": "Gadovist"}, MRSequence.T1, False),
        ("t1_mprage", MPRAGE | {"ContrastBolusAgent": "none"}, MRSequence.T1, True),
        ("Ax 3D BRAVO +C", SPGR, MRSequence.T1GD, True),
        ("Ax 3D BRAVO w/o", SPGR, MRSequence.T1, True),
        ("T1W_3D_TFE_GD", SPGR, MRSequence.T1GD, True),
        ("t2_tse_tra_512", T2, MRSequence.T2, True),
        ("T2W_FLAIR", FLAIR, MRSequence.FLAIR, True),
        ("t2_tirm_tra_dark-fluid", FLAIR, MRSequence.FLAIR, True),
        ("Sag CUBE T2 FLAIR post", FLAIR, MRSequence.FLAIR, True),
        ("AX T1 FLAIR", MPRAGE, MRSequence.T1, True),
        ("FLAIR", T2, MRSequence.T2, False),
        ("T1 AX", T2, MRSequence.T2, False),
        (
            "ep2d_diff_3scan_trace_p2_ADC",
            T2 | {"ImageType": ["DERIVED", "PRIMARY", "DIFFUSION", "ADC"]},
            MRSequence.ADC,
            True,
        ),
        ("Apparent Diffusion Coefficient (mm2/s)", T2, MRSequence.ADC, True),
        ("ep2d_diff", T2 | {"DiffusionBValue": 1000.0}, MRSequence.DWI, True),
        ("eADC", T2, MRSequence.OTHER, True),
        ("ep2d_perf_p2", T2, MRSequence.OTHER, True),
        ("relCBF", T2 | {"ImageType": ["DERIVED", "SECONDARY", "RELCBF", "CBF"]}, MRSequence.OTHER, True),
        ("SWI_Images", T2, MRSequence.OTHER, True),
        ("TOF_3D_multi-slab", SPGR, MRSequence.OTHER, True),
        ("3-plane loc", SPGR, MRSequence.OTHER, True),
        ("T1 post MIP", SPGR, MRSequence.OTHER, True),
        ("t1_vibe_sub", SPGR, MRSequence.OTHER, True),
        ("t1 posterior fossa", SE, MRSequence.T1, True),
        ("AXIAL T1 GAD", NOTHING, MRSequence.T1GD, False),
        ("AX FLAIR", NOTHING, MRSequence.FLAIR, False),
        ("t2_space_dark-fluid_sag_p2_iso", NOTHING, MRSequence.FLAIR, False),
        ("t2_spc_da-fl_sag_p2_iso", NOTHING, MRSequence.FLAIR, False),
        ("Ax T1 no gad", SE, MRSequence.T1, True),
        ("sDWI", NOTHING, MRSequence.DWI, False),
        ("Apparent Diff. Coeff. (mm2/s)", NOTHING, MRSequence.ADC, True),
        ("Exponential Apparent Diffusion Coefficient", NOTHING, MRSequence.OTHER, True),
        ("dti_ep2d_FA", NOTHING, MRSequence.OTHER, True),
        ("T1 MAP", SPGR, MRSequence.OTHER, True),
        ("series 7", NOTHING, MRSequence.OTHER, False),
        ("series 7", SE | {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2", "Modality": "CT"}, MRSequence.CT, True),
    ],
)
def test_what_a_series_shows(tmp_path, make_series, grid, values, description, attributes, sequence, sure):
    make_series(tmp_path, values, grid, SeriesDescription=description, **attributes)
    study = scan_folder(tmp_path)
    (series,) = study.series
    doubts = [f for f in study.findings if f.severity in (Severity.ASSUMED, Severity.LEFT_OUT)]
    assert (series.sequence, not doubts) == (sequence, sure), series.why
    assert series.used == (sequence is not MRSequence.OTHER)
    assert series.why


def test_siemens_and_ge_private_b_values(tmp_path, make_series, grid, values):
    def siemens(k, data):
        data.add_new(0x00190010, "LO", "SIEMENS MR HEADER")
        data.add_new(0x0019100C, "IS", "800")

    def ge(k, data):
        data.add_new(0x00430010, "LO", "GEMS_PARM_01")
        data.add_new(0x00431039, "IS", ["1000001000", "8", "0", "0"])

    make_series(tmp_path / "a", values, grid, SeriesDescription="ep2d_diff", each=siemens)
    make_series(tmp_path / "b", values, grid, SeriesDescription="DWI", each=ge)
    assert {i.b_value for i in read_folder(tmp_path).images if i.sequence is MRSequence.DWI} == {800, 1000}


def test_the_user_is_always_right(tmp_path, make_series, grid, values):
    uid = make_series(tmp_path, values, grid, SeriesDescription="localizer 7")[0].SeriesInstanceUID
    for key in (uid, "LOCALIZER*"):
        (image,) = read_folder(tmp_path, sequences={key: MRSequence.FLAIR}, strict=True).images
        assert image.sequence is MRSequence.FLAIR
    with pytest.raises(InputError, match="no known sequence: give one of T1"):
        read_folder(tmp_path, sequences={uid: "flare"})


def test_two_t1_series_without_a_word_of_contrast_are_a_doubt(tmp_path, make_series, grid, values):
    make_series(tmp_path / "a", values, grid, SeriesDescription="t1_tra")
    assert not [f for f in scan_folder(tmp_path).findings if "contrast" in f.what]
    make_series(tmp_path / "b", values, grid, SeriesDescription="t1_tra_2")
    (doubt,) = [f for f in scan_folder(tmp_path).findings if "contrast" in f.what]
    assert doubt.severity is Severity.ASSUMED
    make_series(tmp_path / "c", values, grid, SeriesDescription="t1_tra_KM")
    assert not [f for f in scan_folder(tmp_path).findings if "contrast" in f.what]
