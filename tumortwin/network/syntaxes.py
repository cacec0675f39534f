"""Which encodings of pixels can be decoded here, and so be asked for."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from pydicom import uid as uids
from pydicom.filereader import read_file_meta_info
from pydicom.pixels import get_decoder

_UNCOMPRESSED = (
    uids.ExplicitVRLittleEndian,
    uids.ImplicitVRLittleEndian,
    uids.DeflatedExplicitVRLittleEndian,
    uids.ExplicitVRBigEndian,
)
_COMPRESSED = (
    uids.RLELossless,
    uids.JPEGLSLossless,
    uids.JPEGLSNearLossless,
    uids.JPEGLosslessSV1,
    uids.JPEGLossless,
    uids.JPEG2000Lossless,
    uids.JPEG2000,
    uids.JPEGBaseline8Bit,
    uids.JPEGExtended12Bit,
    uids.HTJ2KLossless,
    uids.HTJ2KLosslessRPCL,
    uids.HTJ2K,
)


@cache
def decodable() -> tuple[str, ...]:
    """Transfer syntaxes that the installed decoders can read, uncompressed ones first."""
    return (*_UNCOMPRESSED, *(s for s in _COMPRESSED if get_decoder(s).is_available))


def transfer_syntax(path: Path) -> uids.UID:
    """Read the transfer syntax that a file states; empty if it states none, or is not a DICOM file."""
    try:
        return uids.UID(read_file_meta_info(path).get("TransferSyntaxUID", ""))
    # pydicom lets out nearly everything on damaged files
    except Exception:
        return uids.UID("")
