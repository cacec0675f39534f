"""What takes the place of a patient's identifiers: all of it follows from a secret key, and nothing leads back.

Patient IDs, unique identifiers and the shift of dates are HMAC-SHA-256 of what they replace. So files that are
de-identified on another day with the same key still belong together, and another key makes an unrelated patient.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydicom.uid import UID

WEEKS_LEAST, WEEKS_SPAN = 53, 1024


@dataclass(frozen=True)
class Pseudonym:
    """What takes the place of a patient's identity: equal keys give equal pseudonyms.

    Parameters
    ----------
    key : bytes
        Secret; without it a pseudonym cannot be made from a name.
    patient_id : str
        Whose.
    """

    key: bytes
    patient_id: str

    @property
    def name(self) -> str:
        """In place of name and ID."""
        return f"TT-{self._digest('patient', self.patient_id.strip()).hex()[:10].upper()}"

    @property
    def shift(self) -> timedelta:
        """Added to all dates: whole weeks back, from 1 to 20 years; intervals, times and days of the week stay.

        The days of the week matter: fractions are given on them.
        """
        weeks = int.from_bytes(self._digest("dates", self.patient_id.strip())[:8], "big") % WEEKS_SPAN
        return -timedelta(weeks=WEEKS_LEAST + weeks)

    def uid(self, uid: str) -> UID:
        """In place of a unique identifier, the same one wherever it is found and whoever's it is."""
        return UID(f"2.25.{int.from_bytes(self._digest('uid', str(uid).strip())[:16], 'big')}")

    def label(self, purpose: str, text: str, length: int = 8) -> str:
        """Derive a short name for a file or folder."""
        return self._digest(purpose, text).hex()[:length]

    def _digest(self, *parts: str) -> bytes:
        return hmac.digest(self.key, "\x1f".join(parts).encode(), hashlib.sha256)


def shift_date(given: str, shift: timedelta) -> str | None:
    """Move a DA (or its old form with dots) by whole days; return None if it is no date."""
    found = re.fullmatch(r"\s*(\d{4})([.\-]?)(\d{2})\2(\d{2})[\s\0]*", given)
    if not found:
        return None
    try:
        moved = datetime(int(found[1]), int(found[3]), int(found[4])) + shift
    except (ValueError, OverflowError):
        return None
    return f"{moved.year:04d}{moved:%m%d}"


def shift_datetime(given: str, shift: timedelta) -> str | None:
    """Move a DT by whole days, keep its time of day and drop its offset from UTC; return None if it has no day."""
    found = re.fullmatch(r"\s*(\d{8})(\d{2}(?:\d{2}(?:\d{2}(?:\.\d{1,6})?)?)?)?(?:[+-]\d{4})?[\s\0]*", given)
    moved = shift_date(found[1], shift) if found else None
    return None if found is None or moved is None else moved + (found[2] or "")


def time_of_day(given: str) -> str | None:
    """Return a TM without the colons of its old form, or None if it is no time."""
    found = re.fullmatch(r"\s*(\d{2}(?:\d{2}(?:\d{2}(?:\.\d{1,6})?)?)?)[\s\0]*", given.replace(":", ""))
    return found[1] if found else None
