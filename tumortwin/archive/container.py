"""The file of saved arrays: a .npz, whose last bytes are a checksum of all that comes before them.

The checksum stands in the comment of the zip file, so that ``numpy.load`` and any other program read the file as
before: ``tumortwin sha256`` and 64 hexadecimal digits. Every byte of the file is either counted or compared.
"""

from __future__ import annotations

import hashlib
import io
import math
import zipfile
from typing import BinaryIO

import numpy as np

LARGEST_BYTES = 8 << 30
"""Arrays of one file may take up so much memory; a file that declares more is refused before anything is unpacked."""

_MARK = b"tumortwin sha256 "
_DIGITS = 64
_HEADER_BYTES = 128


class ContainerError(Exception):
    """A file that is no such container, or a damaged one."""


def write(file: BinaryIO, arrays: dict[str, np.ndarray]) -> None:
    """Write arrays and checksum.

    Parameters
    ----------
    file : binary file
        Empty; opened for reading and writing.
    arrays : dict of str to array
        By the keys that ``numpy.load`` will give them.

    Raises
    ------
    ContainerError
        If they are larger than what is read again.
    """
    size = sum(array.nbytes + _HEADER_BYTES for array in arrays.values())
    if size > LARGEST_BYTES:
        raise ContainerError(f"it takes {_gib(size)}, more than the {_gib(LARGEST_BYTES)} of a saved value")
    np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    with zipfile.ZipFile(file, "a") as archive:
        archive.comment = _MARK + b"0" * _DIGITS
    end = file.seek(-_DIGITS, io.SEEK_END)
    digest, left = hashlib.sha256(), end
    file.seek(0)
    while left:
        chunk = file.read(min(left, 1 << 20))
        digest.update(chunk)
        left -= len(chunk)
    file.write(digest.hexdigest().encode())


def read(content: bytes) -> tuple[dict[str, np.ndarray], bool]:
    """Read the arrays of a file, and whether it ends in a checksum (files of format 1 do not).

    Raises
    ------
    ContainerError
        If its checksum is wrong, it cannot be read, declares more than `LARGEST_BYTES`, or holds anything but arrays of
        numbers.
    """
    sealed = content[-_DIGITS - len(_MARK) : -_DIGITS] == _MARK
    if sealed and hashlib.sha256(memoryview(content)[:-_DIGITS]).hexdigest().encode() != content[-_DIGITS:]:
        raise ContainerError("its checksum is not that of its content")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            size = sum(member.file_size for member in members)
            if size > LARGEST_BYTES:
                raise ContainerError(f"it declares {_gib(size)}, more than the {_gib(LARGEST_BYTES)} of a saved value")
            if len({member.filename for member in members}) < len(members):
                raise ContainerError("it holds two arrays of one name")
            return {member.filename.removesuffix(".npy"): _array(archive, member) for member in members}, sealed
    except ContainerError:
        raise
    except Exception as error:  # zipfile, zlib and numpy raise a dozen kinds over damaged files
        raise ContainerError(str(error) or type(error).__name__) from error


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    """One member, if it is a plain array of just the size that it declares."""
    with archive.open(member) as file:
        if np.lib.format.read_magic(file) != (1, 0):
            raise ContainerError(f"{member.filename} is of another version of numpy's format")
        shape, by_column, dtype = np.lib.format.read_array_header_1_0(file)
        if dtype.kind not in "biuf":
            raise ContainerError(f"{member.filename} holds {dtype}, not numbers")
        if min(shape, default=0) < 0 or file.tell() + math.prod(shape) * dtype.itemsize != member.file_size:
            raise ContainerError(f"{member.filename} is not as long as it says")
        values = np.frombuffer(bytearray(file.read()), dtype)  # a bytearray: loaded arrays can be written to
        return values.reshape(shape, order="F" if by_column else "C")


def _gib(size: int) -> str:
    return f"{size / (1 << 30):.1f} GiB"
