"""What was done to a folder, without saying what it held."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tumortwin.imaging.findings import Finding
from tumortwin.imaging.identity.profile import EDITION
from tumortwin.outputs import new_file
from tumortwin.version import __version__

SCHEMA = "tumortwin-deidentification-1"


@dataclass(frozen=True, eq=False)
class DeidentificationReport:
    """Every kind of action that was taken, how often, and what was left out. It holds no identifier.

    Parameters
    ----------
    folder : Path
        Where the de-identified files are: one folder a patient.
    patients : mapping of str to Path
        The patients' new IDs, and their folders.
    files : int
        DICOM files written.
    codes : tuple of (str, str)
        What was applied, by code and meaning (DICOM PS3.16 CID 7050).
    actions : mapping of (str, str, str) to int
        Tag, attribute and action, and how many elements it was done to.
    findings : tuple of Finding
        Files that were left out and why, what was not looked at, faces. Files are numbered in the order of their sorted
        paths, from 1: their names may hold identifiers.
    key_id : str
        Tells keys apart without telling the key.
    """

    folder: Path
    patients: Mapping[str, Path]
    files: int
    codes: tuple[tuple[str, str], ...]
    actions: Mapping[tuple[str, str, str], int] = field(default_factory=Counter, repr=False)
    findings: tuple[Finding, ...] = ()
    key_id: str = ""

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Write the report as JSON.

        Raises
        ------
        OutputExistsError
            If the file exists and `overwrite` is false.
        """
        target = Path(path)
        with new_file(target, overwrite=overwrite) as temporary:
            temporary.write_text(self.to_json())
        return target

    def to_json(self) -> str:
        """Format the report as JSON text."""
        content = {
            "schema": SCHEMA,
            "tumortwin": __version__,
            "profile": EDITION,
            "key_id": self.key_id,
            "patients": list(self.patients),
            "files": self.files,
            "codes": [{"code": code, "meaning": meaning} for code, meaning in self.codes],
            "findings": [
                {"severity": str(f.severity), "where": f.where, "what": f.what, "action": f.action}
                for f in self.findings
            ],
            "actions": [
                {"tag": tag, "attribute": name, "action": action, "elements": count}
                for (tag, name, action), count in sorted(self.actions.items())
            ],
        }
        return json.dumps(content, indent=1) + "\n"

    def __str__(self) -> str:
        done: Counter[str] = Counter()
        for (_, _, action), count in self.actions.items():
            done[action] += count
        lines = [
            f"{self.files} files of {len(self.patients)} patient(s) de-identified in {self.folder}: "
            f"{', '.join(self.patients)}",
            *(f"  {code} {meaning}" for code, meaning in self.codes),
            "  " + ", ".join(f"{count} elements {action}" for action, count in sorted(done.items())),
        ]
        return "\n".join(lines + [str(f) for f in self.findings])
