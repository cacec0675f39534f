"""What a stack of images shows: DICOM attributes first, descriptions second, the user's word before both."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import fnmatch
from typing import NamedTuple

from tumortwin.errors import InputError
from tumortwin.imaging.reading.attributes import text
from tumortwin.imaging.reading.plane import Plane
from tumortwin.imaging.reading.stacks import Stack
from tumortwin.imaging.sequence import MRSequence


class Recognition(NamedTuple):
    """What a stack shows, and how that is known."""

    sequence: MRSequence
    why: str
    sure: bool


# Left alone, whatever else matches. Word edges are anything but a letter, so "ep2d_perf" and "T1-MPR" are caught.
_OTHERS = {
    "localizer": r"loc|localizers?|localiser|scouts?|pilot|survey|plane ?loc|topogram|3plane",
    "perfusion": r"perf|perfusion|dsc|dce|asl|pcasl|pasl|r?cbv|r?cbf|mtt|ttp|tmax|dynamic|dyn|k ?trans|twist",
    "angiography": r"tof|angio|angiography|mra|mrv|venogram|pc ?angio|hemo|carotids?",
    "susceptibility": r"swi|swan|swip|qsm|min ?ip|t2\*|t2star|hemosiderin|gre ?t2|t2 ?gre|flash ?2d ?t2|medic|merge",
    "spectroscopy": r"spectro|spectroscopy|svs|csi|mrs",
    "functional": r"bold|fmri|rest|resting ?state",
    "a field map": r"field ?map|b0 ?map|b1 ?map|shim|calib|calibration|asset|coil|noise|sensitivity|refscan|ref ?scan",
    "a tensor map": r"dti\b.*\bfa|fa ?map|efa|colfa|dti ?fa|eadc|exp|exponential|tensor|trace ?map|kurtosis",
    "a map of relaxation": r"[tr][12]\*? ?map(?:s|ping)?|relax\w*|molli",
    "a projection": r"mip|projection|vr|vrt|3d ?rendering",
    "a subtraction": r"sub|subtraction|subtracted|subtract",
    "a screenshot": r"screen ?save|screenshots?|summary|report|dose ?report|phoenix\w*|protocol",
}
_EXPONENTIAL = r"exp|exponential|eadc"
_ADC = r"adcs?|apparent ?diff\w*|dadc|d?adc ?map|average ?dc|avdc"
_DWI = r"s?dwi|dti|diff|diffusion|ep2d ?diff|resolve|tracew?|b ?\d{3,4}|dw|hardi|b0"
_FLAIR = r"v? ?flair|dark[ -]?fluid|da-?fl|spc ?ir|tirm(?= ?dark)|t2 ?tirm|darkfl|flr|t2 ?flair|fluid ?att\w*"
_T1 = (
    r"t1\w*|mp ?rage|mprage|spgr|bravo|fspgr|ir ?fspgr|tfe|3d ?tfe|vibe|thrive|lava|cube ?t1|space ?t1|mp2rage|spc ?t1"
)
_T2 = r"t2\w*|tse ?t2|haste|ciss|fiesta|frfse|propeller|blade"
_POST = (
    r"post|gd|gad\w*|ce|ce ?t1w?|t1 ?ce|km|mit ?km|contrast|\+ ?c|c ?\+|\+ ?gd|\+ ?k|post ?gad\w*|postcontrast|t1c|"
    r"t1gd|t1 ?gd|gdtpa|dotarem|wc|enhanced"
)
_PRE = (
    r"pre|pre ?contrast|precontrast|nativ|native|w ?/ ?o|wo|ohne|without|non ?contrast|no ?contrast|unenhanced|"
    r"- ?c(?! ?\+)|pre ?gad\w*|no ?(?:gad\w*|gd|km|c)|sans"
)


def _said(pattern: str, description: str) -> str:
    """Find the word in a description that a pattern matches; empty if there is none."""
    found = re.search(rf"(?<![a-z])(?:{pattern})(?![a-z])", description)
    return found.group().strip() if found else ""


def recognize(stack: Stack, sequences: Mapping[str, MRSequence] | None = None) -> Recognition:
    """Tell what a stack shows.

    Parameters
    ----------
    stack : Stack
        One part of a series.
    sequences : mapping of str to MRSequence, optional
        The user's word: Series Instance UID, or a pattern (``*``, ``?``) for the series description, not minding case.

    Returns
    -------
    Recognition
        ``(sequence, why, sure)``; not sure where attributes and description disagree or only a description speaks.

    Raises
    ------
    InputError
        If the user's map names no known sequence.
    """
    first = stack.first
    given = first.instance.text("SeriesDescription")
    for key, wanted in (sequences or {}).items():
        if key == first.instance.text("SeriesInstanceUID") or fnmatch(given.lower(), key.lower()):
            try:
                return Recognition(MRSequence(wanted), f"you said so ({key!r})", True)
            except ValueError:
                known = ", ".join(MRSequence)
                raise InputError(f"sequences[{key!r}] = {wanted!r} is no known sequence: give one of {known}") from None
    modality = first.instance.text("Modality")
    kind = set(first.image_type)
    if kind & {"LOCALIZER"}:
        return Recognition(MRSequence.OTHER, "a localizer (ImageType)", True)
    if modality == "CT":
        return Recognition(MRSequence.CT, "modality CT", True)
    if modality != "MR":
        return Recognition(MRSequence.OTHER, f"modality {modality or 'not stated'}", True)
    names = (given, text(first.sets, "ProtocolName"), text(first.sets, "SequenceName"))
    # the series description speaks first; protocol and sequence names often belong to the raw series a map was made of
    description = re.sub(r"[_\s.,;:()\[\]]+", " ", names[0].lower()).strip()
    return _by_attributes(stack, kind, description) or _by_description(description, names)


def _by_attributes(stack: Stack, kind: set[str], description: str) -> Recognition | None:
    first = stack.first
    contrast = text(first.sets, "AcquisitionContrast")
    if kind & {"ADC", "ADC_UNSPECIFIED", "DIFFUSION_ADC"}:
        return Recognition(MRSequence.ADC, "ImageType ADC", True)
    maps = kind & {
        "EADC",
        "EXP",
        "FA",
        "TENSOR",
        "FRACTIONAL_ANISOTROPY",
        "PERFUSION",
        "CBV",
        "CBF",
        "MTT",
        "TTP",
        "ASL",
        "SUBTRACTION",
        "PROJECTION IMAGE",
        "MIN_IP",
        "MAX_IP",
        "MINIP",
        "MIP",
        "SWI",
        "PHASE",
        "P",
        "PHASE MAP",
        "FMRI",
        "R",
        "I",
        "REAL",
        "IMAGINARY",
        "FIELD_MAP",
        "VELOCITY",
        "T1 MAP",
        "T2 MAP",
        "T1_MAP",
        "T2_MAP",
        "R2_MAP",
    }
    if maps:
        return Recognition(MRSequence.OTHER, f"ImageType {', '.join(sorted(maps))}", True)
    if contrast in {"PERFUSION", "FLOW_ENCODED", "TOF", "TAGGING", "T2_STAR", "PROTON_DENSITY", "STIR"}:
        return Recognition(MRSequence.OTHER, f"AcquisitionContrast {contrast}", True)
    if text(first.sets, "AngioFlag") == "Y":
        return Recognition(MRSequence.OTHER, "angiography (AngioFlag)", True)
    named_adc = _said(_ADC, description)
    if named_adc and not _said(_EXPONENTIAL, description):
        return Recognition(MRSequence.ADC, f"description says {named_adc!r}", True)
    for what, pattern in _OTHERS.items():
        word = _said(pattern, description)
        if word:
            return Recognition(MRSequence.OTHER, f"{what} (description says {word!r})", True)
    b_value = first.b_value
    if contrast == "DIFFUSION" or "DIFFUSION" in kind or b_value:
        return Recognition(MRSequence.DWI, f"diffusion, b = {b_value:g}" if b_value is not None else "diffusion", True)
    if b_value is not None and (stack.weighted or _said(_DWI, description)):
        source = "weighted images beside it" if stack.weighted else "description"
        return Recognition(MRSequence.DWI, f"diffusion, b = {b_value:g}, {source}", True)
    if stack.times > 2:
        return Recognition(MRSequence.OTHER, f"a series of {stack.times} time points", True)
    weighting, why = _weighting(first, contrast)
    if weighting is None:
        return None
    # what the description says has to agree, else nobody can be sure
    said = next(
        (
            s
            for s, p in ((MRSequence.FLAIR, _FLAIR), (MRSequence.T1, _T1), (MRSequence.T2, _T2))
            if _said(p, description)
        ),
        None,
    )
    if said == MRSequence.FLAIR and _said(r"t1\w*", description) and weighting == MRSequence.T1:
        said = MRSequence.T1  # a T1-FLAIR is a T1
    if said not in (None, weighting):
        return Recognition(weighting, f"{why}, though the description {description!r} sounds like {said}", False)
    return _with_contrast(first, weighting, why, description, True)


def _weighting(first: Plane, contrast: str) -> tuple[MRSequence | None, str]:
    """T1, T2 or FLAIR from AcquisitionContrast or from TR, TE and TI (ms); None if they do not tell."""
    if contrast in {"T1", "T2"}:
        return MRSequence(contrast), f"AcquisitionContrast {contrast}"
    if contrast == "FLUID_ATTENUATED":
        return MRSequence.FLAIR, "AcquisitionContrast FLUID_ATTENUATED"
    repetition = first.number("RepetitionTime")
    echo = first.number("EffectiveEchoTime") or first.number("EchoTime")
    inversion = first.number("InversionTimes") or first.number("InversionTime")
    scanning = str(first.value("ScanningSequence") or "")
    if repetition is None or echo is None:
        return None, ""
    times = f"TR {repetition:g}, TE {echo:g}" + (f", TI {inversion:g}" if inversion else "") + " ms"
    if inversion and inversion > 1400 and echo > 60:
        return MRSequence.FLAIR, times
    if inversion and 400 < inversion <= 1400 and echo < 30:
        return MRSequence.T1, times
    if inversion and inversion > 60:
        return None, times
    # an inversion pulse without its time: T1 (MPRAGE) or FLAIR, the description must tell
    if "IR" in scanning or text(first.sets, "InversionRecovery") == "YES":
        return None, times
    if repetition < 1000 and echo < 30 and not ("GR" in scanning and repetition > 100 and echo > 12):
        return MRSequence.T1, times
    if repetition > 1500 and echo > 60:
        return MRSequence.T2, times
    return None, times


def _with_contrast(first: Plane, weighting: MRSequence, why: str, description: str, sure: bool) -> Recognition:
    """Tell T1 after contrast agent from T1 before it; other weightings stay what they are."""
    if weighting is not MRSequence.T1:
        return Recognition(weighting, why, sure)
    agent = text(first.sets, "ContrastBolusAgent")
    given = (
        bool(first.value("ContrastBolusAgentSequence"))
        or (first.number("ContrastBolusVolume") or 0) > 0
        or (agent != "" and not _said(r"no|none|without|n ?/ ?a|off|pre|0", agent.lower()))
    )
    post, pre = _said(_POST, description), _said(_PRE, description)
    if given and pre:
        return Recognition(
            MRSequence.T1, f"{why}; a contrast agent is stated ({agent}), but the description says {pre!r}", False
        )
    if given:
        return Recognition(MRSequence.T1GD, f"{why}; contrast agent {agent or 'stated'}", sure)
    if post and not pre:
        return Recognition(MRSequence.T1GD, f"{why}; description says {post!r}", sure)
    return Recognition(MRSequence.T1, f"{why}; no contrast agent", sure)


def _by_description(description: str, names: tuple[str, str, str]) -> Recognition:
    """Only words are left."""
    for sequence, pattern in (
        (MRSequence.FLAIR, _FLAIR),
        (MRSequence.T1, _T1),
        (MRSequence.T2, _T2),
        (MRSequence.DWI, _DWI),
    ):
        word = _said(pattern, description)
        if not word:
            continue
        why = f"description says {word!r}"
        if sequence is MRSequence.FLAIR and _said(r"t1\w*", description):
            sequence = MRSequence.T1
        if sequence is MRSequence.T1 and _said(_POST, description) and not _said(_PRE, description):
            return Recognition(MRSequence.T1GD, f"{why} and {_said(_POST, description)!r}", False)
        return Recognition(sequence, why, False)
    return Recognition(
        MRSequence.OTHER, f"neither attributes nor the description {names[0]!r} tell what it shows", False
    )
