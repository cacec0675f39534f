from typing import Any

from numpy.typing import NDArray

from tumortwin.growth.scheme import Box

Law = tuple[int, float, float, float]

def faces(
    relative: NDArray[Any],
    change: NDArray[Any],
    hz: float,
    hy: float,
    hx: float,
    fz: NDArray[Any],
    fy: NDArray[Any],
    fx: NDArray[Any],
    gz: NDArray[Any],
    gy: NDArray[Any],
    gx: NDArray[Any],
) -> None: ...
def diffuse(
    u: NDArray[Any],
    odd: NDArray[Any],
    even: NDArray[Any],
    fz: NDArray[Any],
    fy: NDArray[Any],
    fx: NDArray[Any],
    gz: NDArray[Any],
    gy: NDArray[Any],
    gx: NDArray[Any],
    lo: NDArray[Any],
    hi: NDArray[Any],
    box: Box,
    coefficients: NDArray[Any],
    step: float,
    share: float,
    pull: NDArray[Any],
    changing: bool,
    law: Law,
    push: NDArray[Any],
    rows: NDArray[Any],
    strip: int,
) -> float: ...
def react(
    u: NDArray[Any], lo: NDArray[Any], hi: NDArray[Any], box: Box, law: Law, push: NDArray[Any], rows: NDArray[Any]
) -> None: ...
def scale(
    u: NDArray[Any],
    lo: NDArray[Any],
    hi: NDArray[Any],
    box: Box,
    factor: NDArray[Any],
    dose: NDArray[Any],
    push: NDArray[Any],
) -> None: ...
def react_by(
    u: NDArray[Any],
    lo: NDArray[Any],
    hi: NDArray[Any],
    place: NDArray[Any],
    box: Box,
    table: NDArray[Any],
    driven: NDArray[Any],
    rows: NDArray[Any],
) -> None: ...
def gather(
    v: NDArray[Any],
    before: NDArray[Any],
    after: NDArray[Any],
    lo: NDArray[Any],
    hi: NDArray[Any],
    box: Box,
    weights: NDArray[Any],
) -> None: ...
def necrose(
    u: NDArray[Any],
    v: NDArray[Any],
    lo: NDArray[Any],
    hi: NDArray[Any],
    box: Box,
    numbers: tuple[float, float, float, float],
    steps: NDArray[Any],
    push: NDArray[Any],
    driven: NDArray[Any],
) -> None: ...
def necrose_back(
    u: NDArray[Any],
    v: NDArray[Any],
    living: NDArray[Any],
    dead: NDArray[Any],
    lo: NDArray[Any],
    hi: NDArray[Any],
    box: Box,
    numbers: tuple[float, float, float, float],
    steps: NDArray[Any],
) -> None: ...
