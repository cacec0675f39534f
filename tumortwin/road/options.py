"""All options of a run, as one value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tumortwin.arguments import described
from tumortwin.calibration import CalibrateOptions
from tumortwin.errors import InputError
from tumortwin.imaging.labels import LabelScheme
from tumortwin.imaging.sequence import MRSequence
from tumortwin.imaging.writing.source import Identity
from tumortwin.options import Choice, Clean, Flag, Group, Kind, Number, Options, option
from tumortwin.planning import PlanOptions
from tumortwin.twin import BuildOptions


@dataclass(frozen=True)
class _Sequences(Kind):
    """What series show, by their UID or a pattern for their description."""

    def accept(self, value: Any) -> dict[str, MRSequence] | None:
        if not isinstance(value, Mapping):
            raise ValueError
        known = {str(one).lower(): one for one in MRSequence}
        for pattern, shows in value.items():
            if not isinstance(pattern, str) or str(shows).lower() not in known:
                raise InputError(f"sequences: {pattern!r} shows one of {', '.join(MRSequence)}, not {described(shows)}")
        return {pattern: known[str(shows).lower()] for pattern, shows in value.items()} or None

    def as_json(self, value: Any, clean: Clean) -> list[str]:
        return sorted(f"{clean(pattern)} = {shows}" for pattern, shows in value.items())

    def __str__(self) -> str:
        return f"a table of patterns and what they show, each one of {', '.join(MRSequence)}"


@dataclass(frozen=True)
class RunOptions(Options):
    """How a patient is read, how much is held out and forecast, and what is written of the results.

    It holds the options of the stages too: all that :func:`tumortwin.road.run` takes. Keys and passphrases are
    no options: they are given to the function itself, and are never recorded.

    Parameters
    ----------
    build, calibrate, plan : BuildOptions, CalibrateOptions, PlanOptions
        Of the stages.
    labels : LabelScheme, optional
        Name of the scheme of label files that have no table, as "BraTS 2023".
    sequences : mapping of str to MRSequence, optional
        What a series shows, by its UID or a pattern for its description; overrules what its header says.
    adc_unit : float, optional
        mm^2/s per stored unit of the ADC maps; overrules what the files say.
    visits : int, optional
        Calibrate on so many of the first visits, and hold out the rest. By default all but the last two that show a
        tumor, but at least two.
    forecast_days : float
        How far the forecast goes beyond the last scan, days, where no scan is held out.
    seed : int
        Of everything random.
    threads : int, optional
        Threads for registration and simulations; results do not depend on it. By default one for each processor core.
    identity : Identity
        What results and messages say: neither ID nor dates nor names ("removed"), unless the patient was read
        de-identified; or as given ("source"). Saved stages are as read in either case.
    dicom : bool
        Write the results as DICOM too: with identity "source" as the patient's, ready for the PACS, else de-identified.
    deidentify : bool
        De-identify on reading (DICOM only), with a key: saved stages name nobody either.
    keep_characteristics : bool
        With deidentify: keep age, weight and height.

    Raises
    ------
    InputError
        If a value is out of its range or of another type.
    """

    build: BuildOptions = option(None, Group(BuildOptions))
    calibrate: CalibrateOptions = option(None, Group(CalibrateOptions))
    plan: PlanOptions = option(None, Group(PlanOptions))
    labels: LabelScheme | str | None = option(None, Choice(LabelScheme), example="BraTS 2023")
    sequences: Mapping[str, MRSequence] | None = option(None, _Sequences(), example={"*MPRAGE*": "T1Gd"})
    adc_unit: float | None = option(None, Number(1e-12, 1.0, "mm^2/s"), example=1e-6)
    visits: int | None = option(None, Number(2, whole=True), example=4)
    forecast_days: float = option(90.0, Number(1.0, 3650.0, "days"))
    seed: int = option(0, Number(0, whole=True))
    threads: int | None = option(None, Number(1, 1024, whole=True), example=2, result=False)
    identity: Identity | str = option(Identity.REMOVED, Choice(Identity), result=False)
    dicom: bool = option(False, Flag(), result=False)
    deidentify: bool = option(False, Flag(), result=False)
    keep_characteristics: bool = option(False, Flag(), result=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.keep_characteristics and not self.deidentify:
            raise InputError("keep_characteristics goes with deidentify: without it nothing is taken out")
