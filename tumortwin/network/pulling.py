"""From a peer to a folder: find a patient's series, fetch what is not there yet."""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from tumortwin.arguments import require_path
from tumortwin.errors import InputError, NetworkError
from tumortwin.imaging.findings import Finding, Severity
from tumortwin.network.landing import Landing
from tumortwin.network.link import Link, check_peer, connect
from tumortwin.network.peers import Peer
from tumortwin.network.remote import Answer, RemoteInstance, RemoteSeries, uid, word
from tumortwin.progress import Progress, silent


@dataclass(frozen=True)
class Pulled:
    """What a pull brought.

    Parameters
    ----------
    folder : Path
        For :func:`tumortwin.read_patient`.
    received, kept : tuple of Path
        Files that came now, and files that were there from an earlier pull.
    findings : tuple of Finding
        What the peer counts otherwise than it lists, or decompressed.
    """

    folder: Path
    received: tuple[Path, ...]
    kept: tuple[Path, ...]
    findings: tuple[Finding, ...]

    def __str__(self) -> str:
        lines = [f"{len(self.received)} files received, {len(self.kept)} were there, in {self.folder}"]
        return "\n".join([*lines, *map(str, self.findings)])


def echo(peer: Peer) -> None:
    """Make sure that a peer answers and lets us in.

    Raises
    ------
    NetworkError
        If it does not, with the remedy.
    """
    with connect(peer) as link:
        link.echo()


def find_series(peer: Peer, patient_id: str) -> tuple[RemoteSeries, ...]:
    """List what a peer has of a patient.

    Parameters
    ----------
    peer : DicomWeb or DimsePeer
        Whom to ask.
    patient_id : str
        Exactly as the peer has it; no wildcards.

    Returns
    -------
    tuple of RemoteSeries
        By date of study, modality and UID.

    Raises
    ------
    InputError
        If the patient ID is empty or holds a wildcard.
    NetworkError
        If the peer cannot be asked, has no such patient, or means several by this ID.
    """
    with connect(peer) as link:
        return _series_of(link, peer, patient_id)


def pull_patient(
    peer: Peer,
    patient_id: str,
    folder: str | os.PathLike[str],
    *,
    studies: Collection[str] = (),
    series: Collection[str] = (),
    modalities: Collection[str] = (),
    progress: Progress = silent,
) -> Pulled:
    """Fetch a patient's DICOM files from a peer.

    Files land as ``<folder>/<study>/<series>/<instance>.dcm``, under temporary names until they are whole and are what
    was asked for. What is there already is not fetched again, so a broken pull goes on where it ended.

    Parameters
    ----------
    peer : DicomWeb or DimsePeer
        Whom to ask.
    patient_id : str
        Exactly as the peer has it; no wildcards.
    folder : path-like
        This patient's folder, made if needed.
    studies, series : collection of str
        Study and Series Instance UIDs to fetch; all if empty.
    modalities : collection of str
        E.g. ``{"MR", "SEG", "RTSTRUCT", "RTDOSE", "RTPLAN"}``; all if empty.
    progress : Progress
        Called with each series listed and each file received; raising from it cancels.

    Returns
    -------
    Pulled
        Every file that was chosen is there.

    Raises
    ------
    InputError
        If an argument cannot be used, or the folder belongs to another patient.
    NetworkError
        If the peer cannot be reached, refuses, has no such patient, or not everything came; it says what was received.
    Cancelled
        If `progress` cancels. What was received is kept.
    """
    for what, given in (("studies", studies), ("series", series), ("modalities", modalities)):
        if isinstance(given, str):
            raise InputError(f"{what}={given!r}: give a collection, e.g. [{given!r}]")
    check_peer(peer)
    require_path(folder, "pull_patient takes a folder to write to")
    landing = Landing(folder, _exact(patient_id), progress)
    findings: list[Finding] = []
    with connect(peer) as link:
        chosen = _choose(_series_of(link, peer, patient_id), studies, series, modalities, peer)
        wanted: list[list[RemoteInstance]] = []
        for done, one in enumerate(chosen):
            progress(done, len(chosen), "listing")
            wanted.append(landing.expect(_instances_of(link, peer, one, findings)))
        progress(len(chosen), len(chosen), "listing")
        trouble: dict[str, Answer] = {}
        for instances in wanted:
            try:
                if instances:
                    trouble |= link.fetch(instances, landing)
            except NetworkError as error:
                raise NetworkError(f"{error}\n{_so_far(landing, wanted)}") from error
    findings += [
        Finding(f"instance {u} {a.remark}", str(peer), "kept as it came") for u, a in trouble.items() if a.remark
    ]
    refused = {u: a.refused for u, a in trouble.items() if a.refused}
    if refused:
        first = "".join(f"\n  {u}: {why}" for u, why in list(refused.items())[:5])
        raise NetworkError(
            f"{peer} lists {len(refused)} instances that it does not send:{first}\n{_so_far(landing, wanted)}"
        )
    return Pulled(landing.folder, tuple(landing.received), tuple(landing.kept), tuple(findings))


