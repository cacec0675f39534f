from typing import Any

from numpy.typing import NDArray

from tumortwin.growth.scheme import Box

BLOCK: int

def faces(relative: NDArray[Any], axis: int, out: NDArray[Any]) -> float: ...
def largest_sum(fz: NDArray[Any], fy: NDArray[Any], fx: NDArray[Any], units: tuple[float, ...]) -> float: ...
def diffuse(
    u: NDArray[Any],
    odd: NDArray[Any],
    even: NDArray[Any],
    fz: NDArray[Any],
    fy: NDArray[Any],
    fx: NDArray[Any],
    lo: NDArray[Any],
    hi: NDArray[Any],
    box: Box,
    coefficients: NDArray[Any],
    units: tuple[float, ...],
    strip: int,
    z_from: int,
    z_to: int,
    grow_from: int,
    grow_to: int,
    share: float,
    growth: float,
    crowding: float,
) -> float: ...
def moebius(
    u: NDArray[Any],
    lo: NDArray[Any],
    hi: NDArray[Any],
    box: Box,
    z_from: int,
    z_to: int,
    growth: float,
    crowding: float,
) -> None: ...
def moebius_by(
    u: NDArray[Any],
    lo: NDArray[Any],
    hi: NDArray[Any],
    place: NDArray[Any],
    box: Box,
    z_from: int,
    z_to: int,
    growth: NDArray[Any],
    crowding: NDArray[Any],
) -> None: ...
def power(
    u: NDArray[Any],
    lo: NDArray[Any],
    hi: NDArray[Any],
    box: Box,
    z_from: int,
    z_to: int,
    linear: float,
    factor: float,
    exponent: float,
) -> None: ...
def lowest(u: NDArray[Any], lo: NDArray[Any], hi: NDArray[Any], box: Box) -> float: ...
def squares(u: NDArray[Any], v: NDArray[Any], lo: NDArray[Any], hi: NDArray[Any], box: Box) -> tuple[float, float]: ...
