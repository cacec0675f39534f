"""One DICOM file of a folder: the header that was read first, and the file read again for its pixels or as a whole."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pydicom.dataset import Dataset

from tumortwin.errors import ReadError
from tumortwin.imaging.reading.attributes import DAMAGED, parse_datetime, text
from tumortwin.imaging.reading.dicom_file import parse_dicom, with_pixels


@dataclass(frozen=True, eq=False)
class Instance:
    """One DICOM file: where it is and the header attributes that the reader uses."""

    path: Path
    name: str
    """Path relative to the folder, with forward slashes."""
    data: Dataset
    pixels: int | None = None
    """Offset of the pixel data's element, where nothing else need be parsed again."""

    @property
    def sop_class(self) -> str:
        """SOP Class UID."""
        return text((self.data,), "SOPClassUID")

    @property
    def uid(self) -> str:
        """SOP Instance UID."""
        return text((self.data,), "SOPInstanceUID")

    def text(self, keyword: str) -> str:
        """Read a top-level attribute as text."""
        return text((self.data,), keyword)

    @property
    def transfer_syntax(self) -> str:
        """Name of the transfer syntax, shortened."""
        name = getattr(self.data.file_meta.get("TransferSyntaxUID"), "name", "not stated")
        return name.split(":")[0].split(" (")[0].replace(" Image Compression", "")

    def time(self, *pairs: str) -> datetime | None:
        """Find the first date with a time of day, else the first date (at midnight), else None.

        Parameters
        ----------
        pairs : str
            Stems such as "Acquisition": AcquisitionDateTime, else AcquisitionDate with AcquisitionTime.
        """
        joined = (
            t
            for stem in pairs
            for t in (
                self.text("AcquisitionDateTime") if stem == "Acquisition" else "",
                (self.text(f"{stem}Date") + self.text(f"{stem}Time")).replace(" ", ""),
            )
        )
        day = None
        for t in joined:
            parsed = parse_datetime(t)
            if parsed is not None and len(t) > 10:
                return parsed
            day = day or parsed
        return day


def read_whole(instance: Instance, sources: dict[str, str]) -> Dataset:
    """Read a file once: its data set with pixels, and its SHA-256 into `sources`.

    Raises
    ------
    ReadError
        If it cannot be parsed.
    """
    return _read_again(instance, sources, parse_dicom)


def read_pixels(instance: Instance, sources: dict[str, str]) -> Dataset:
    """As `read_whole`, but only pixels and what decodes them: of most files nothing else is parsed again."""
    at = instance.pixels
    return _read_again(instance, sources, parse_dicom if at is None else lambda c: with_pixels(instance.data, c, at))


def _read_again(instance: Instance, sources: dict[str, str], parse: Callable[[bytes], Dataset]) -> Dataset:
    try:
        content = instance.path.read_bytes()
        data = parse(content)
    except DAMAGED as error:
        raise ReadError(
            f"{instance.name}: cannot be read ({type(error).__name__}: {error}): export it again"
        ) from error
    sources[instance.name] = hashlib.sha256(content).hexdigest()
    return data