def _so_far(landing: Landing, wanted: list[list[RemoteInstance]]) -> str:
    total = sum(map(len, wanted)) + len(landing.kept)
    here = len(landing.received) + len(landing.kept)
    return (
        f"{here} of {total} files are whole and in {landing.folder}, none is half-written; the same pull again "
        "fetches the rest"
    )


def _exact(patient_id: str) -> str:
    if (
        not isinstance(patient_id, str)
        or not patient_id.strip()
        or re.search(r"[*?\\\x00-\x1f]", patient_id)
        or len(patient_id) > 64
    ):
        raise InputError(f"patient ID {patient_id!r}: give one patient's ID, at most 64 characters, without wildcards")
    return patient_id.strip()


def _series_of(link: Link, peer: Peer, patient_id: str) -> tuple[RemoteSeries, ...]:
    wanted = _exact(patient_id)
    rows = link.find_studies(wanted)
    # some peers match without regard to case, or by the beginning
    studies = [row for row in rows if word(row, "PatientID") == wanted]
    if not studies:
        others = sorted({word(row, "PatientID") for row in rows})
        near = f" (it offers {', '.join(map(repr, others[:5]))})" if others else ""
        raise NetworkError(
            f"{peer} has no patient {wanted!r}{near}: check the ID, letter by letter, and the right to see it"
        )
    issuers = sorted({word(row, "IssuerOfPatientID") for row in studies} - {""})
    if len(issuers) > 1:
        raise NetworkError(
            f"{peer} has several patients {wanted!r}, issued by {', '.join(issuers)}: they are not to be mixed; let "
            "its keepers tell them apart"
        )
    found = []
    for study in studies:
        study_uid = uid(study, "StudyInstanceUID", peer)
        for row in link.find_series(study_uid):
            count = word(row, "NumberOfSeriesRelatedInstances")
            found.append(
                RemoteSeries(
                    study_uid,
                    uid(row, "SeriesInstanceUID", peer),
                    word(row, "Modality"),
                    word(row, "SeriesDescription"),
                    word(study, "StudyDescription"),
                    word(study, "StudyDate"),
                    int(count) if count.isdigit() else None,
                )
            )
    if not found:
        raise NetworkError(
            f"{peer} has {len(studies)} studies of patient {wanted!r} and lists no series: ask its keepers"
        )
    return tuple(sorted(found, key=lambda s: (s.study_date, s.modality, s.series_uid)))


def _choose(
    offered: tuple[RemoteSeries, ...],
    studies: Collection[str],
    series: Collection[str],
    modalities: Collection[str],
    peer: Peer,
) -> list[RemoteSeries]:
    for what, given, there in (
        ("study", studies, {s.study_uid for s in offered}),
        ("series", series, {s.series_uid for s in offered}),
        ("modality", modalities, {s.modality for s in offered}),
    ):
        unknown = sorted(set(given) - there)
        if unknown:
            raise InputError(
                f"{peer} has no {what} {', '.join(unknown)} of this patient: it has {', '.join(sorted(there))}"
            )
    chosen = [
        s
        for s in offered
        if (not studies or s.study_uid in studies)
        and (not series or s.series_uid in series)
        and (not modalities or s.modality in modalities)
    ]
    if not chosen:
        raise InputError(f"{peer}: no series is of all that was asked for (studies, series, modalities): ask for less")
    return chosen


def _instances_of(link: Link, peer: Peer, series: RemoteSeries, findings: list[Finding]) -> list[RemoteInstance]:
    rows = {uid(r, "SOPInstanceUID", peer): r for r in link.find_instances(series.study_uid, series.series_uid)}
    if series.count is not None and series.count != len(rows):
        findings.append(
            Finding(
                f"the peer counts {series.count} instances and lists {len(rows)}",
                f"series {series.series_uid}",
                "those listed were pulled",
                Severity.ASSUMED,
            )
        )
    return [
        RemoteInstance(series.study_uid, series.series_uid, u, word(r, "SOPClassUID")) for u, r in sorted(rows.items())
    ]
