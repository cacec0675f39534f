"""A patient as one JSON file that lists NIfTI or NRRD images and treatments (its format is in docs/formats.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta, tzinfo
from pathlib import Path

import numpy as np

from tumortwin.errors import InputError, ReadError
from tumortwin.imaging.findings import Finding, Severity
from tumortwin.imaging.labels import LabelScheme, scheme_named
from tumortwin.imaging.plan import DeliveryRecord, PlanRecord
from tumortwin.imaging.reading.diffusion import AdcUnit, your_unit
from tumortwin.imaging.sequence import MRSequence
from tumortwin.imaging.study import AcquiredImage, Study
from tumortwin.imaging.volume import FractionDose, TotalDose
from tumortwin.patient.clinical import ClinicalFile
from tumortwin.patient.image_files import ImageFiles, Session
from tumortwin.patient.json_object import JsonObject, read_json
from tumortwin.patient.timeline import Clinical
from tumortwin.therapy.drugs import DRUGS
from tumortwin.therapy.events import DoseUnit, DrugDose, Fraction, Treatment
from tumortwin.therapy.schedule import BID_INTERVAL

MANUAL = "docs/formats.md"
IMAGE_DIR = "{$image_dir}"
"""Stands in paths for the folder of the images."""
ADC_UNIT = AdcUnit(1e-6, "the patient file's format (10^-6 mm^2/s)")
"""ADC values behind the key `adc` are in 1e-6 mm^2/s."""
WHOLE_PATIENT = (("T1_post", MRSequence.T1GD), ("T1_pre", MRSequence.T1), ("T2_flair", MRSequence.FLAIR))
UNNAMED_DRUG = "chemotherapy (drug not named)"


def read_patient_file(
    path: Path,
    *,
    image_dir: Path | None = None,
    adc_unit: float | None = None,
    labels: LabelScheme | Mapping[int, str] | None = None,
    scanning: bool = False,
) -> tuple[Study, ClinicalFile]:
    """Read a patient file and all images that it lists.

    Parameters
    ----------
    path : Path
        The JSON file.
    image_dir : Path, optional
        What ``{$image_dir}`` stands for. Default: the file's ``image_dir``, else its folder.
    adc_unit : float, optional
        mm^2/s per value of the ADC maps: overrules the format's 1e-6.
    labels : LabelScheme or mapping of int to str, optional
        Of label files whose scheme the patient file does not name.
    scanning : bool
        Only say what is there: what would be an error because of one image is a finding.

    Raises
    ------
    ReadError
        If the file has a field with an impossible value, or lists an image that cannot be read: the message names
        file, field and value.
    """
    files = ImageFiles(path.parent, None if scanning else ReadError)
    files.digest(path)
    return _Reader(read_json(path, files.findings, MANUAL), path, files, image_dir, adc_unit, labels).read()


class _Reader:
    """One patient file while it is read."""

    def __init__(
        self,
        top: JsonObject,
        path: Path,
        files: ImageFiles,
        image_dir: Path | None,
        adc_unit: float | None,
        labels: LabelScheme | Mapping[int, str] | None,
    ) -> None:
        self.top, self.path, self.files, self.labels = top, path, files, labels
        stated = top.text("image_dir")
        self.image_dir = image_dir or (path.parent / stated if stated else path.parent)
        self.given_unit = your_unit(adc_unit)
        unit = top.number("adc_unit", 1e-15, 1)
        self.stated_unit = AdcUnit(unit, f"adc_unit in {path.name}", given=True) if unit is not None else None
        self.patient = (top.text("patient") or top.refuse("patient", None, "give the patient's ID")).strip()
        # unlike for every file, and says nothing of the patient
        self.frame = f"patient file {files.digest(path)[:12]}"
        self.roles: dict[str, str] = {}
        self.zone: tzinfo | None = None
        self.timed = False

    def read(self) -> tuple[Study, ClinicalFile]:
        """All of it, in the order of the file."""
        entries = [(self._time(e), e) for e in self.top.objects("visits")]
        if not entries:
            self.top.refuse("visits", None, "list at least one visit with its time")
        entries.sort(key=lambda entry: entry[0])
        aligned = self.top.flag("aligned") is not False
        sessions = [
            Session(
                f"{self.path.name}, {e.where}",
                self.frame if aligned else f"{self.frame}, {e.where}",
                time,
                True if aligned else None,
            )
            for time, e in entries
        ]
        self._whole_patient(sessions[0])
        before: list[AcquiredImage] = []
        for session, (_, entry) in zip(sessions, entries, strict=True):
            before += self._visit(entry, session, before)
        planned_on = [s for s, (_, e) in zip(sessions, entries, strict=True) if e.flag("planning")]
        planning = Session(f"{self.path.name}, planning", (planned_on or sessions)[0].frame, None)
        for name, given in self.top.texts("structures").items():
            self.files.add_mask(self._file(self.top, f"structures.{name}", given), name, planning, None, "structure")
        treatments, plan, deliveries = self._radiotherapy(planning)
        treatments += self._drugs()
        self.top.report_unknown()
        study = replace(self.files.study(self.patient), plans=plan, deliveries=deliveries)
        return study, ClinicalFile(Clinical(), tuple(sorted(treatments, key=lambda t: t.time)))

    def _say(self, what: str, action: str, severity: Severity = Severity.ASSUMED, where: str = "") -> None:
        self.files.findings.append(Finding(what, where or self.path.name, action, severity))

    def _time(self, entry: JsonObject) -> datetime:
        """Read a time, as local time at the offset from UTC of the file's first time."""
        time = entry.time_of_any_zone("time")
        if self.timed and (time.tzinfo is None) != (self.zone is None):
            entry.refuse("time", time.isoformat(), "give all times with an offset from UTC, or none")
        if not self.timed:
            self.timed, self.zone = True, time.tzinfo
            if self.zone is not None:
                self._say(
                    f"times have an offset from UTC ({self.zone})", "local times at that offset are used", Severity.NOTE
                )
        return time if self.zone is None else time.astimezone(self.zone).replace(tzinfo=None)

    def _file(self, owner: JsonObject, key: str, given: str) -> Path:
        # the folder stands for itself: joined to it once more, a relative one would be looked for within itself
        path = Path(given.replace(IMAGE_DIR, str(self.image_dir))) if IMAGE_DIR in given else self.image_dir / given
        try:
            there = path.is_file()
        except (OSError, ValueError):  # a name that is too long, or no name at all
            there = False
        if not there and self.files.fatal is not None:
            owner.refuse(
                key, given, f"there is no file {path}; correct the path, or say where the images are (image_dir)"
            )
        return path

    def _optional(self, owner: JsonObject, key: str) -> Path | None:
        given = owner.text(key)
        return None if given is None else self._file(owner, key, given)

    def _again(self, path: Path, role: str) -> str:
        """Which role the same content has already; empty if it is new."""
        try:
            first = self.roles.setdefault(self.files.digest(path), role)
        except ReadError:
            if self.files.fatal is not None:
                raise
            return ""  # whoever reads it says what is wrong with it
        return "" if first == role else first

    def _whole_patient(self, session: Session) -> None:
        """Images and masks that the file gives once for the patient, without a date."""
        dated = f"no date: taken for the first visit, {session.date:%Y-%m-%d}"
        used = []
        for key, sequence in WHOLE_PATIENT:
            path = self._optional(self.top, key)
            if path is None:
                continue
            if other := self._again(path, key):
                self.files.leave_out(path, session, f"{key} is the same image as {other}")
                continue
            if self.files.add_image(path, sequence, session, f"{key} of the patient") is not None:
                used.append(key)
        for key in ("brainmask", "breastmask"):
            path = self._optional(self.top, key)
            if path is None:
                continue
            used.append(key)
            if other := self._again(path, key):
                self.files.leave_out(path, session, f"{key} is the same file as {other}")
            else:
                self.files.add_mask(path, key.removesuffix("mask"), session, None, key)
        if used:
            self._say(f"{', '.join(used)}: {dated}", "its visits must share one grid and pose with them")

    def _visit(self, entry: JsonObject, session: Session, before: list[AcquiredImage]) -> list[AcquiredImage]:
        """One visit; returns its ADC map."""
        where = entry.where
        for key, given in entry.texts("images").items():
            if key not in MRSequence._value2member_map_ or key == MRSequence.OTHER:
                entry.refuse(
                    "images", key, f"give one of {', '.join(s for s in MRSequence if s is not MRSequence.OTHER)}"
                )
            self._image(
                self._file(entry, f"images.{key}", given),
                MRSequence(key),
                session,
                f"{where}.images.{key}",
                self.given_unit or self.stated_unit,
            )
        path = self._optional(entry, "adc")
        adc = (
            None
            if path is None
            else self._image(
                path, MRSequence.ADC, session, f"{where}.adc", self.given_unit or self.stated_unit or ADC_UNIT
            )
        )
        of = next((i.series_uid for i in self.files.images if i.study_uid == session.name), None)
        drawn = []
        for key, name in (("roi_enhance", "enhancing"), ("roi_nonenhance", "edema")):
            path = self._optional(entry, key)
            if path is None:
                continue
            mask = self.files.add_mask(path, name, session, of, key)
            if mask is None:
                continue
            if not mask.array.any():
                self.files.take_back_mask(f"{key} is empty")
                self._say(f"{key} is empty", "nothing of it is taken to be there", Severity.NOTE, self.files.name(path))
                continue
            if other := self._again(path, f"{where}.{key}"):
                self.files.take_back_mask(why := f"{where}.{key} is the same mask as {other}")
                self._say(why, "left out", Severity.LEFT_OUT, self.files.name(path))
                continue
            drawn.append(mask)
            if key == "roi_nonenhance":
                self._say(
                    "roi_nonenhance",
                    "taken as the edema and infiltration around the enhancing tumor",
                    Severity.NOTE,
                    self.files.name(path),
                )
        for name, given in entry.texts("masks").items():
            self.files.add_mask(self._file(entry, f"masks.{name}", given), name, session, of, f"mask {name}")
        labels = entry.object("labels")
        if labels is not None:
            file = self._file(labels, "file", labels.text("file") or labels.refuse("file", None, "give the file"))
            self.files.add_labels(file, self._scheme(labels), session, of, "labels")
        if adc is None:
            return []
        if drawn:
            self._blank_stale(adc, drawn[0].array if len(drawn) == 1 else drawn[0].array | drawn[1].array, before)
        return [adc]

    def _image(
        self, path: Path, sequence: MRSequence, session: Session, role: str, unit: AdcUnit | None
    ) -> AcquiredImage | None:
        if other := self._again(path, role):
            self.files.leave_out(path, session, f"{role} is the same image as {other}: no new observation")
            return None
        return self.files.add_image(path, sequence, session, role, unit)

    def _scheme(self, entry: JsonObject) -> LabelScheme | Mapping[int, str]:
        table = entry.texts("table")
        if table:
            try:
                return {int(value): name for value, name in table.items()}
            except ValueError:
                entry.refuse("table", table, 'give whole numbers and names, as {"1": "necrosis"}')
        name = entry.text("scheme")
        if name is None:
            return (
                self.labels
                if self.labels is not None
                else entry.refuse(
                    "scheme", None, f"name one of {', '.join(LabelScheme)}, or give a table of label and name"
                )
            )
        try:
            return scheme_named(name)
        except InputError as error:
            entry.refuse("scheme", name, str(error))

    def _blank_stale(self, adc: AcquiredImage, inside: np.ndarray, before: list[AcquiredImage]) -> None:
        """Values outside the regions that an earlier visit has bit for bit were left over from it."""
        array = adc.volume.array
        if inside.shape != array.shape:
            return
        for earlier in before:
            other = earlier.volume.array
            if other.shape != array.shape:
                continue
            stale = (array == other) & (array > 0) & ~inside
            known = (array > 0) & ~inside
            # two measurements of noise agree in a few voxels, never in a tenth of them
            if stale.sum() > max(10, 0.1 * known.sum()):
                kept = np.where(stale, np.float32(0), array)
                at = next(i for i, image in enumerate(self.files.images) if image is adc)
                self.files.images[at] = replace(adc, volume=adc.volume.with_array(kept))
                self._say(
                    f"{stale.sum()} ADC values outside the drawn regions are those of {earlier.date:%Y-%m-%d}",
                    "left over from there: set to 0, no value",
                    Severity.REPAIRED,
                    adc.series_uid,
                )
                return

    def _radiotherapy(
        self, planning: Session
    ) -> tuple[list[Treatment], tuple[PlanRecord, ...], tuple[DeliveryRecord, ...]]:
        entries = self.top.objects("radiotherapy")
        given = []
        for entry in entries:
            time, dose = self._time(entry), entry.required_number("dose", 0, 100)
            entry.one_of("units", ("Gy",))
            given.append((time, dose))
        given = self._apart(sorted(given))
        stated = self.top.object("plan")
        prescribed = stated.number("prescribed", 0, 200) if stated else None
        count = stated.number("fractions", 1, 200) if stated else None
        date = stated.time("start") if stated and stated.has("start") else None
        map_ = self._dose(planning, count or len(given))
        if map_ is None and stated is None:
            return [Fraction(time, dose, f"{self.path.name}, radiotherapy") for time, dose in given], (), ()
        fractions = int(count or len(given)) or None
        prescribed = prescribed or sum(dose for _, dose in given) or None
        plan = PlanRecord(self.path.name, "plan", prescribed, fractions, date)
        if map_ is not None:
            self.files.doses.append(replace(map_, source=(*map_.source, plan.uid)))
        usual = prescribed / fractions if prescribed and fractions else None
        records = tuple(
            DeliveryRecord(f"{self.path.name} {n}", plan.uid, time, n, True, dose / usual if usual else 1.0)
            for n, (time, dose) in enumerate(given, 1)
        )
        return [], (plan,), records

    def _apart(self, given: list[tuple[datetime, float]]) -> list[tuple[datetime, float]]:
        """Fractions of one time, as files with dates only have them, six hours apart."""
        apart: list[tuple[datetime, float]] = []
        moved = 0
        for time, dose in given:
            shift = timedelta(0)
            while any(t == time + shift for t, _ in apart):
                shift += BID_INTERVAL
            moved += bool(shift)
            apart.append((time + shift, dose))
        if moved:
            hours = BID_INTERVAL.total_seconds() / 3600
            self._say(
                f"{moved} fraction(s) at the time of another",
                f"both are counted, {hours:g} hours apart: leave one out if it is written twice",
                where=f"{self.path.name}, radiotherapy",
            )
        return sorted(apart)

    def _dose(self, planning: Session, fractions: float) -> TotalDose | None:
        entry = self.top.object("dose")
        if entry is None:
            return None
        file = self._file(entry, "file", entry.text("file") or entry.refuse("file", None, "give the dose map's file"))
        entry.one_of("units", ("Gy",))
        kind = entry.one_of("of", ("course", "fraction"))
        if kind == "course":
            total = self.files.add_dose(file, TotalDose, planning, "dose of the course")
            if total is None:
                return None
        else:
            if fractions < 1:
                entry.refuse("of", kind, "say how many fractions there are (plan.fractions, or radiotherapy)")
            one = self.files.add_dose(file, FractionDose, planning, "dose of a fraction")
            if one is None:
                return None
            total = TotalDose(one.array * np.float32(fractions), one.grid, name=one.name, source=one.source)
        assert isinstance(total, TotalDose)
        return total

    def _drugs(self) -> list[Treatment]:
        doses: list[Treatment] = []
        unknown = set()
        for entry in self.top.objects("chemotherapy"):
            time, amount = self._time(entry), entry.required_number("dose", 0, 1e5)
            unit = DoseUnit(entry.one_of("units", [u.value for u in DoseUnit]))
            drug = (entry.text("drug") or UNNAMED_DRUG).strip().lower()
            doses.append(DrugDose(time, drug, amount, unit, f"{self.path.name}, {entry.where}"))
            unknown |= {drug} - DRUGS.keys()
        for drug in sorted(unknown):
            self._say(
                f"the half-life of {drug} is not known here",
                'it is shown on the timeline but its effect cannot be simulated; name it, as "drug": "temozolomide"',
                Severity.NOTE,
            )
        return doses
