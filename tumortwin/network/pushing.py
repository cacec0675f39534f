"""From files to a peer: send each, and ask whether it is there."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pydicom

from tumortwin.arguments import require
from tumortwin.errors import Cancelled, InputError, NetworkError
from tumortwin.imaging.findings import Finding
from tumortwin.network.link import Link, check_peer, connect
from tumortwin.network.peers import Peer
from tumortwin.network.remote import Outgoing, word
from tumortwin.progress import Progress, silent

DICOMDIR = "1.2.840.10008.1.3.10"

_ASK_AGAIN = (0.0, 0.5, 1.0, 2.0, 4.0)
"""Seconds before each look for what was sent: archives may take a moment to list it."""


@dataclass(frozen=True)
class Pushed:
    """What was sent, each file confirmed by the peer and listed by it afterwards.

    Parameters
    ----------
    files : tuple of Path
        In the order sent.
    findings : tuple of Finding
        Files of an identified patient, files sent in another encoding, and what the peer remarked.
    """

    files: tuple[Path, ...]
    findings: tuple[Finding, ...]

    def __str__(self) -> str:
        return "\n".join([f"{len(self.files)} files sent, and listed by the peer", *map(str, self.findings)])


def push(
    files: str | os.PathLike[str] | Iterable[str | os.PathLike[str]], peer: Peer, *, progress: Progress = silent
) -> Pushed:
    """Send DICOM files to a peer, byte for byte where it takes them so, and make sure that they arrived.

    Nothing is de-identified here; what still carries a patient's identity is a finding.

    Parameters
    ----------
    files : path-like, or iterable of path-like
        A folder, of which every DICOM file is sent and others are left; or files, which must all be DICOM.
    peer : DicomWeb or DimsePeer
        To whom.
    progress : Progress
        Called with each file; raising from it cancels.

    Returns
    -------
    Pushed
        Every file was accepted and is listed by the peer.

    Raises
    ------
    InputError
        If there is nothing to send, or a file is no DICOM.
    NetworkError
        If the peer cannot be reached, refuses a file, or does not list one; it says which.
    Cancelled
        If `progress` cancels; it says how many files went.
    """
    require(files, (str, os.PathLike, Iterable), "push takes a folder, a file or a list of files")
    check_peer(peer)
    outgoing, findings = _outgoing(files)
    sent: list[Path] = []
    refused: list[str] = []
    with connect(peer) as link:
        try:
            progress(0, len(outgoing), "pushing")
            for file, answer in link.store(outgoing):
                if answer.refused:
                    refused.append(f"{file.path}: {answer.refused}")
                else:
                    sent.append(file.path)
                if answer.remark:
                    findings.append(Finding(answer.remark, str(file.path), "sent"))
                progress(len(sent) + len(refused), len(outgoing), "pushing")
        except (NetworkError, Cancelled) as error:
            raise type(error)(
                f"{error}\n{len(sent)} of {len(outgoing)} files were sent; the same push again does no harm"
            ) from error
        if refused:
            first = "".join(f"\n  {line}" for line in refused[:5])
            raise NetworkError(f"{peer} refused {len(refused)} of {len(outgoing)} files, the others were sent:{first}")
        _confirm(link, peer, outgoing)
    return Pushed(tuple(sent), tuple(findings))


def _confirm(link: Link, peer: Peer, sent: list[Outgoing]) -> None:
    missing: dict[tuple[str, str], set[str]] = defaultdict(set)
    for file in sent:
        missing[file.study_uid, file.series_uid].add(file.uid)
    for wait in _ASK_AGAIN:
        time.sleep(wait)
        for study, series in list(missing):
            missing[study, series] -= {word(row, "SOPInstanceUID") for row in link.find_instances(study, series)}
            if not missing[study, series]:
                del missing[study, series]
        if not missing:
            return
    lost = sorted(uid for uids in missing.values() for uid in uids)
    raise NetworkError(
        f"{peer} accepted {len(sent)} files and does not list {len(lost)} of them ({', '.join(lost[:3])}): look there, "
        "and ask its keepers what becomes of what it accepts"
    )


def _outgoing(files: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> tuple[list[Outgoing], list[Finding]]:
    findings: list[Finding] = []
    if isinstance(files, (str, os.PathLike)) and Path(files).is_dir():
        paths = sorted(p for p in Path(files).rglob("*") if p.is_file() and not p.name.startswith("."))
        found = [(p, _read(p)) for p in paths]
        others = [p.relative_to(files).as_posix() for p, one in found if one is None]
        if others:
            findings.append(
                Finding(f"{len(others)} files are no DICOM instances ({', '.join(others[:3])})", str(files), "not sent")
            )
    else:
        paths = [Path(f) for f in ([files] if isinstance(files, (str, os.PathLike)) else files)]
        absent = [p for p in paths if not p.is_file()]
        if absent:
            raise InputError(f"{absent[0]} is not there: give a folder or files")
        found = [(p, _read(p)) for p in paths]
        bad = [p for p, one in found if one is None]
        if bad:
            raise InputError(f"{bad[0]} is no DICOM file that can be sent: it lacks UIDs, or is none")
    outgoing = [one[0] for _, one in found if one is not None]
    if not outgoing:
        raise InputError(f"{files}: no DICOM file to send")
    identified = sum(one[1] for _, one in found if one is not None)
    if identified:
        findings.append(
            Finding(
                f"{identified} files do not say that the patient's identity was removed",
                str(files) if isinstance(files, (str, os.PathLike)) else f"{len(outgoing)} files",
                "sent as they are",
            )
        )
    return outgoing, findings


_NEEDED = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")


def _read(path: Path) -> tuple[Outgoing, bool] | None:
    """Read a file to be sent and whether it may identify the patient; return None if the file is no DICOM instance."""
    try:
        data = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=[*_NEEDED, "PatientIdentityRemoved"])
    # pydicom lets out nearly everything on files that are damaged or something else
    except Exception:
        return None
    syntax = str(data.file_meta.get("TransferSyntaxUID", ""))
    study, series, instance, sop_class = (word(data, k) for k in _NEEDED)
    if not (study and series and instance and syntax) or sop_class in ("", DICOMDIR):
        return None
    return Outgoing(path, study, series, instance, sop_class, syntax), word(data, "PatientIdentityRemoved") != "YES"
