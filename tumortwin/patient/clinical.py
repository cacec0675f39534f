"""What DICOM does not carry: ``clinical.json``, read and checked field by field (its format is in docs/clinical.md)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tumortwin.imaging.findings import Finding
from tumortwin.patient.json_object import read_json
from tumortwin.patient.timeline import Clinical
from tumortwin.therapy.drugs import DRUGS
from tumortwin.therapy.events import Biopsy, DoseUnit, DrugDose, Resection, Treatment

SCHEMA = "tumortwin-clinical-1"
MANUAL = "docs/clinical.md"


@dataclass(frozen=True, eq=False)
class ClinicalFile:
    """What a ``clinical.json`` says.

    Parameters
    ----------
    clinical : Clinical
        Weight, height, markers, steroids.
    treatments : tuple of Treatment
        Drug doses and surgery, by time.
    patient_id : str or None
        Whose it is.
    findings : tuple of Finding
        Fields that are not known.
    identity_removed : bool
        The folder says of nobody: an earlier tool, that did not mark its files, or a phantom.
    """

    clinical: Clinical
    treatments: tuple[Treatment, ...] = ()
    patient_id: str | None = None
    findings: tuple[Finding, ...] = ()
    identity_removed: bool = False


def read_clinical(path: Path) -> ClinicalFile:
    """Read and check a ``clinical.json``.

    Parameters
    ----------
    path : Path
        The file.

    Raises
    ------
    ReadError
        If it is not JSON of this schema, or a field has an impossible value: the message names file, field and value.
    """
    findings: list[Finding] = []
    top = read_json(path, findings, MANUAL)
    if (schema := top.text("schema")) != SCHEMA:
        top.refuse("schema", schema, f"write {SCHEMA!r}; another version needs another tumortwin")
    clinical = Clinical(
        weight_kg=top.number("weight_kg", 2, 400),
        height_m=top.number("height_m", 0.3, 2.5),
        age_years=top.number("age_years", 0, 130),
        mgmt_methylated=top.flag("mgmt_methylated"),
        idh_mutant=top.flag("idh_mutant"),
        diagnosis=top.text("diagnosis"),
        steroids=tuple(
            sorted(
                (entry.time("from"), entry.required_number("dexamethasone_mg_per_day", 0, 200))
                for entry in top.objects("steroids")
            )
        ),
    )
    patient_id = top.text("patient_id")
    identity_removed = top.flag("identity_removed") or False
    treatments: list[Treatment] = []
    for entry in top.objects("surgery"):
        time, kind = entry.time("time"), entry.one_of("kind", ("biopsy", "resection"))
        source = f"{path.name}, {entry.where}"
        treatments.append(Biopsy(time, source) if kind == "biopsy" else Resection(time, source=source))
    for entry in top.objects("drugs"):
        drug = (entry.text("drug") or entry.refuse("drug", None, "give the drug's name")).strip().lower()
        amount = entry.required_number("amount", 0, 1e5)
        unit = DoseUnit(entry.one_of("unit", [u.value for u in DoseUnit]))
        source = f"{path.name}, {entry.where}"
        treatments += [DrugDose(time, drug, amount, unit, source) for time in entry.times("times")]
        if drug not in DRUGS:
            findings.append(
                Finding(
                    f"the half-life of {drug} is not known here",
                    f"{path.name}, {entry.where}",
                    "it is shown on the timeline but its effect cannot be simulated",
                )
            )
    top.report_unknown()
    treatments.sort(key=lambda t: t.time)
    return ClinicalFile(clinical, tuple(treatments), patient_id, tuple(findings), identity_removed)
