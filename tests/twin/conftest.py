"""A coarse phantom in memory, without DICOM, and its twin."""

import numpy as np
import pytest

from tumortwin.imaging.sequence import MRSequence
from tumortwin.patient import Patient, Visit
from tumortwin.phantom import VisitPlan
from tumortwin.phantom.acquisition import Protocol
from tumortwin.phantom.patient import make_patient
from tumortwin.twin import build_twin
from tumortwin.twin.head_survey import survey_head

COARSE = dict.fromkeys((MRSequence.T1, MRSequence.T1GD, MRSequence.FLAIR, MRSequence.ADC), Protocol((3.0, 3.0, 3.0)))


@pytest.fixture(scope="session")
def synthetic(once):
    """Three visits in voxels of 3 mm."""
    visits = [VisitPlan(day, f"day {day}", COARSE) for day in (0, 21, 95)]
    return once(
        "coarse-phantom",
        lambda: make_patient(1, site="left frontal", spacing=2.0, solver_spacing=3.0, visits=visits),
    )


@pytest.fixture(scope="session")
def patient(synthetic):
    """The first visit has no drawn masks, the second those of the plan, the third an expert's."""
    visits = []
    for visit in synthetic.visits:
        images = {s.sequence: s.volume for s in visit.series if s.sequence is not MRSequence.DWI}
        masks = {}
        if visit.label == "day 95":
            truth = {n: synthetic.truth_arrays[f"{visit.label}/mask {n}"] for n in ("enhancing", "necrosis", "whole")}
            masks = {
                "Enhancing": truth["enhancing"],
                "necrotic core": truth["necrosis"],
                "WT": truth["whole"],
                "mystery": truth["whole"],
            }
        visits.append(Visit(visit.date, images, masks, visit.label))
    return Patient(
        synthetic.id,
        tuple(visits),
        synthetic.treatments,
        synthetic.structures,
        synthetic.dose,
        sources={"a.dcm": "0" * 64},
    )


@pytest.fixture(scope="session")
def reports():
    return []


@pytest.fixture(scope="session")
def surveys():
    """What the looks at the visits gave when the twin was built."""
    return []


@pytest.fixture(scope="session")
def twin(patient, reports, surveys):
    def remembered(*args, **options):
        surveys.append(survey_head(*args, **options))
        return surveys[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tumortwin.twin.build.survey_head", remembered)
        return build_twin(patient, progress=lambda *report: reports.append(report))


@pytest.fixture(scope="session")
def true_transforms(synthetic):
    """World of the planning visit to world of each."""
    back = np.linalg.inv(synthetic.truth_transforms["day 21"])
    return [synthetic.truth_transforms[v.label] @ back for v in synthetic.visits]
