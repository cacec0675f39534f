"""Secrets at rest: the keys of de-identification, and files encrypted with a passphrase.

An encrypted file is ``TTVAULT`` and a version byte, the cost of scrypt (log2 n, r, p), 16 bytes of salt, 12 bytes of
nonce, and AES-256-GCM's ciphertext with its tag; the header is authenticated with it. Salt and nonce are new each time,
so that equal content gives unequal bytes here, unlike everywhere else in tumortwin. Needs the package cryptography
(``pip install tumortwin[vault]``).
"""

from __future__ import annotations

import os
import secrets
import struct
from pathlib import Path

from tumortwin.errors import InputError, OutputExistsError, ReadError, TumorTwinError

MAGIC = b"TTVAULT"
VERSION = 1
LOG2_N, R, P = 17, 8, 1
"""Cost of scrypt: 128 MiB and a few tenths of a second for each guess of the passphrase."""
_COSTLIEST = 20
_HEADER = struct.Struct(">7sBBBB16s12s")
KEY_BYTES = 32
_KEY_LINE = "tumortwin-key-1 "


class VaultError(ReadError):
    """A wrong passphrase, or a file that was changed: which of them cannot be told."""


def encrypt(content: bytes, passphrase: str) -> bytes:
    """Encrypt and authenticate bytes.

    Parameters
    ----------
    content : bytes
        What to keep secret.
    passphrase : str
        At least 8 characters.

    Raises
    ------
    InputError
        If the passphrase is shorter.
    """
    if len(passphrase) < 8:
        raise InputError("the passphrase is shorter than 8 characters: choose a longer one")
    salt, nonce = os.urandom(16), os.urandom(12)
    header = _HEADER.pack(MAGIC, VERSION, LOG2_N, R, P, salt, nonce)
    return header + _cipher(passphrase, salt, LOG2_N, R, P).encrypt(nonce, content, header)


def decrypt(content: bytes, passphrase: str, name: str = "the content") -> bytes:
    """Decrypt what :func:`encrypt` returned.

    Parameters
    ----------
    content : bytes
        The whole file.
    passphrase : str
        The one it was encrypted with.
    name : str
        What to call it in an error.

    Raises
    ------
    VaultError
        If the passphrase is wrong or a byte was changed.
    ReadError
        If it is not such a file, is cut short, or is of a newer version.
    """
    if not is_encrypted(content):
        raise ReadError(f"{name} is not encrypted by tumortwin: read it without a passphrase")
    if len(content) < _HEADER.size + 16:
        raise ReadError(f"{name} is cut short ({len(content)} bytes): restore it from a copy")
    _, version, log2_n, r, p, salt, nonce = _HEADER.unpack(content[: _HEADER.size])
    if version != VERSION:
        raise ReadError(f"{name} is encrypted in version {version}, this tumortwin knows version {VERSION}: update it")
    if not 10 <= log2_n <= _COSTLIEST or not 1 <= r <= 16 or not 1 <= p <= 4:
        raise VaultError(f"{name} cannot be decrypted: its header was changed; restore it from a copy")
    from cryptography.exceptions import InvalidTag

    try:
        return _cipher(passphrase, salt, log2_n, r, p).decrypt(nonce, content[_HEADER.size :], content[: _HEADER.size])
    except InvalidTag:
        raise VaultError(f"{name} cannot be decrypted: the passphrase is wrong, or the file was changed") from None


def is_encrypted(content: bytes) -> bool:
    """Whether bytes begin as :func:`encrypt` writes them."""
    return content[: len(MAGIC)] == MAGIC


def new_key(path: str | os.PathLike[str], *, passphrase: str | None = None) -> Path:
    """Make a de-identification key and write it to a new file that only its owner may read.

    Whoever has the key can tell which pseudonym a known patient has, and undo the shift of dates. Whoever loses it
    cannot add another scan to a de-identified patient.

    Parameters
    ----------
    path : path-like
        A file that is not there yet.
    passphrase : str, optional
        Encrypts the file.

    Raises
    ------
    OutputExistsError
        If the file is there: a key is never replaced.
    """
    target = Path(path)
    content = f"{_KEY_LINE}{secrets.token_hex(KEY_BYTES)}\n".encode()
    if passphrase is not None:
        content = encrypt(content, passphrase)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise OutputExistsError(f"{target} is there already; a key is never replaced: choose another name") from None
    with os.fdopen(handle, "wb") as file:
        file.write(content)
    return target


def read_key(path: str | os.PathLike[str], *, passphrase: str | None = None) -> bytes:
    """Read the key that :func:`new_key` wrote.

    Raises
    ------
    ReadError
        If the file cannot be read or holds no key. The message never shows what it holds.
    VaultError
        If it is encrypted and the passphrase is wrong or missing.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise ReadError(
            f"the key file {path} cannot be read: {error.strerror}; make one with `tumortwin new-key {path}`"
        ) from error
    if is_encrypted(content):
        if passphrase is None:
            raise VaultError(f"the key file {path} is encrypted: give its passphrase (--passphrase-file)")
        content = decrypt(content, passphrase, f"the key file {path}")
    try:
        text = content.decode("ascii")
        key = bytes.fromhex(text.removeprefix(_KEY_LINE).strip())
    except ValueError:
        key, text = b"", ""
    if not text.startswith(_KEY_LINE) or len(key) != KEY_BYTES:
        raise ReadError(f"{path} is not a key file of tumortwin: make one with `tumortwin new-key FILE`")
    return key


def read_passphrase(path: str | os.PathLike[str]) -> str:
    """Read a passphrase from the first line of a file.

    Raises
    ------
    ReadError
        If the file cannot be read.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ReadError(f"the passphrase file {path} cannot be read") from error
    return lines[0] if lines else ""


def _cipher(passphrase: str, salt: bytes, log2_n: int, r: int, p: int):  # type: ignore[no-untyped-def]
    """AES-256-GCM under scrypt's key."""
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
    except ImportError as error:
        raise TumorTwinError("encryption needs the package cryptography: pip install 'tumortwin[vault]'") from error
    return AESGCM(Scrypt(salt=salt, length=32, n=1 << log2_n, r=r, p=p).derive(passphrase.encode()))
