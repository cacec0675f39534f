"""Where pulled files land: whole and checked, or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pydicom

from tumortwin.errors import InputError, NetworkError
from tumortwin.network.remote import RemoteInstance, word
from tumortwin.outputs import new_file
from tumortwin.progress import Progress


class Landing:
    """A folder that receives the instances of one patient, as ``<study>/<series>/<instance>.dcm``.

    Parameters
    ----------
    folder : path-like
        Made if needed. What is in it already is kept.
    patient_id : str
        Instances of anybody else are refused.
    progress : Progress
        Called with each instance.

    Raises
    ------
    InputError
        If the folder holds DICOM files of another patient.
    """

    def __init__(self, folder: str | os.PathLike[str], patient_id: str, progress: Progress) -> None:
        self.folder = Path(folder)
        self.received: list[Path] = []
        self.kept: list[Path] = []
        self._patient_id = patient_id
        self._progress = progress
        self._total = 0
        if self.folder.exists() and not self.folder.is_dir():
            raise InputError(f"{folder} is a file: give a folder to pull into")
        for study in sorted(self.folder.glob("*")):
            first = next(study.glob("*/*.dcm"), None)
            if first is not None and (other := _header(first)[0]) != patient_id:
                raise InputError(
                    f"{folder} holds files of patient {other!r} ({first.name}), not of {patient_id!r}: give each "
                    "patient a folder of its own"
                )

    def expect(self, instances: list[RemoteInstance]) -> list[RemoteInstance]:
        """Say what shall come; returns what is not here yet."""
        here = {i for i in instances if self.path(i).exists()}
        for series in {self.path(i).parent for i in instances}:
            # left behind where a pull was killed: they never got their final name
            for rest in series.glob(".*.dcm"):
                rest.unlink()
        self.kept += [self.path(i) for i in instances if i in here]
        wanted = [i for i in instances if i not in here]
        self._total += len(wanted)
        return wanted

    def path(self, instance: RemoteInstance) -> Path:
        """Where an instance goes."""
        return self.folder / instance.study_uid / instance.series_uid / f"{instance.uid}.dcm"

    @contextmanager
    def receive(self, instance: RemoteInstance) -> Iterator[Path]:
        """Yield a temporary file to write to. It gets its name when it is whole and is what was asked for.

        Raises
        ------
        NetworkError
            If it is not.
        """
        with new_file(self.path(instance)) as temporary:
            yield temporary
            patient_id, uid = _header(temporary)
            if uid != instance.uid:
                raise NetworkError(
                    f"asked for instance {instance.uid}, the peer sent {uid or 'one without a UID'}: nothing "
                    "of it is kept; ask the peer's keepers"
                )
            if patient_id != self._patient_id:
                raise NetworkError(
                    f"instance {uid} is of patient {patient_id!r}, not of {self._patient_id!r} as the peer lists "
                    "it: it is not kept; ask the peer's keepers"
                )
        self.received.append(self.path(instance))
        self._progress(len(self.received), self._total, "pulling")


def _header(path: Path) -> tuple[str, str]:
    """Patient ID and SOP Instance UID of a file."""
    try:
        data = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["PatientID", "SOPInstanceUID"])
    # pydicom lets out nearly everything on damaged files
    except Exception as error:
        raise NetworkError(f"{path.name}: what the peer sent is no DICOM ({type(error).__name__}: {error})") from error
    return word(data, "PatientID"), word(data, "SOPInstanceUID")
