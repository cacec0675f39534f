"""What the brain is called in segmentations and structure sets, in the common languages of Europe."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping

BRAIN_NAMES: Mapping[str, tuple[str, ...]] = {
    "Bulgarian": ("мозък", "главен мозък"),
    "Catalan": ("cervell", "encèfal"),
    "Croatian, Bosnian, Serbian": ("mozak", "мозак"),
    "Czech": ("mozek", "celý mozek"),
    "Danish": ("hjerne", "hjernen", "hele hjernen"),
    "Dutch": ("hersenen", "hele hersenen", "brein"),
    "English": ("brain", "whole brain", "brain mask"),
    "Estonian": ("aju", "peaaju"),
    "Finnish": ("aivot", "koko aivot"),
    "French": ("cerveau", "cerveau entier", "cerveau total", "encéphale"),
    "German": ("Gehirn", "Hirn", "Ganzhirn", "Gesamthirn", "ganzes Gehirn", "Gehirn gesamt", "Hirn gesamt"),
    "Greek": ("εγκέφαλος", "μυαλό", "egkefalos", "enkefalos"),
    "Hungarian": ("agy", "agyvelő", "teljes agy"),
    "Icelandic": ("heili", "heilinn"),
    "Irish": ("inchinn",),
    "Italian": ("cervello", "cervello intero", "encefalo", "encefalo in toto"),
    "Latin": ("encephalon",),
    "Latvian": ("smadzenes", "galvas smadzenes"),
    "Lithuanian": ("smegenys", "galvos smegenys"),
    "Norwegian": ("hjerne", "hjernen", "hele hjernen", "heile hjernen"),
    "Polish": ("mózg", "cały mózg", "mózgowie"),
    "Portuguese": ("cérebro", "cérebro inteiro", "cérebro total", "encéfalo"),
    "Romanian": ("creier", "creierul", "encefal"),
    "Russian": ("мозг", "головной мозг"),
    "Slovak": ("mozog", "celý mozog"),
    "Slovenian": ("možgani",),
    "Spanish": ("cerebro", "cerebro completo", "cerebro entero", "cerebro total", "encéfalo"),
    "Swedish": ("hjärna", "hjärnan", "hela hjärnan"),
    "Turkish": ("beyin", "tüm beyin"),
    "Ukrainian": ("мозок", "головний мозок"),
}
"""By language. A name here is the whole brain and nothing else: neither a part of it nor a margin around it."""


def names_brain(name: str) -> bool:
    """Whether a mask or structure of this name is the whole brain.

    Case, accents, digits and whatever stands between letters do not matter: "Gehirn", "GEHIRN_1" and "hjarna" are;
    "Hirnstamm", "Brain_PRV03" and "Brain-PTV" are not.
    """
    return _letters(name) in _BRAIN


def _letters(name: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFKD", name.casefold().replace("ł", "l")) if c.isalpha())


_BRAIN = frozenset(_letters(name) for names in BRAIN_NAMES.values() for name in names)
