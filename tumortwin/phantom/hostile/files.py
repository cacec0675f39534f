"""Files that are encoded, cut off, wrapped or labelled in ways that a careless reader trips over."""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from pydicom.dataset import Dataset
from pydicom.fileset import FileSet
from pydicom.uid import (
    JPEG2000,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from tumortwin.imaging.writing.header import hashed_uid
from tumortwin.phantom.hostile.encodings import encode
from tumortwin.phantom.hostile.specimens import Expected, Mutant, Specimen, changed, set_pixels

LOADED, REPAIRED, REFUSED = Expected


def syntaxes(s: Specimen) -> Iterator[Mutant]:
    """Every transfer syntax, without faults."""
    for case, syntax in (
        ("implicit, big-endian, deflated", ImplicitVRLittleEndian),
        ("implicit, big-endian, deflated", ExplicitVRBigEndian),
        ("implicit, big-endian, deflated", DeflatedExplicitVRLittleEndian),
        ("RLE, JPEG-LS", RLELossless),
        ("RLE, JPEG-LS", JPEGLSLossless),
        ("JPEG 2000", JPEG2000Lossless),
        ("JPEG", JPEGLosslessSV1),
    ):
        yield s.mutant(case, s.written(s.slices(), syntax=syntax), LOADED, variant=syntax.name)
    lossy = s.written(s.slices(), syntax=JPEG2000)
    yield s.mutant("JPEG 2000", lossy, LOADED, "lossy", [s.truth(tolerance=8.0)], "irreversible")


def jpeg_baseline(s: Specimen) -> Iterator[Mutant]:
    """8 bits, lossy."""
    coarse = []
    for k in range(s.n):
        data = s.slice(k, RescaleSlope="12", RescaleIntercept="0")
        set_pixels(data, s.stored(s.world(k), 12.0, 0.0), bits=8)
        coarse.append(data)
    yield s.mutant(
        "JPEG",
        s.written(coarse, syntax=JPEGBaseline8Bit),
        LOADED,
        "lossy",
        [s.truth(tolerance=60.0)],
        "baseline, 8 bits",
    )


def signs(s: Specimen) -> Iterator[Mutant]:
    """Signed values in codestreams that say they have no sign."""
    below = s.values.base - 1300
    field = type(s.values)(s.values.gain, below, s.values.gradient)
    signed = []
    for k in range(s.n):
        data = s.slice(k)
        set_pixels(data, np.round(field(s.world(k))), signed=True)
        signed.append(data)
    for case, syntax in (
        ("JPEG 2000", JPEG2000Lossless),
        ("RLE, JPEG-LS", JPEGLSLossless),
        ("RLE, JPEG-LS", RLELossless),
    ):
        yield s.mutant(
            case,
            s.written(signed, syntax=syntax),
            LOADED,
            truths=[s.truth(values=field)],
            variant=f"{syntax.name}, sign only in the header",
        )


def cut_codestream(s: Specimen) -> Iterator[Mutant]:
    """One compressed slice is too short."""
    for case, syntax in (
        ("JPEG 2000", JPEG2000Lossless),
        ("RLE, JPEG-LS", RLELossless),
        ("RLE, JPEG-LS", JPEGLSLossless),
        ("JPEG", JPEGLosslessSV1),
    ):
        files = s.written(s.slices(), syntax=syntax)
        whole = _inner(s, files)
        files[whole] = files[whole][: len(files[whole]) - 150]
        yield s.mutant(case, files, REPAIRED, "left out", variant=f"{syntax.name}, one slice too short")


def _inner(s: Specimen, files: Mapping[str, bytes]) -> str:
    """Find the file of a slice inside the volume."""
    wanted = str(s.slice(5).SOPInstanceUID).encode()
    return next(name for name, content in files.items() if wanted in content)


def truncated(s: Specimen) -> Iterator[Mutant]:
    """Pixel data cut off, on one slice or on all; a file cut off in its header; an empty file."""
    case = "truncated or padded pixel data"
    cut = s.slices()
    cut[5].PixelData = cut[5].PixelData[:300]
    yield s.mutant(case, cut, REPAIRED, "decoded", variant="one slice with fewer pixels")
    files = s.written(s.slices())
    inner = _inner(s, files)
    yield s.mutant(case, {**files, inner: files[inner][:-200]}, REPAIRED, "cannot", variant="one file cut off")
    yield s.mutant(
        case, {**files, inner: files[inner][:600]}, REPAIRED, "missing", variant="one file cut off in its header"
    )
    yield s.mutant(case, {**files, inner: b""}, REPAIRED, "missing", variant="one file empty")
    bare = s.slices()
    del bare[5].PixelData
    yield s.mutant(case, bare, REPAIRED, "no pixel data", variant="one slice without pixels")
    short = s.slices()
    for data in short:
        data.PixelData = data.PixelData[:-100]
    yield s.mutant(case, short, REFUSED, "decoded", [], "all slices short")
    for extra in (2, 1000):
        padded = s.slices()
        for data in padded:
            data.PixelData = data.PixelData + b"\0" * extra
        yield s.mutant(case, padded, LOADED, variant=f"{extra} bytes too many")
    yield s.mutant(case, {n: c + b"\0" * 512 for n, c in files.items()}, LOADED, variant="zeros behind the data set")


def other_files(s: Specimen) -> Iterator[Mutant]:
    """Files beside the images: text, archives, a DICOMDIR, nothing at all; odd names and deep folders."""
    case = "non-DICOM files, DICOMDIR"
    files = s.written(s.slices())
    junk = {
        "README.txt": b"Thank you for using our viewer." * 20,
        "autorun.inf": b"",
        "viewer/run.exe": b"MZ" * 400,
        "thumb.jpg": b"\xff\xd8\xff\xe0" * 99,
        "export.zip": b"PK\3\4" + bytes(300),
    }
    yield s.mutant(case, {**files, **junk}, LOADED, "not dicom", variant="junk beside the images")
    yield s.mutant(case, {**files, "DICOMDIR": _dicomdir(s.slices())}, LOADED, "dicomdir", variant="with a DICOMDIR")
    odd = {f"Ünïcode ordner/ä b {n}.öäü": c for n, c in files.items()}
    yield s.mutant(case, odd, LOADED, variant="names beyond ASCII")
    deep = {f"{'a/' * (k % 4)}{n}": c for k, (n, c) in enumerate(files.items())}
    yield s.mutant(case, deep, LOADED, variant="spread over folders")


def _dicomdir(slices: list[Dataset]) -> bytes:
    with TemporaryDirectory() as folder:
        media = FileSet()
        media.UID = hashed_uid("DICOMDIR")
        for k, data in enumerate(slices):
            path = Path(folder) / f"IM{k}"
            path.write_bytes(encode(data))
            media.add(path)
        out = Path(folder) / "out"
        media.write(out)
        return (out / "DICOMDIR").read_bytes()


def gzipped(s: Specimen) -> Iterator[Mutant]:
    """Files packed by gzip."""
    files = s.written(s.slices())
    packed = {f"{n}.gz": gzip.compress(c, mtime=0) for n, c in files.items()}
    yield s.mutant("gzip", packed, REPAIRED, "gzip", variant="every file")
    inner = _inner(s, files)
    mixed = dict(files)
    mixed[inner] = gzip.compress(mixed[inner], mtime=0)
    yield s.mutant("gzip", mixed, REPAIRED, "gzip", variant="one file")
    cut = {n: c[:-40] for n, c in packed.items()}
    yield s.mutant("gzip", cut, REFUSED, "", [], "every file cut off")


def no_meta(s: Specimen) -> Iterator[Mutant]:
    """No preamble, no File Meta Information, or no transfer syntax in it."""
    case = "no preamble, no meta header"
    yield s.mutant(case, s.written(s.slices(), preamble=False), REPAIRED, "preamble", variant="no preamble")
    for syntax in (ImplicitVRLittleEndian, None):
        option = {"syntax": syntax} if syntax else {}
        name = "implicit" if syntax else "explicit"
        yield s.mutant(
            case, s.written(s.slices(), meta=False, **option), REPAIRED, "preamble", variant=f"no meta header, {name}"
        )
        yield s.mutant(
            "missing transfer syntax",
            s.written(s.slices(), names_syntax=False, **option),
            REPAIRED,
            "transfer syntax",
            variant=name,
        )
    for compressed in (JPEGLSLossless, JPEG2000Lossless, RLELossless, JPEGLosslessSV1):
        yield s.mutant(
            "missing transfer syntax",
            s.written(s.slices(), names_syntax=False, syntax=compressed),
            REPAIRED,
            "transfer syntax",
            variant=compressed.name,
        )


def wrong_class(s: Specimen) -> Iterator[Mutant]:
    """Yield a series that states the SOP class in the File Meta Information only."""
    files = {}
    for name, content in s.written(s.slices()).items():
        start = content.index(b"\x08\x00\x16\x00UI")
        length = 8 + int.from_bytes(content[start + 6 : start + 8], "little")
        files[name] = content[:start] + content[start + length :]
    yield s.mutant("no preamble, no meta header", files, LOADED, variant="no SOP Class UID in the data set")


def bad_vr(s: Specimen) -> Iterator[Mutant]:
    """Values under wrong or unknown value representations, or against theirs."""
    case = "bad VR, UN VR"
    files = s.written(s.slices())
    known = {n: _as_unknown(c, b"\x20\x00\x32\x00DS") for n, c in files.items()}
    yield s.mutant(case, known, LOADED, variant="ImagePositionPatient as UN")
    spacing = {n: _as_unknown(c, b"\x28\x00\x30\x00DS") for n, c in files.items()}
    yield s.mutant(case, spacing, LOADED, variant="PixelSpacing as UN")
    absurd = {n: c.replace(b"\x08\x00\x3e\x10LO", b"\x08\x00\x3e\x10ZZ") for n, c in files.items()}
    yield s.mutant(case, absurd, LOADED, variant="SeriesDescription as ZZ")
    long = s.slices()
    for data in long:
        data.add_new(0x00280030, "LO", "\\".join(f"{float(v):.15f}" for v in data.PixelSpacing))
        data.add_new(0x00200013, "LO", "1.0")
    yield s.mutant(case, long, LOADED, variant="numbers of 17 digits as LO")
    comma = s.slices()
    for data in comma:
        data.add_new(0x00280030, "LO", "\\".join(str(v).replace(".", ",") for v in data.PixelSpacing))
    yield s.mutant(case, comma, REFUSED, "pixel spacing", [], "decimal commas in PixelSpacing")


def _as_unknown(content: bytes, start: bytes) -> bytes:
    """Replace the short VR of one element of the file by UN."""
    at = content.index(start)
    length = content[at + 6 : at + 8]
    return content[:at] + start[:4] + b"UN\0\0" + length + b"\0\0" + content[at + 8 :]


def character_sets(s: Specimen) -> Iterator[Mutant]:
    """Names in several character sets, declared, not declared, or declared wrongly."""
    for variant, given, name in (
        ("Latin 1", "ISO_IR 100", "M\xfcller^J\xf6rg".encode("latin-1")),
        ("Japanese", ["", "ISO 2022 IR 87"], b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B"),
        ("UTF-8, not declared", None, "Müller^Jörg".encode()),
        ("an unknown set", "ISO_IR 999", b"Mueller^Joerg"),
        ("bytes that are no UTF-8", "ISO_IR 192", b"M\xfcller^J\xf6rg"),
    ):
        files = s.written(s.slices(SpecificCharacterSet=given, PatientName="X" * (len(name) + len(name) % 2)))
        swapped = {
            n: c.replace(b"X" * (len(name) + len(name) % 2), name + b" " * (len(name) % 2)) for n, c in files.items()
        }
        yield s.mutant("character sets", swapped, LOADED, variant=variant)


def undefined_lengths(s: Specimen) -> Iterator[Mutant]:
    """Private sequences of undefined length, one of them hidden in UN."""
    slices = changed(s.slices())
    for data in slices:
        inner = Dataset()
        inner.add_new(0x00091001, "LO", "inner")
        block = data.private_block(0x0009, "HOSTILE", create=True)
        block.add_new(0x02, "SQ", [inner])
        data[0x00091002].is_undefined_length = True
    files = s.written(slices)
    hidden = {n: c.replace(b"\x09\x00\x02\x10SQ", b"\x09\x00\x02\x10UN") for n, c in files.items()}
    yield s.mutant("bad VR, UN VR", files, LOADED, variant="private sequence of undefined length")
    yield s.mutant("bad VR, UN VR", hidden, LOADED, variant="private sequence hidden in UN")
