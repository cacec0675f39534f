"""One 2D image: a classic file, or one frame of a multi-frame file with its functional groups."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydicom.dataset import Dataset

from tumortwin.errors import ReadError
from tumortwin.imaging.reading.attributes import PHILIPS_ITEMS, items, number, tag_of, text, value
from tumortwin.imaging.reading.instance import Instance

# Functional groups whose first item speaks for a frame as the attributes of a classic image do.
_MACROS = (
    "PlanePositionSequence",
    "PlaneOrientationSequence",
    "PixelMeasuresSequence",
    "PixelValueTransformationSequence",
    "RealWorldValueMappingSequence",
    "FrameContentSequence",
    "SegmentIdentificationSequence",
    "MRImageFrameTypeSequence",
    "CTImageFrameTypeSequence",
    "MRDiffusionSequence",
    "DiffusionGradientDirectionSequence",
    "MREchoSequence",
    "MRTimingAndRelatedParametersSequence",
    "MRModifierSequence",
    "UnassignedSharedConvertedAttributesSequence",
    "UnassignedPerFrameConvertedAttributesSequence",
)

_MACRO_TAGS = frozenset(map(tag_of, _MACROS))


@dataclass(frozen=True, eq=False)
class Plane:
    """One 2D image: a classic file, or one frame of a multi-frame file."""

    instance: Instance
    frame: int
    """0-based."""
    sets: tuple[Dataset, ...]
    """Where its attributes are looked up: its own functional groups, the shared ones, the top level."""
    tile: tuple[slice, slice] | None = None
    """Which part of the frame it is, in a mosaic."""

    def value(self, keyword: str | tuple[int, int]) -> Any:
        """Find an attribute that holds for this plane, or return None."""
        return value(self.sets, keyword)

    def number(self, keyword: str | tuple[int, int]) -> float | None:
        """Read an attribute as a number, or return None."""
        return number(self.sets, keyword)

    def numbers(self, keyword: str, n: int) -> tuple[float, ...] | None:
        """Read an attribute as n finite numbers, or return None."""
        found = value(self.sets, keyword)
        if found is None:
            return None
        try:
            values = tuple(float(v) for v in found)
        except (TypeError, ValueError, OverflowError):
            return None
        return values if len(values) == n and all(abs(v) < float("inf") for v in values) else None

    @property
    def image_type(self) -> tuple[str, ...]:
        """ImageType, or the frame's FrameType."""
        found = self.value("FrameType") or self.value("ImageType") or ()
        return tuple(str(v).upper() for v in ([found] if isinstance(found, str) else found))

    @property
    def where(self) -> str:
        """For people: the file, and the frame if it has several."""
        return self.instance.name + (
            f" frame {self.frame + 1}" if number((self.instance.data,), "NumberOfFrames") else ""
        )

    @property
    def philips_scale(self) -> float | None:
        """Philips' private scale slope SS: signal = (stored RS + RI) / (RS SS) compares between slices and series.

        Reference: Chenevert et al. 2014, doi:10.1593/tlo.13811.
        """
        scale = self.number((0x2005, 0x100E))
        return scale if scale and "PHILIPS" in str(self.value((0x2005, 0x0010))).upper() else None

    @property
    def b_value(self) -> float | None:
        """Diffusion weighting in s/mm^2, from the standard's attribute or the vendors' private ones."""
        for keyword, creator in (
            ("DiffusionBValue", ""),
            ((0x0019, 0x100C), "SIEMENS"),
            ((0x2001, 0x1003), "PHILIPS"),
            ((0x0043, 0x1039), "GEMS"),
        ):
            found = self.number(keyword)
            if found is None:
                continue
            owner = str(self.value((keyword[0], 0x0010))).upper() if isinstance(keyword, tuple) else ""
            if creator in owner:
                return found % 1e9 if creator == "GEMS" else found  # GE adds 1e9 to mark a computed b-value
        if text(self.sets, "DiffusionDirectionality") == "NONE":
            return 0.0
        return None


def planes(instance: Instance) -> list[Plane]:
    """List the 2D images of a file, in stored order.

    Raises
    ------
    ReadError
        If it has several frames and does not say of each where it is.
    """
    data = instance.data
    per_frame = items((data,), "PerFrameFunctionalGroupsSequence")
    frames = int(number((data,), "NumberOfFrames") or 1)
    if frames == 1 and value((data,), "PerFrameFunctionalGroupsSequence") is None:
        return [Plane(instance, 0, (data, *_macros(data)))]
    if len(per_frame) != frames:
        raise ReadError(
            f"{instance.name} has {frames} frames and says of {len(per_frame)} where they are: export it again as "
            "single images or as an enhanced object"
        )
    shared = tuple(s for item in items((data,), "SharedFunctionalGroupsSequence") for s in _macros(item))
    return [Plane(instance, i, (*_macros(item), *_philips(item), *shared, data)) for i, item in enumerate(per_frame)]


def _philips(item: Dataset) -> Iterator[Dataset]:
    """Yield the scale slope that Philips stores in a private sequence of each frame."""
    for inner in items((item,), PHILIPS_ITEMS)[:1]:
        scale = Dataset()
        for tag in ((0x2005, 0x0010), (0x2005, 0x100E)):
            if tag in inner:
                scale[tag] = inner[tag]
        yield scale


def _macros(item: Dataset) -> Iterator[Dataset]:
    for keyword in () if item.keys().isdisjoint(_MACRO_TAGS) else _MACROS:
        for inner in items((item,), keyword)[:1]:
            yield inner
            yield from _macros(inner)
