"""The DICOM images that a patient was read from, as the sources of what is written about them."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import pydicom

from tumortwin.errors import InputError
from tumortwin.imaging.reading.headers import read_headers
from tumortwin.imaging.volume import Volume
from tumortwin.imaging.writing.source import DicomSource, Identity


@dataclass
class ImageSeries:
    """The image series of a folder, as sources of results."""

    folder: Path
    identity: Identity
    key: bytes
    _paths: dict[str, list[Path]] = field(default_factory=dict)
    _sources: dict[str, DicomSource] = field(default_factory=dict)

    def source(self, image: Volume) -> DicomSource:
        """Find the DICOM images that a volume was read from.

        Raises
        ------
        InputError
            If the folder does not hold them.
        """
        if not self._paths:
            for instance in read_headers(self.folder)[0]:
                self._paths.setdefault(instance.text("SeriesInstanceUID"), []).append(instance.path)
        series = image.source[0] if image.source else ""
        if series not in self._paths:
            raise InputError(
                f"{self.folder} holds no series {series} ({image.name}): give the folder that the patient "
                "was read from; of a patient who was de-identified on reading, a de-identified copy of it"
            )
        if series not in self._sources:
            rows = image.grid.shape[1:]
            headers = [pydicom.dcmread(path, stop_before_pixels=True, force=True) for path in self._paths[series]]
            shown = [header for header in headers if (header.get("Rows"), header.get("Columns")) == rows]
            self._sources[series] = DicomSource.of(shown, self.identity, self.key)
        return self._sources[series]


def series_source(
    image: Volume, folder: str | os.PathLike[str], identity: Identity | str = Identity.SOURCE, key: bytes | None = None
) -> DicomSource:
    """Return the files of a folder that an image was read from, as the source of objects drawn on the image.

    Parameters
    ----------
    image : Volume
        As :func:`~tumortwin.read_patient` gave it.
    folder : path-like
        The folder it was read from.
    identity : Identity
        "source" (the default) stays with the images: what is drawn is of use beside them only.
    key : bytes, optional
        Of the pseudonym; see :meth:`DicomSource.of`. Needed to remove the identity.

    Raises
    ------
    InputError
        If the folder does not hold the image's series.
    """
    if Identity(identity) is Identity.REMOVED and key is None:
        raise InputError("identity='removed' needs a key: tumortwin.vault.read_key(FILE)")
    return ImageSeries(Path(folder), Identity(identity), key or b"").source(image)
