"""One DICOM data set, with everything in it that tells who it is removed, replaced, cleaned or shifted.

What is not known to be harmless goes. The basic profile's table says what is done with the attributes it lists; all
other attributes are kept only if their value cannot hold an identifier: numbers, defined terms, known words.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from typing import Any

from pydicom.datadict import dictionary_has_tag, dictionary_VR, keyword_for_tag
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag
from pydicom.uid import UID_dictionary

from tumortwin.imaging.deidentification.private import kept
from tumortwin.imaging.identity import profile
from tumortwin.imaging.identity.pseudonym import Pseudonym, shift_date, shift_datetime, time_of_day
from tumortwin.imaging.identity.words import clean_code, clean_text, equipment
from tumortwin.imaging.reading.attributes import DAMAGED

DUMMY = "REMOVED"
KEPT, REMOVED, EMPTIED, REPLACED, CLEANED, SHIFTED, MAPPED, PRIVATE = (
    "kept",
    "removed",
    "emptied",
    "replaced by a dummy",
    "cleaned",
    "shifted",
    "given another UID",
    "kept, safe private",
)

_TEXT = frozenset({"LO", "SH", "LT", "ST", "UT", "UC"})
_NUMBERS = frozenset({"US or SS", "US", "SS", "UL", "SL", "UV", "SV", "FL", "FD", "AT", "OF", "OD", "OL", "OV"})
_BYTES = frozenset(
    {
        "PixelData",
        "RedPaletteColorLookupTableData",
        "GreenPaletteColorLookupTableData",
        "BluePaletteColorLookupTableData",
        "AlphaPaletteColorLookupTableData",
        "LUTData",
        "ExtendedOffsetTable",
        "ExtendedOffsetTableLengths",
        "SegmentedRedPaletteColorLookupTableData",
        "SegmentedGreenPaletteColorLookupTableData",
        "SegmentedBluePaletteColorLookupTableData",
        "PixelPaddingValue",
        "SmallestImagePixelValue",
        "LargestImagePixelValue",
    }
)
_SNOMED = {"SNM3": "SRT", "99SDM": "SRT"}
_CODE = ("CodeValue", "CodingSchemeDesignator", "CodeMeaning", "LongCodeValue", "URNCodeValue", "CodingSchemeVersion")
_EQUIPMENT = frozenset({"Manufacturer", "ManufacturerModelName", "SoftwareVersions", "ContributionDescription"})
_SEQUENCES_DROPPED = frozenset(
    {
        "IconImageSequence",
        "OriginalAttributesSequence",
        "DigitalSignaturesSequence",
        "MACParametersSequence",
        "ReferencedPatientSequence",
        "OtherPatientIDsSequence",
        "ContributingEquipmentSequence",
        "DeidentificationActionSequence",
        "PrivateDataElementCharacteristicsSequence",
        "EncryptedAttributesSequence",
        "ModifiedAttributesSequence",
    }
)


@dataclass(frozen=True, eq=False)
class Person:
    """Whose data are cleaned.

    Parameters
    ----------
    pseudonym : Pseudonym
        What takes the place of the patient's identity.
    names : collection of str
        Lower-case words of all names in the patient's files.
    numbers : collection of str
        IDs, accession numbers and the like in the patient's files, as given.
    """

    pseudonym: Pseudonym
    names: Collection[str] = frozenset()
    numbers: Collection[str] = frozenset()


@dataclass(eq=False)
class Cleaner:
    """Cleans the data sets of one patient.

    Parameters
    ----------
    person : Person
        The patient.
    characteristics : bool
        Keep age (at most 90 years), sex, weight, size and smoking status.
    actions : Counter
        Counts what is done, by tag, keyword and action.
    """

    person: Person
    characteristics: bool = False
    actions: Counter[tuple[str, str, str]] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.pseudonym = self.person.pseudonym
        self.shift: timedelta = self.pseudonym.shift
        self._by_vr: dict[str, Callable[[DataElement], str]] = {
            "SQ": self._sequence,
            "UI": self._uid,
            "DA": self._date,
            "DT": self._datetime,
            "TM": self._time,
            "IS": self._number,
            "DS": self._number,
            "CS": self._code,
        }

    def clean(self, data: Dataset) -> None:
        """Clean a data set and all below it, in place."""
        if any(keyword in data for keyword in _CODE):
            self._coded(data)
        for tag in list(data.keys()):
            try:
                element = data[tag]
            except DAMAGED:  # cannot be decoded: nobody can tell what it says
                done = REMOVED
            else:
                done = self._element(element, data)
            if done == REMOVED:
                del data[tag]
            if done != KEPT:
                self.actions[str(tag), _keyword(tag), done] += 1
        _distinct_labels(data)

    def _element(self, element: DataElement, data: Dataset) -> str:
        tag, vr = element.tag, element.VR
        if tag.is_private:
            return self._private(element, data)
        keyword = keyword_for_tag(tag)
        if (
            tag.element == 0
            or not dictionary_has_tag(tag)
            or tag.group & 0xFF00 in (0x5000, 0x6000)
            or keyword in _SEQUENCES_DROPPED
        ):
            return REMOVED
        if keyword in ("PatientName", "PatientID"):
            return self._set(element, self.pseudonym.name + "^" * (keyword == "PatientName"), REPLACED)
        if profile.is_characteristic(tag) and self.characteristics:
            return self._characteristic(element)
        if profile.basic_action(tag) is not None:
            return self._listed(element)
        if vr in self._by_vr:
            return self._by_vr[vr](element)
        if vr in _TEXT and dictionary_VR(tag) in ("IS", "DS"):
            return self._number(element)  # a number in the wrong clothes: readers take it for what it is
        if vr in _TEXT:
            return self._text(element)
        if vr in _NUMBERS or keyword in _BYTES:
            return KEPT
        if vr == "PN":
            return self._set(element, "", EMPTIED)
        return REMOVED  # AE, AS, UR, and bytes that are not pixels

    def _listed(self, element: DataElement) -> str:
        """Clean an attribute of table E.1-1 by the options' action where there is one, else by the basic profile's."""
        action = profile.basic_action(element.tag) or ""
        if element.VR == "SQ":
            # what a sequence holds is cleaned like everything else; only pure removal needs no look inside
            return REMOVED if action == "X" and not profile.is_descriptor(element.tag) else self._sequence(element)
        if element.VR in ("DA", "DT", "TM") and profile.is_shifted(element.tag):
            return self._by_vr[element.VR](element)
        if "U" in action:
            return self._uid(element)
        if element.VR in _TEXT and profile.is_descriptor(element.tag):
            kept = self._text(element, dummy=DUMMY if "D" in action else "")
            return REMOVED if "Z" not in action and _is_empty(element.value) else kept
        if "D" in action:
            return self._dummy(element)
        return self._set(element, None if element.VR != "PN" else "", EMPTIED) if "Z" in action else REMOVED

    def _dummy(self, element: DataElement) -> str:
        dummies: dict[str, Any] = {
            "DA": "19000101",
            "TM": "000000",
            "DT": "19000101",
            "DS": "0",
            "IS": "0",
            "AS": "000Y",
        }
        if element.VR in _TEXT or element.VR in ("PN", "CS", "AE"):
            return self._set(element, DUMMY, REPLACED) if not _is_empty(element.value) else KEPT
        if element.VR in dummies:
            return self._set(element, dummies[element.VR], REPLACED) if not _is_empty(element.value) else KEPT
        return REMOVED

    def _set(self, element: DataElement, value: Any, done: str) -> str:
        if element.value == value or (_is_empty(value) and _is_empty(element.value)):
            return KEPT
        element.value = value
        return done

    def _sequence(self, element: DataElement) -> str:
        if not isinstance(element.value, Sequence):
            return REMOVED
        for item in element.value:
            self.clean(item)
        return KEPT

    def _uid(self, element: DataElement) -> str:
        values = _values(element)
        new = [uid if not uid or uid in UID_dictionary else self.pseudonym.uid(uid) for uid in map(str, values)]
        if keyword_for_tag(element.tag) in ("CodingSchemeUID", "ContextUID", "MappingResourceUID") and new != values:
            return REMOVED  # registered ones are known
        return self._set(element, new if len(new) != 1 else new[0], MAPPED)

    def _moved(self, element: DataElement, move: Callable[[str], str | None], done: str) -> str:
        values = [str(getattr(v, "original_string", v)) for v in _values(element)]
        moved = [move(v) if v.strip("\0 ") else "" for v in values]
        if None in moved:
            return self._set(element, None, EMPTIED)
        return self._set(element, moved if len(moved) != 1 else moved[0], done) if moved else KEPT

    def _date(self, element: DataElement) -> str:
        return self._moved(element, lambda v: shift_date(v, self.shift), SHIFTED)

    def _datetime(self, element: DataElement) -> str:
        return self._moved(element, lambda v: shift_datetime(v, self.shift), SHIFTED)

    def _time(self, element: DataElement) -> str:
        return self._moved(element, time_of_day, KEPT)

    def _number(self, element: DataElement) -> str:
        pattern = r"[+-]?\d+" if element.VR == "IS" else r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
        for value in _values(element):
            text = str(getattr(value, "original_string", value)).strip("\0 ")
            if text and (not re.fullmatch(pattern, text) or text in self.person.numbers):
                return self._set(element, None, EMPTIED)
        return KEPT

    def _code(self, element: DataElement) -> str:
        values = [str(v) for v in _values(element)]
        if keyword_for_tag(element.tag) == "ContextIdentifier":
            return KEPT if all(re.fullmatch(r"\d{1,4}", v) for v in values) else REMOVED
        new = [v if clean_code(v) else DUMMY for v in values]
        return self._set(element, new if len(new) != 1 else new[0], CLEANED) if new else KEPT

    def _text(self, element: DataElement, dummy: str = DUMMY) -> str:
        keyword = keyword_for_tag(element.tag)
        if keyword in _CODE:
            return KEPT  # done by _coded
        if keyword == "RescaleType":
            return self._code(element)
        new = []
        for given in map(str, _values(element)):
            value = given.strip("\0 ")
            if keyword in _EQUIPMENT and value.lower() in equipment():
                new.append(value)
            else:
                new.append((clean_text(value, self.person.names) or dummy) if value else "")
        return self._set(element, new if len(new) != 1 else new[0], CLEANED) if new else KEPT

    def _characteristic(self, element: DataElement) -> str:
        if element.VR == "AS":
            found = re.fullmatch(r"(\d{3})([DWMY])", str(element.value or ""))
            if not found:
                return REMOVED
            return self._set(element, "090Y", CLEANED) if found[2] == "Y" and int(found[1]) > 90 else KEPT
        if element.VR in _TEXT:
            return self._text(element, dummy="")
        return self._by_vr[element.VR](element) if element.VR in self._by_vr else KEPT

    def _private(self, element: DataElement, data: Dataset) -> str:
        if element.VR in ("IS", "DS") and self._number(element) != KEPT:
            return REMOVED
        value = kept(element, data)
        if value is None:
            return REMOVED
        if value is not element.value:
            element.value = value
        return PRIVATE

    def _coded(self, item: Dataset) -> None:
        """Keep a code of a standard's dictionary, else set a dummy; clean its meaning or take the dictionary's."""
        scheme, value = str(item.get("CodingSchemeDesignator") or ""), str(item.get("CodeValue") or "").strip()
        meaning = known_codes().get((_SNOMED.get(scheme, scheme), value))
        given = str(item.get("CodeMeaning") or "")
        if meaning is None:
            if "CodeValue" in item:
                self._replace(item, "CodeValue", DUMMY)
            if scheme:
                self._replace(item, "CodingSchemeDesignator", f"99{DUMMY}")
            new = clean_text(given, self.person.names) or DUMMY
        else:
            new = given if clean_text(given) == given else re.sub(r" \([a-z ]+\)$", "", meaning)[:64]
        if given:
            self._replace(item, "CodeMeaning", new)
        for keyword in _CODE[3:]:
            if keyword in item:
                self.actions[str(item[keyword].tag), keyword, REMOVED] += 1
                del item[keyword]

    def _replace(self, item: Dataset, keyword: str, value: str) -> None:
        if str(item.get(keyword) or "") != value:
            setattr(item, keyword, value)
            self.actions[str(item[keyword].tag), keyword, CLEANED] += 1


@cache
def known_codes() -> dict[tuple[str, str], str]:
    """Meanings of the standards' codes that pydicom lists, by scheme and value."""
    from pydicom.sr._concepts_dict import concepts
    from pydicom.sr._snomed_dict import mapping

    listed: dict[str, Any] = concepts
    known = {
        (scheme, value): meaning
        for scheme, by_name in listed.items()
        for by_value in by_name.values()
        for value, (meaning, *_) in by_value.items()
    }
    older = {("SRT", old): known[("SCT", new)] for old, new in mapping["SRT"].items() if ("SCT", new) in known}
    return older | known


def _distinct_labels(data: Dataset) -> None:
    """Append their numbers to structure and segment labels that have become equal: readers go by the label."""
    for sequence, label, number in (
        ("StructureSetROISequence", "ROIName", "ROINumber"),
        ("SegmentSequence", "SegmentLabel", "SegmentNumber"),
    ):
        items = [item for item in data.get(sequence) or () if label in item]
        count = Counter(str(item.get(label) or "") for item in items)
        for item in items:
            name = str(item.get(label) or "")
            if count[name] > 1 or name in ("", DUMMY):
                setattr(item, label, f"{name or DUMMY} {item.get(number)}")


def _values(element: DataElement) -> list[Any]:
    value = element.value
    if _is_empty(value):
        return []
    return [value] if isinstance(value, str | bytes) or not hasattr(value, "__iter__") else list(value)


def _is_empty(value: Any) -> bool:
    return value is None or value == "" or (hasattr(value, "__len__") and len(value) == 0)


def _keyword(tag: BaseTag) -> str:
    return "private" if tag.is_private else keyword_for_tag(tag) or "not in the standard"
