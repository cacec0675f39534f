"""How a twin is calibrated: the options of :func:`tumortwin.calibrate`."""

from __future__ import annotations

from dataclasses import dataclass

from tumortwin.options import Number, Options, option


@dataclass(frozen=True)
class CalibrateOptions(Options):
    """How the model is fitted to the scans.

    Parameters
    ----------
    max_solves : int
        Solutions of the growth equation after which the best fit so far is taken.

    Raises
    ------
    InputError
        If a value is out of its range or of another type.
    """

    max_solves: int = option(300, Number(1, 1_000_000, whole=True))
