"""Who was scanned and treated, and when: the patient's timeline."""

from typing import TYPE_CHECKING

from tumortwin.exports import lazy_exports

if TYPE_CHECKING:
    from tumortwin.patient.clinical import ClinicalFile as ClinicalFile
    from tumortwin.patient.clinical import read_clinical as read_clinical
    from tumortwin.patient.intake import scan_patient as scan_patient
    from tumortwin.patient.reading import patient_of as patient_of
    from tumortwin.patient.reading import read_patient as read_patient
    from tumortwin.patient.timeline import Clinical as Clinical
    from tumortwin.patient.timeline import Patient as Patient
    from tumortwin.patient.timeline import Visit as Visit
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "clinical": "ClinicalFile read_clinical",
            "intake": "scan_patient",
            "reading": "patient_of read_patient",
            "timeline": "Clinical Patient Visit",
        },
    )
