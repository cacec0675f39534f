"""The brain by its names, wherever a mask or a structure is looked at by name."""

from datetime import datetime
from typing import Any

import numpy as np
import pytest

from tumortwin.geometry import drawn_regions
from tumortwin.imaging.organ_names import BRAIN_NAMES, names_brain
from tumortwin.imaging.sequence import MRSequence
from tumortwin.imaging.volume import Grid, Mask, Volume
from tumortwin.patient import Patient, Visit
from tumortwin.planning import organ_named
from tumortwin.planning.constraints import Organ
from tumortwin.twin.organ_survey import named_organ, organ_of
from tumortwin.twin.survey import drawn_brain

GRID = Grid.regular((2, 3, 4), 1.0, frame="1.2.3")
NAMES = sorted({name for names in BRAIN_NAMES.values() for name in names})
OTHERS = (
    "Hirnstamm", "Kleinhirn", "Großhirn", "brainstem", "Brain_PRV03", "Brain-PTV", "tronc cérébral",
    "tronco encefalico", "cerebellum", "cervelletto", "ствол мозга", "pień mózgu", "hjärnstam", "Brain_L",
    "GTV Gehirn", "Auge", "",
)  # fmt: skip


def patient_with(where: str, name: str) -> Patient:
    mask = Mask(np.ones(GRID.shape, bool), GRID, name=name)
    image = Volume(np.ones(GRID.shape, np.float32), GRID, "a.u.")
    visit = Visit(datetime(2024, 1, 1), {MRSequence.T1GD: image}, masks={name: mask} if where == "visit" else {})
    plan: dict[str, Any] = {"structures": {name: mask}} if where == "plan" else {}
    return Patient("P", (visit,), **plan)


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_the_brain_however_it_is_written(name):
    for written in (name, name.upper(), name.title().replace(" ", "_"), f" {name}-1 "):
        assert names_brain(written), written


def test_accents_may_be_lost():
    for written in ("cerebro", "encephale", "mozg", "cely mozek", "hjarna", "mozgani", "ΕΓΚΕΦΑΛΟΣ"):
        assert names_brain(written), written


@pytest.mark.parametrize("name", OTHERS)
def test_other_names_are_not_the_brain(name):
    assert not names_brain(name)
    assert organ_named(name) is not Organ.BRAIN


@pytest.mark.parametrize("name", ["Gehirn", "cerveau", "Cérebro", "головной мозг", "WholeBrain", "brain"])
def test_all_who_look_for_the_brain_find_it(name):
    assert organ_named(name) is Organ.BRAIN
    for where in ("visit", "plan"):
        patient = patient_with(where, name)
        found = drawn_brain(patient, patient.visits[0])
        assert found is not None
        assert found.name == name
        assert organ_of(patient, "brain", None)[0] == 0
    assert named_organ(patient_with("visit", name)) == "brain"
    mask = Mask(np.ones(GRID.shape, bool), GRID)
    assert drawn_regions({name: mask}, "visit") == ({}, [])
