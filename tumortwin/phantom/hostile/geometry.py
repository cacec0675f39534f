"""Series whose planes are not where a careless reader takes them to be, or do not belong together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

import numpy as np
from pydicom.dataset import Dataset

from tumortwin.imaging.sequence import MRSequence
from tumortwin.imaging.volume import Grid
from tumortwin.imaging.writing.header import decimal, hashed_uid
from tumortwin.phantom.hostile.specimens import Expected, Mutant, Specimen, Truth, changed, fresh, numbered, set_pixels

LOADED, REPAIRED, REFUSED = Expected


def no_fault(s: Specimen) -> Iterator[Mutant]:
    """Yield the control: a series without a fault."""
    yield s.mutant("no fault", s.slices(), LOADED)


def missing_slices(s: Specimen) -> Iterator[Mutant]:
    """One slice inside is missing; or so many that nobody can say what was there."""
    slices = s.slices()
    lost = int(s.rng.integers(2, s.n - 2))
    yield s.mutant("missing slice, isolated", slices[:lost] + slices[lost + 1 :], REPAIRED, "missing")
    box = s.truth(exact=False)
    yield s.mutant(
        "missing slices, not isolated", slices[:4] + slices[7:], REFUSED, "missing", [box], "three in a row missing"
    )
    yield s.mutant(
        "missing slices, not isolated",
        [d for k, d in enumerate(slices) if k not in (2, 5, 8)],
        REFUSED,
        "missing",
        [box],
        "every third missing",
    )


def missing_at_the_ends(s: Specimen) -> Iterator[Mutant]:
    """Yield a series without its first and last slices, which were never sent; the other slices are right."""
    inner = s.grid.cropped((slice(2, s.n - 1), slice(None), slice(None)))
    yield s.mutant(
        "missing slices, at the ends", s.slices()[2:-1], LOADED, "instance numbers begin at 3", [s.truth(grid=inner)]
    )


def uneven_spacing(s: Specimen) -> Iterator[Mutant]:
    """Planes that are not evenly spaced; their values are those of where they are."""
    jitter = s.rng.uniform(-0.2, 0.2, s.n)
    one_wide = np.arange(s.n) + 0.5 * (np.arange(s.n) > 6)
    growing = np.arange(s.n) * (1 + 0.02 * np.arange(s.n))
    for variant, at in (("jittered", np.arange(s.n) + jitter), ("one gap wider", one_wide), ("growing", growing)):
        at = at - at[0]
        affine = np.array(s.grid.affine)
        affine[:3, 0] *= at[-1] / (s.n - 1)
        box = s.truth(grid=Grid(s.grid.shape, affine, s.grid.frame), exact=False)
        yield s.mutant(
            "non-uniform spacing",
            [s.slice(k, InstanceNumber=i) for i, k in enumerate(at)],
            REPAIRED,
            "unevenly spaced",
            [box],
            variant,
        )


def duplicates(s: Specimen) -> Iterator[Mutant]:
    """Slices that are there twice."""
    slices = s.slices()
    one = slices[3:4]
    yield s.mutant("duplicate instances", slices + one, REPAIRED, "duplicate", variant="one file twice")
    yield s.mutant(
        "duplicate instances", slices + fresh(one, "again"), REPAIRED, "duplicate", variant="one slice under a new UID"
    )
    yield s.mutant(
        "duplicate instances",
        slices + fresh(slices, "again"),
        REPAIRED,
        "duplicate",
        variant="all slices under new UIDs",
    )


def damaged_duplicate(s: Specimen) -> Iterator[Mutant]:
    """Yield a series with one slice twice, of which one copy is truncated."""
    (cut,) = changed(s.slices()[3:4])
    cut.PixelData = cut.PixelData[:100]
    yield s.mutant(
        "duplicate instances", [*s.slices(), cut], REPAIRED, "cannot be decoded", variant="the second copy cut off"
    )


def repeated_uid(s: Specimen) -> Iterator[Mutant]:
    """All slices under one SOP Instance UID, as a careless anonymizer leaves them."""
    yield s.mutant(
        "duplicate instances",
        changed(s.slices(), SOPInstanceUID=hashed_uid("one for all")),
        LOADED,
        variant="one UID for all slices",
    )


def shuffled(s: Specimen) -> Iterator[Mutant]:
    """Instance numbers that do not follow the positions."""
    slices = s.slices()
    for data, number in zip(slices, s.rng.permutation(s.n), strict=True):
        data.InstanceNumber = int(number)
    yield s.mutant("shuffled order", slices, LOADED, variant="shuffled instance numbers")
    yield s.mutant("shuffled order", s.slices(InstanceNumber=1), LOADED, variant="one instance number for all")
    yield s.mutant("shuffled order", s.slices(InstanceNumber=None), LOADED, variant="no instance numbers")


def gantry_tilt(s: Specimen) -> Iterator[Mutant]:
    """Yield series with tilted planes: each is shifted along its columns (or rows) against the one below."""
    for degrees, axis, variant in ((5.0, 1, "5 deg"), (-18.0, 1, "-18 deg"), (12.0, 2, "12 deg along rows")):
        affine = np.array(s.grid.affine)
        along = affine[:3, axis] / np.linalg.norm(affine[:3, axis])
        affine[:3, 0] += along * np.linalg.norm(affine[:3, 0]) * np.tan(np.deg2rad(degrees))
        leaning = replace(s, grid=Grid(s.grid.shape, affine, s.grid.frame))
        tilt = {"GantryDetectorTilt": decimal(degrees)} if s.modality == "CT" else {}
        yield leaning.mutant(
            "gantry tilt", leaning.slices(**tilt), REPAIRED, "lean by", [leaning.truth(exact=False)], variant
        )


def stated_tilt(s: Specimen) -> Iterator[Mutant]:
    """Yield a series that states a tilt but has upright planes (heads of tilted patients are scanned so too)."""
    yield s.mutant("gantry tilt", s.slices(GantryDetectorTilt="12"), LOADED, variant="stated, planes upright")


def localizer(s: Specimen) -> Iterator[Mutant]:
    """Yield series that contain a localizer, known by its type or by its planes only."""
    other = ((1, 2, 0), (2, 0, 1))
    for variant, kind, says in (
        ("known by its type", {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "a localizer"),
        ("known by its planes only", {}, "one slice only"),
    ):
        scouts = []
        for order in other:
            affine = np.array(s.grid.affine)
            affine[:3, :3] = affine[:3, order]
            scouts += replace(s, grid=Grid((1, 20, 24), affine, s.grid.frame)).slices(StudyID=str(order), **kind)
        yield s.mutant("localizer in the series", s.slices() + fresh(scouts, "scout"), REPAIRED, says, variant=variant)


def odd_slices(s: Specimen) -> Iterator[Mutant]:
    """One slice of the series has another matrix or another pixel size."""
    slices = s.slices()
    k = int(s.rng.integers(2, s.n - 2))
    small = changed(slices[k : k + 1])[0]
    set_pixels(small, s.stored(s.world(k))[:10, :12])
    yield s.mutant(
        "one slice unlike the others",
        [*slices[:k], small, *slices[k + 1 :]],
        REPAIRED,
        "missing",
        variant="another matrix",
    )
    finer = s.grid.affine @ np.diag([1, 0.5, 0.5, 1.0])
    (zoomed,) = fresh([replace(s, grid=Grid(s.grid.shape, finer, s.grid.frame)).slice(k)], "zoomed")
    yield s.mutant(
        "one slice unlike the others",
        [*slices[:k], zoomed, *slices[k + 1 :]],
        REPAIRED,
        "missing",
        variant="another pixel size",
    )


def _b_value(data: list[Dataset], vendor: str, b_value: int) -> list[Dataset]:
    for d in data:
        d.Manufacturer = {"Siemens": "SIEMENS", "GE": "GE MEDICAL SYSTEMS", "Philips": "Philips Medical Systems"}.get(
            vendor, d.Manufacturer
        )
        if vendor == "standard":
            d.DiffusionBValue = float(b_value)
        elif vendor == "Siemens":
            d.private_block(0x0019, "SIEMENS MR HEADER", create=True).add_new(0x0C, "IS", str(b_value))
        elif vendor == "GE":
            d.private_block(0x0043, "GEMS_PARM_01", create=True).add_new(
                0x39, "IS", [str(1_000_000_000 + b_value), "8", "0", "0"]
            )
        else:
            d.private_block(0x2001, "Philips Imaging DD 001", create=True).add_new(0x03, "FL", float(b_value))
    return data


def several_b_values(s: Specimen) -> Iterator[Mutant]:
    """Images of b 0 and b 1000 in one series; an ADC map can be computed from them."""
    adc = 0.9e-3
    weighted = replace(s, values=replace(s.values, gain=float(np.exp(-1000 * adc))))
    for vendor in ("standard", "Siemens", "GE", "Philips"):
        files = _b_value(s.slices(SeriesDescription="DWI"), vendor, 0)
        files += _b_value(fresh(weighted.slices(SeriesDescription="DWI"), vendor), vendor, 1000)
        truths = [s.truth(sequence=MRSequence.DWI), weighted.truth(sequence=MRSequence.DWI)]
        truths.append(_adc_truth(s, adc))
        yield s.mutant("several b-values", numbered(files), REPAIRED, "b 1000", truths, f"by {vendor}'s attribute")


def _adc_truth(s: Specimen, adc: float) -> Truth:
    """Of a computed map: stored values are whole numbers, which shows in the logarithm."""
    constant = replace(s.values, gain=1.0, base=adc, gradient=(0.0, 0.0, 0.0))
    return s.truth(values=constant, tolerance=3e-6, sequence=MRSequence.ADC, computed=True)


def several_echoes(s: Specimen) -> Iterator[Mutant]:
    """Two echoes in one series."""
    second = replace(s, values=replace(s.values, gain=0.6))
    files = s.slices(EchoTime=10, EchoNumbers=1) + fresh(second.slices(EchoTime=90, EchoNumbers=2), "echo")
    files = changed(numbered(files), RepetitionTime=2500, SeriesDescription="T2 dual echo")
    yield s.mutant(
        "several echoes", files, REPAIRED, "echo 90 ms", [s.truth(sequence=None), second.truth(sequence=MRSequence.T2)]
    )


def several_times(s: Specimen) -> Iterator[Mutant]:
    """Two acquisitions at the same places in one series, told apart by one attribute or by none."""
    second = replace(s, values=replace(s.values, gain=1.3))
    truths = [s.truth(date=None), second.truth(date=None)]
    for variant, first_has, second_has in (
        ("temporal position", {"TemporalPositionIdentifier": 1}, {"TemporalPositionIdentifier": 2}),
        ("acquisition number", {"AcquisitionNumber": 1}, {"AcquisitionNumber": 2}),
        ("acquisition time", {"AcquisitionTime": "101500"}, {"AcquisitionTime": "102000"}),
        ("series number", {"SeriesNumber": 3}, {"SeriesNumber": 4}),
    ):
        files = s.slices(**first_has) + fresh(second.slices(**second_has), variant)
        yield s.mutant("several acquisitions in one series", numbered(files), REPAIRED, "", truths, variant)
    yield s.mutant(
        "several acquisitions in one series",
        s.slices() + fresh(second.slices(), "again"),
        REFUSED,
        "tells them apart",
        truths,
        "nothing tells them apart",
    )


def magnitude_and_phase(s: Specimen) -> Iterator[Mutant]:
    """Magnitude and phase images in one series."""
    phase = replace(s, values=replace(s.values, gain=0.5))
    files = s.slices() + fresh(phase.slices(ImageType=["ORIGINAL", "PRIMARY", "P"]), "phase")
    yield s.mutant(
        "several acquisitions in one series",
        numbered(files),
        REPAIRED,
        "type",
        [s.truth(), phase.truth(wanted=False)],
        "magnitude and phase",
    )


def several_series(s: Specimen) -> Iterator[Mutant]:
    """Three series in one folder; then with one Series Instance UID, as a careless anonymizer leaves them."""
    second = replace(s, values=replace(s.values, gain=1.2))
    t2 = {"RepetitionTime": 4000, "EchoTime": 100, "SeriesDescription": "T2 axial", "SeriesNumber": 4}
    flair = {
        "RepetitionTime": 9000,
        "EchoTime": 120,
        "InversionTime": 2500,
        "SeriesDescription": "FLAIR",
        "SeriesNumber": 5,
    }
    third = replace(s, values=replace(s.values, gain=0.8))
    truths = [s.truth(), second.truth(sequence=MRSequence.T2), third.truth(sequence=MRSequence.FLAIR)]
    for variant, uids in (("three UIDs", (3, 4, 5)), ("one UID for all", (3, 3, 3))):
        uid = [hashed_uid("series", u) for u in uids]
        files = s.slices(SeriesInstanceUID=uid[0])
        files += fresh(second.slices(SeriesInstanceUID=uid[1], **t2), variant)
        files += fresh(third.slices(SeriesInstanceUID=uid[2], **flair), variant, 3)
        yield s.mutant("several series", files, LOADED if "three" in variant else REPAIRED, "", truths, variant)


def several_modalities(s: Specimen) -> Iterator[Mutant]:
    """MR and CT in one folder, even under one Series Instance UID; their planes interleave."""
    between = Grid(s.grid.shape, s.grid.affine @ _moved(0.5), s.grid.frame)
    ct = replace(s, modality="CT", intercept=-1024.0, grid=between)
    truths = [s.truth(), ct.truth()]
    for variant, uid in (("two UIDs", hashed_uid("a CT")), ("one UID for both", s.header().SeriesInstanceUID)):
        files = s.slices() + fresh(ct.slices(SeriesInstanceUID=uid, ImageType=["ORIGINAL", "PRIMARY", "M"]), variant)
        yield s.mutant("several modalities", files, LOADED if "two" in variant else REPAIRED, "CT", truths, variant)


def _moved(slices: float) -> np.ndarray:
    matrix = np.eye(4)
    matrix[0, 3] = slices
    return matrix


def several_studies(s: Specimen) -> Iterator[Mutant]:
    """Two visits whose series share one UID; their planes interleave."""
    later = replace(
        s, values=replace(s.values, gain=1.3), grid=Grid(s.grid.shape, s.grid.affine @ _moved(0.5), s.grid.frame)
    )
    dates = dict.fromkeys(("StudyDate", "SeriesDate", "AcquisitionDate"), "20240305")
    files = s.slices() + fresh(later.slices(StudyInstanceUID=hashed_uid("later"), **dates), "later")
    truths = [s.truth(), later.truth(date=datetime(2024, 3, 5, 10, 15))]
    yield s.mutant("several series", files, REPAIRED, "2024-03-05", truths, "two studies under one series UID")


def several_patients(s: Specimen) -> Iterator[Mutant]:
    """Two patients in one folder, as whole series or slice by slice, with and without an ID."""
    other = replace(s, values=replace(s.values, gain=1.4))
    truths = [s.truth(date=None), other.truth(date=None)]
    stranger = {"PatientID": "H2", "PatientName": "Another^One", "PatientBirthDate": "19600101"}
    files = s.slices() + fresh(other.slices(SeriesInstanceUID=hashed_uid("hers"), **stranger), "other")
    yield s.mutant("several patients", files, REFUSED, "2 patients", truths, "two series")
    mixed = s.slices()
    mixed[5] = fresh([other.slice(5, **stranger)], "other")[0]
    yield s.mutant("several patients", mixed, REFUSED, "2 patients", [s.truth()], "one slice of another patient")
    nameless = s.slices(PatientID="", PatientBirthDate="19700202")
    nameless[6:] = fresh(other.slices(**{**stranger, "PatientID": ""})[6:], "other")
    yield s.mutant("several patients", nameless, REFUSED, "2 patients", truths, "no IDs, unlike names")


def several_frames(s: Specimen) -> Iterator[Mutant]:
    """One series in two frames of reference: the patient was moved in between."""
    low = replace(s, grid=s.grid.cropped((slice(0, 6), slice(None), slice(None))))
    high = replace(
        s, grid=s.grid.cropped((slice(6, s.n), slice(None), slice(None))), values=replace(s.values, gain=1.2)
    )
    files = low.slices() + fresh(high.slices(FrameOfReferenceUID=hashed_uid("moved")), "moved")
    yield s.mutant("several frames of reference", files, REPAIRED, "", [low.truth(), high.truth()], "two halves")
    second = replace(s, values=replace(s.values, gain=1.2))
    files = s.slices() + fresh(second.slices(FrameOfReferenceUID=hashed_uid("moved")), "moved")
    yield s.mutant(
        "several frames of reference", files, REPAIRED, "", [s.truth(), second.truth()], "the same places in both"
    )


def no_frame(s: Specimen) -> Iterator[Mutant]:
    """No frame of reference is stated."""
    yield s.mutant(
        "several frames of reference",
        s.slices(FrameOfReferenceUID=None),
        LOADED,
        "frame of reference",
        variant="none stated",
    )


def mixed_orientations(s: Specimen) -> Iterator[Mutant]:
    """Two stacks of planes at right angles in one series."""
    affine = np.array(s.grid.affine)
    affine[:3, :3] = affine[:3, [2, 1, 0]]
    turned = replace(s, grid=Grid((9, 20, 24), affine, s.grid.frame))
    files = s.slices() + fresh(turned.slices(), "turned")
    yield s.mutant("mixed orientations", files, REPAIRED, "", [s.truth(), turned.truth()])


def contradicting_spacing(s: Specimen) -> Iterator[Mutant]:
    """SpacingBetweenSlices or SliceThickness says something else than the positions."""
    step = s.grid.spacing[0]
    for variant, changes, expected in (
        ("twice", {"SpacingBetweenSlices": decimal(2 * step)}, REPAIRED),
        ("a half", {"SpacingBetweenSlices": decimal(step / 2)}, REPAIRED),
        ("zero", {"SpacingBetweenSlices": "0"}, REPAIRED),
        ("negative", {"SpacingBetweenSlices": decimal(-step)}, LOADED),
        ("thin slices with gaps", {"SliceThickness": decimal(step / 3)}, LOADED),
        ("no thickness", {"SliceThickness": ""}, LOADED),
    ):
        yield s.mutant(
            "contradicting SpacingBetweenSlices",
            s.slices(**changes),
            expected,
            "SpacingBetweenSlices" if expected is REPAIRED else "",
            variant=variant,
        )


def no_position(s: Specimen) -> Iterator[Mutant]:
    """Where the planes are is not stated, or absurd, for all or for one of them."""
    case = "no ImagePositionPatient"
    for variant, changes in (
        ("none", {"ImagePositionPatient": None}),
        ("empty", {"ImagePositionPatient": []}),
        ("all alike", {"ImagePositionPatient": ["0", "0", "0"]}),
        ("no orientation", {"ImageOrientationPatient": None}),
        ("orientation of zeros", {"ImageOrientationPatient": ["0"] * 6}),
        ("rows along columns", {"ImageOrientationPatient": ["1", "0", "0", "1", "0", "0"]}),
    ):
        yield s.mutant(case, s.slices(**changes), REFUSED, "", variant=variant)
    slices = s.slices()
    slices[4] = s.slice(4, ImagePositionPatient=None)
    yield s.mutant(case, slices, REPAIRED, "position", variant="one slice without")


def no_pixel_spacing(s: Specimen) -> Iterator[Mutant]:
    """Yield series with a pixel spacing that is missing or absurd."""
    for variant, spacing in (("none", None), ("zero", ["0", "0"]), ("negative", ["-1", "1"]), ("one number", ["1.25"])):
        yield s.mutant(
            "no valid pixel spacing", s.slices(PixelSpacing=spacing), REFUSED, "pixel spacing", variant=variant
        )


def wandering(s: Specimen) -> Iterator[Mutant]:
    """Planes that lie off a straight line."""
    files = []
    for k in range(s.n):
        moved = s.grid.affine.copy()
        moved[:3, 3] += (1.5 if k % 2 else 0.0) * moved[:3, 2]
        files.append(replace(s, grid=Grid(s.grid.shape, moved, s.grid.frame)).slice(k))
    yield s.mutant("wandering slices", files, REFUSED, "straight line", [s.truth(exact=False)])


def single_slice(s: Specimen) -> Iterator[Mutant]:
    """One slice is no volume."""
    flat = s.grid.cropped((slice(3, 4), slice(None), slice(None)))
    yield s.mutant("one slice only", s.slices()[3:4], REFUSED, "one slice", [s.truth(grid=flat)])


def dates(s: Specimen) -> Iterator[Mutant]:
    """Acquisitions over the end of a month, without times, with zones."""
    slices = s.slices()
    for k, data in enumerate(slices):
        data.AcquisitionDate, data.AcquisitionTime = ("20240131", "235950") if k < 6 else ("20240201", "000010")
    yield s.mutant(
        "dates and times",
        slices,
        LOADED,
        "",
        [s.truth(date=datetime(2024, 1, 31, 23, 59, 50))],
        "over the end of a month",
    )
    bare = dict.fromkeys(("AcquisitionTime", "SeriesTime", "StudyTime"))
    yield s.mutant(
        "dates and times", s.slices(**bare), LOADED, "no time of day", [s.truth(date=datetime(2024, 1, 31))], "no times"
    )
    undated = dict.fromkeys(("AcquisitionDate", "SeriesDate", "StudyDate"))
    yield s.mutant("dates and times", s.slices(**undated), REFUSED, "date", [s.truth(date=None)], "no dates")
    for variant, given, when in (
        ("zone", "20240131231500.25-0500", datetime(2024, 1, 31, 23, 15, 0, 250000)),
        ("zone and whole hours", "2024013123+0930", datetime(2024, 1, 31, 23)),
        ("leap second", "20240229235960", datetime(2024, 3, 1)),
    ):
        yield s.mutant(
            "dates and times", s.slices(AcquisitionDateTime=given), LOADED, "", [s.truth(date=when)], variant
        )
    old = s.slices(AcquisitionDate="2024.01.31", AcquisitionTime="10:15:00")
    yield s.mutant("dates and times", old, LOADED, "", [s.truth()], "ACR-NEMA date and time")
    absurd = s.slices(AcquisitionDate="20240231", AcquisitionTime="256199")
    yield s.mutant("dates and times", absurd, LOADED, "", [s.truth()], "a 31st of February")
