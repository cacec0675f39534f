"""Notebooks are tests: each runs from top to bottom and gives the outputs that are stored in it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
by_name = pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)


GIVEN = """
import tumortwin as tt

twin = tt.Twin.load({twin!r})
fit = tt.Calibration.load({calibration!r})
front = tt.PlanFront.load({plan!r})


def build_twin(patient, *, threads=1):
    assert patient.sources == twin.sources
    return twin


def calibrate(given, *, visits):
    assert given is twin
    assert visits == slice(0, len(fit.visits))
    return fit


def optimize_dose(given):
    assert given is fit
    return front


tt.build_twin, tt.calibrate, tt.optimize_dose = build_twin, calibrate, optimize_dose
"""
SPOILED = """
from tumortwin.growth import stepper

right = stepper.legendre_stages
stepper.legendre_stages = lambda stages: (right(stages)[0] * [1, 1.01], right(stages)[1])
"""


def strict_nbval(notebook: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "nbval", "--nbval", "--nbval-current-env",
         "--nbval-cell-timeout=240", f"--nbval-sanitize-with={ROOT / 'notebooks' / 'sanitize.cfg'}",
         "-p", "no:cacheprovider", *options, str(notebook)],
        cwd=ROOT, env=os.environ | environment, capture_output=True, text=True,
    )  # fmt: skip


def test_there_are_notebooks():
    assert NOTEBOOKS


@by_name
def test_every_code_cell_holds_its_run(notebook):
    for i, cell in enumerate(json.loads(notebook.read_text())["cells"]):
        if cell["cell_type"] != "code" or not "".join(cell["source"]).strip():
            continue
        assert cell["execution_count"] is not None, f"cell {i} has no stored run: `make notebooks`"
        assert not any(output["output_type"] == "error" for output in cell["outputs"]), f"cell {i} stores an error"


@by_name
def test_no_output_names_a_folder_of_the_machine_it_ran_on(notebook):
    assert str(Path.home()) not in notebook.read_text()
    assert str(ROOT) not in notebook.read_text()


def startup(folder: Path, code: str) -> dict[str, str]:
    """Environment in which a notebook's kernel first runs some code."""
    profile = folder / "profile_default" / "startup"
    profile.mkdir(parents=True)
    (profile / "00.py").write_text(code)
    return {"IPYTHONDIR": str(folder)}


@by_name
@pytest.mark.timeout(900)
def test_strict_nbval(notebook, finished_run, tmp_path):
    """A notebook is given the twin, the fit and the plan of the sample patient that this session has made."""
    saved = {stage: str(finished_run.stage(stage)) for stage in ("twin", "calibration", "plan")}
    run = strict_nbval(notebook, **startup(tmp_path, GIVEN.format(**saved)))
    assert run.returncode == 0, run.stdout[-6000:]


@pytest.mark.slow
@pytest.mark.parametrize("notebook", ["00_tour", "03_geometry"])
@pytest.mark.timeout(900)
def test_strict_nbval_with_nothing_given(notebook):
    run = strict_nbval(ROOT / "notebooks" / f"{notebook}.ipynb")
    assert run.returncode == 0, run.stdout[-6000:]


@pytest.mark.timeout(900)
def test_a_spoiled_coefficient_turns_a_notebook_red(tmp_path):
    run = strict_nbval(ROOT / "notebooks" / "02_growth.ipynb", "-x", **startup(tmp_path, SPOILED))
    assert run.returncode == 1, run.stdout[-6000:]
    assert "assert abs(measured[resolution] / late - 1) < 0.003" in run.stdout
