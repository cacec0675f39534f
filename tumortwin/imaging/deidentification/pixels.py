"""What hides in and beside pixels: text that is burned in, comments inside compressed frames, bytes after the image."""

from __future__ import annotations

import math

import numpy as np
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import JPEG2000TransferSyntaxes, JPEGLSTransferSyntaxes, JPEGTransferSyntaxes

_SCREENSHOTS = {"SCREEN SAVE", "SCREENSHOT", "SCREEN CAPTURE"}
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_HEADS = {"HEAD", "BRAIN", "SKULL", "FACE", "HEADNECK", "HEAD_NECK", "NECK", "ORBIT", "WHOLEBODY", ""}


def burned_in(data: Dataset) -> str:
    """Why an image must be taken to show text, or nothing."""
    said = str(data.get("BurnedInAnnotation") or "").strip()
    if said == "YES":
        return "text is burned into its pixels (Burned In Annotation is YES)"
    if set(data.get("ImageType") or ()) & _SCREENSHOTS:
        return "a screenshot, which may show a name (Image Type)"
    if said == "NO" or ("PixelData" not in data and "Rows" not in data):
        return ""
    if str(data.get("SOPClassUID", "")).startswith(_SECONDARY_CAPTURE):
        return "a secondary capture, which may show a name (Burned In Annotation is not NO)"
    if data.get("SamplesPerPixel") == 3:
        return "a color picture, which may show a name (Burned In Annotation is not NO)"
    return ""


def shows_face(data: Dataset) -> bool:
    """Whether a volume may show a face that has not been removed."""
    codes = {str(item.get("CodeValue")) for item in data.get("DeidentificationMethodCodeSequence") or ()}
    return (
        str(data.get("Modality")) in ("MR", "CT", "PT")
        and str(data.get("BodyPartExamined") or "").upper().strip() in _HEADS
        and str(data.get("RecognizableVisualFeatures") or "") != "NO"
        and "113102" not in codes
    )


def clean_pixels(data: Dataset) -> list[str]:
    """Drop bytes that are no pixels: comments in JPEG frames, bytes after the image, overlays in unused high bits.

    Returns
    -------
    list of str
        What was done; empty if nothing was found.
    """
    if "PixelData" not in data or not isinstance(data.PixelData, bytes):
        return []
    syntax = data.file_meta.TransferSyntaxUID
    if syntax.is_encapsulated:
        return _clean_frames(data)
    done = []
    bits = int(data.get("BitsAllocated") or 8)
    values = (
        int(data.get("Rows") or 0)
        * int(data.get("Columns") or 0)
        * int(data.get("SamplesPerPixel") or 1)
        * int(data.get("NumberOfFrames") or 1)
    )
    if data.get("PhotometricInterpretation") == "YBR_FULL_422":
        values = values // 3 * 2
    size = math.ceil(values * bits / 8)
    if len(data.PixelData) > size + size % 2 or (size % 2 and data.PixelData[size:] not in (b"", b"\0")):
        data.PixelData = data.PixelData[:size] + b"\0" * (size % 2)
        done.append("bytes after the last pixel were dropped")
    stored, high = int(data.get("BitsStored") or bits), int(data.get("HighBit") or bits - 1)
    planes = any(
        int(data.get((group, 0x0102)).value or 0)
        for group in range(0x6000, 0x6020, 2)
        if data.get((group, 0x0102)) is not None
    )
    if planes and bits == 16 and stored < 16 and high == stored - 1:
        data.PixelData = _only_stored_bits(data, stored)
        done.append("overlay planes in the unused bits of the pixels were zeroed")
    return done


def _only_stored_bits(data: Dataset, stored: int) -> bytes:
    order = "<" if data.file_meta.TransferSyntaxUID.is_little_endian else ">"
    raw = np.frombuffer(data.PixelData, dtype=f"{order}u2") & np.uint16((1 << stored) - 1)
    if data.get("PixelRepresentation"):
        negative = raw >> np.uint16(stored - 1) == 1
        raw = np.where(negative, raw | np.uint16(0xFFFF << stored & 0xFFFF), raw)
    return raw.astype(f"{order}u2").tobytes()


def _clean_frames(data: Dataset) -> list[str]:
    syntax = data.file_meta.TransferSyntaxUID
    if syntax in JPEG2000TransferSyntaxes:
        strip = _strip_jpeg2000
    elif syntax in JPEGTransferSyntaxes or syntax in JPEGLSTransferSyntaxes:
        strip = _strip_jpeg
    else:
        return []
    frames = list(generate_frames(data.PixelData, number_of_frames=int(data.get("NumberOfFrames") or 1)))
    stripped = [strip(frame) for frame in frames]
    if stripped == frames:
        return []
    data.PixelData = encapsulate(stripped)
    data["PixelData"].is_undefined_length = True
    for keyword in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths"):
        if keyword in data:
            del data[keyword]
    return ["comments inside compressed frames were dropped"]


def _strip_jpeg(frame: bytes) -> bytes:
    """Remove comments and application segments from a JPEG or JPEG-LS stream, except those that decoding needs."""
    out, at = bytearray(frame[:2]), 2
    while at + 4 <= len(frame) and frame[at] == 0xFF and frame[at + 1] != 0xDA:
        marker = frame[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        end = at + 2 + int.from_bytes(frame[at + 2 : at + 4], "big")
        segment = frame[at + 4 : end]
        application = 0xE0 <= marker <= 0xEF
        needed = (
            (marker == 0xEE and segment[:5] == b"Adobe" and len(segment) <= 12)
            or (marker == 0xE8 and segment[:4] == b"mrfx" and len(segment) <= 5)
            or (marker == 0xE0 and segment[:5] == b"JFIF\0" and len(segment) == 14)
        )
        if marker != 0xFE and (not application or needed):
            out += frame[at:end]
        at = end
    rest = frame[at:]
    last = rest.rfind(b"\xff\xd9")
    rest = rest[: last + 2] if last >= 0 else rest
    out += rest
    return bytes(out) + b"\0" * (len(out) % 2)


def _strip_jpeg2000(frame: bytes) -> bytes:
    """Remove the comments in the main header of a JPEG 2000 codestream and the boxes around it."""
    begin = frame.find(b"\xff\x4f\xff\x51")
    if begin < 0:
        return frame
    out, at = bytearray(frame[begin : begin + 2]), begin + 2
    while at + 4 <= len(frame) and frame[at] == 0xFF and frame[at + 1] != 0x90:
        end = at + 2 + int.from_bytes(frame[at + 2 : at + 4], "big")
        if frame[at + 1] != 0x64:
            out += frame[at:end]
        at = end
    rest = frame[at:]
    last = rest.rfind(b"\xff\xd9")
    out += rest[: last + 2] if last >= 0 else rest
    return bytes(out) + b"\0" * (len(out) % 2)
