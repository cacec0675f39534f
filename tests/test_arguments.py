"""Every public function says what it was given, and where what it takes comes from."""

from datetime import UTC, date, datetime
from types import SimpleNamespace

import numpy as np
import pytest

import tumortwin as tt
from tumortwin.calibration import CalibrateOptions
from tumortwin.growth import Model
from tumortwin.imaging.sequence import MRSequence
from tumortwin.imaging.volume import Grid
from tumortwin.planning import PlanOptions
from tumortwin.threads import pool_of
from tumortwin.twin import BuildOptions

GRID = Grid.regular((2, 2, 2))
PATIENT = tt.Patient("P", ())
VOLUME = tt.Volume(np.zeros((2, 2, 2)), GRID)
VISIT = tt.Visit(datetime(2024, 1, 1), {MRSequence.T1: VOLUME})


def bare(kind: type) -> object:
    """A value of a class that is too long to make: nothing in it is looked at."""
    return object.__new__(kind)


TWIN, FIT, FRONT, MODEL = bare(tt.Twin), bare(tt.Calibration), bare(tt.PlanFront), bare(Model)

WRONG = {
    "read_patient(None)": (lambda: tt.read_patient(None), "read_patient takes the path of a folder or file, not None"),
    "read_patient(list)": (lambda: tt.read_patient(["a", "b"]), "not a list"),
    "read_patient(Patient)": (lambda: tt.read_patient(PATIENT), "not a Patient"),
    "read_patient(sequences=list)": (lambda: tt.read_patient("x", sequences=["T1"]), "sequences.*not a list"),
    "read_patient(adc_unit=str)": (lambda: tt.read_patient("x", adc_unit="1e-6"), "adc_unit.*the text '1e-6'"),
    "read_patient(labels=int)": (lambda: tt.read_patient("x", labels=3), "labels.*not 3"),
    "build_twin(folder)": (lambda: tt.build_twin("folder"), "a Patient, which read_patient makes .* the text 'folder'"),
    "build_twin(spacing=str)": (lambda: tt.build_twin(PATIENT, spacing="2"), "spacing is a number from 0.5 to 10 mm"),
    "build_twin(organ=int)": (lambda: tt.build_twin(PATIENT, organ=3), "organ is the name of a mask"),
    "build_twin(options=dict)": (lambda: tt.build_twin(PATIENT, options={}), r"BuildOptions\(\.\.\.\), not a dict"),
    "build_twin(both)": (
        lambda: tt.build_twin(PATIENT, options=BuildOptions(), spacing=3.0, strict=True),
        "spacing, strict beside options=BuildOptions",
    ),
    "calibrate(patient)": (lambda: tt.calibrate(PATIENT), "a Twin, which build_twin makes of a Patient, not a Patient"),
    "calibrate(visits=4)": (lambda: tt.calibrate(twin_of(6), 4), r"as slice\(0, 4\) for the first four, .*not 4"),
    "calibrate(visits=text)": (lambda: tt.calibrate(twin_of(6), "0:4"), "visits takes a slice.*the text '0:4'"),
    "calibrate(visits=floats)": (lambda: tt.calibrate(twin_of(6), [0.0, 1.0]), "visits takes a slice"),
    "calibrate(rng)": (lambda: tt.calibrate(twin_of(6), rng="x"), "rng takes a seed .*the text 'x'"),
    "calibrate(max_solves)": (lambda: tt.calibrate(TWIN, max_solves=0), "max_solves is a whole number from 1"),
    "calibrate(options)": (lambda: tt.calibrate(TWIN, options=BuildOptions()), r"CalibrateOptions\(\.\.\.\), not"),
    "forecast(until=text)": (lambda: FIT.forecast("2024-05-01"), "until .*the text '2024-05-01'"),
    "forecast(until=date)": (lambda: FIT.forecast(date(2024, 5, 1)), "until .*not a date"),
    "forecast(until=zone)": (lambda: FIT.forecast(datetime(2024, 5, 1, tzinfo=UTC)), "until .*without a time zone"),
    "forecast(samples=text)": (lambda: FIT.forecast(90.0, samples="20"), "samples .*the text '20'"),
    "optimize_dose(twin)": (lambda: tt.optimize_dose(TWIN), "a Calibration, which calibrate makes .* not a Twin"),
    "optimize_dose(constraints)": (lambda: tt.optimize_dose(FIT, "Emami"), "constraints is one of QUANTEC 2010"),
    "optimize_dose(rng)": (lambda: tt.optimize_dose(FIT, rng=1.5), "rng takes a seed .*not 1.5"),
    "optimize_dose(both)": (
        lambda: tt.optimize_dose(FIT, "Burman", options=PlanOptions()),
        "constraints beside options=PlanOptions",
    ),
    "from_plan(fit)": (lambda: tt.BoardReport.from_plan(FIT), "a PlanFront, which optimize_dose makes, not a Calib"),
    "from_calibration(twin)": (lambda: tt.BoardReport.from_calibration(TWIN), "a Calibration, which calibrate makes"),
    "from_twin(patient)": (lambda: tt.BoardReport.from_twin(PATIENT), "a Twin, which build_twin makes"),
    "from_twin(patient=folder)": (lambda: tt.BoardReport.from_twin(TWIN, patient="x"), "patient.*the text 'x'"),
    "from_plan(forecast)": (lambda: tt.BoardReport.from_plan(FRONT, forecast=FIT), "forecast.*not a Calibration"),
    "export_dicom(folder)": (lambda: tt.export_dicom("x", TWIN, "x", "y"), "a Patient, which read_patient makes"),
    "export_dicom(patient)": (lambda: tt.export_dicom(PATIENT, PATIENT, "x", "y"), "a Twin, which build_twin makes"),
    "simulate(list)": (lambda: tt.simulate([1, 2], VOLUME.array, 0, 1), "a Model, which model_of .*not a list"),
    "simulate(twin)": (lambda: tt.simulate(TWIN, VOLUME.array, 0, 1), "a Model, which model_of .*not a Twin"),
    "simulate(days)": (lambda: tt.simulate(MODEL, VOLUME.array, "2024-01-01", 1), "start takes a day .*the text '2024"),
    "simulate(save_at)": (lambda: tt.simulate(MODEL, VOLUME.array, 0, 1, save_at=3), "save_at takes a list .*not 3"),
    "pool_of(0)": (lambda: pool_of(0).__enter__(), "threads is a whole number of at least 1, not 0"),
    "GrowthParameters(text)": (lambda: tt.GrowthParameters(diffusivity="x"), "diffusivity"),
    "GrowthParameters(drugs)": (lambda: tt.GrowthParameters(drug_sensitivity=3), "drug_sensitivity .*not 3"),
    "Volume(list)": (lambda: tt.Volume([[[1.0]]], "grid"), "Grid"),
    "Volume(shape)": (lambda: tt.Volume(np.zeros(3), GRID), "shape"),
    "Mask(floats)": (lambda: tt.Mask(np.zeros((2, 2, 2)), GRID), "a mask is boolean, not float64"),
    "Mask(no grid)": (lambda: tt.Mask(np.zeros((2, 2, 2), bool), None), "Grid.*not None"),
    "Visit(text)": (lambda: tt.Visit("2024-01-01", {}), "date .*the text '2024-01-01'"),
    "Visit(zone)": (lambda: tt.Visit(datetime(2024, 1, 1, tzinfo=UTC), {}), "without a time zone"),
    "Visit(list)": (lambda: tt.Visit(datetime(2024, 1, 1), [VOLUME]), "images.*not a list"),
    "Visit(array)": (lambda: tt.Visit(datetime(2024, 1, 1), {MRSequence.T1: VOLUME.array}), "a Volume .*ndarray"),
    "Visit(name)": (lambda: tt.Visit(datetime(2024, 1, 1), {"T9": VOLUME}), "one of T1, .*the text 'T9'"),
    "Patient(visit)": (lambda: tt.Patient("P", VISIT), "visits.*not a Visit"),
    "Patient(volumes)": (lambda: tt.Patient("P", (VOLUME,)), "a Visit.*not a Volume"),
    "Patient(id)": (lambda: tt.Patient(7, ()), "id.*not 7"),
    "pull_patient(url)": (lambda: tt.pull_patient("https://x", "P", "y"), "a DicomWeb.*the text 'https://x'"),
    "pull_patient(id)": (lambda: tt.pull_patient(tt.DicomWeb("https://x"), 7, "y"), "patient ID.*7"),
    "push(None)": (lambda: tt.push(None, tt.DicomWeb("https://x")), "push takes .*not None"),
    "push(url)": (lambda: tt.push("x", "https://x"), "a peer is a DicomWeb"),
    "DicomWeb(None)": (lambda: tt.DicomWeb(None), "None"),
    "DicomWeb(timeout)": (lambda: tt.DicomWeb("https://x", timeout="3"), "a timeout of 3 s"),
    "DimsePeer(port)": (lambda: tt.DimsePeer("host", "x", "PACS"), "port x is none"),
    "DimsePeer(host)": (lambda: tt.DimsePeer(None, 104, "PACS"), "None"),
    "CalibrateOptions(text)": (lambda: CalibrateOptions("many"), "max_solves .*the text 'many'"),
}


def twin_of(count: int) -> tt.Twin:
    twin = bare(tt.Twin)
    object.__setattr__(twin, "observations", tuple(SimpleNamespace(day=float(i)) for i in range(count)))
    return twin


@pytest.mark.parametrize(("call", "said"), WRONG.values(), ids=WRONG)
def test_a_wrong_argument_is_an_error_of_ours_that_says_what_it_was(call, said):
    with pytest.raises(tt.TumorTwinError, match=said):
        call()


def test_every_public_function_is_tried():
    functions = {name for name in tt.__all__ if callable(getattr(tt, name)) and not isinstance(getattr(tt, name), type)}
    assert functions == {name for name in functions if any(label.startswith(f"{name}(") for label in WRONG)}


def test_keywords_make_the_options_and_there_is_one_list_of_defaults():
    import inspect

    for function, options in (
        (tt.build_twin, BuildOptions), (tt.calibrate, CalibrateOptions), (tt.optimize_dose, PlanOptions),
    ):  # fmt: skip
        parameters = inspect.signature(function).parameters
        for name, default in ((f, getattr(options(), f)) for f in options.__dataclass_fields__):
            if name == "constraints":  # None stands for the options' default
                assert parameters[name].default is None
            else:
                assert parameters[name].default == default
