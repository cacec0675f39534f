import pytest
from hypothesis import given
from hypothesis import strategies as st

from tumortwin.imaging.identity.words import clean_code, clean_text, words


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("t1_mprage_tra_KM", "t1_mprage_tra_KM"),
        ("ep2d_diff_b1000", "ep2d_diff_b1000"),
        ("*tfl3d1", "tfl3d1"),
        ("T1 SE 3D 1 mm", "T1 SE 3D 1 mm"),
        ("0.9mm iso", "0.9mm iso"),
        ("60 Gy in 30 fx", "60 Gy in 30 fx"),
        ("PTV6000", "PTV6000"),
        ("CTV_60", "CTV_60"),
        ("Hippocampus_L", "Hippocampus_L"),
        ("OpticNrv_R", "OpticNrv_R"),
        ("SpinalCord", "SpinalCord"),
        ("BrainStem_PRV03", "BrainStem_PRV03"),
        ("follow-up 1", "follow-up 1"),
        ("12", "12"),
    ],
)
def test_what_readers_need_stays(given, kept):
    assert clean_text(given) == kept


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("MRN 12345678", ""),
        ("DOB 5/1/24", ""),
        ("GTV 05.01.2024", "GTV"),
        ("GTV 5-1-24", "GTV"),
        ("GTV 1945", "GTV"),
        ("GTV1945", ""),
        ("PT0231", ""),
        ("M1234", ""),
        ("b1234", ""),
        ("brainSmith", ""),
        ("JSmith", ""),
        ("t1smith", ""),
        ("Müller Brain", "Brain"),
        ("SMITH JOHN T1", "T1"),
        ("GTV Smith 1", "GTV"),
        ("smith@brain.org", "brain"),
        ("Dr. O'Brain", "Brain"),
        ("2024", ""),
        ("20240123", ""),
        ("Jan 5 brain", "brain"),
        ("脳 MRI", "MRI"),
        ("", ""),
    ],
)
def test_what_may_identify_goes(given, kept):
    assert clean_text(given) == kept


def test_a_patient_s_own_name_is_no_harmless_word():
    assert clean_text("post brain", {"post"}) == "brain"
    assert clean_text("PostBrain", {"post"}) == ""


@given(st.text(max_size=60), st.text("abcdefghijklmnopqrstuvwxyz", min_size=5, max_size=12))
def test_nothing_that_is_not_listed_gets_through(text, name):
    """Every letter of the result belongs to a listed word, and cleaning twice changes nothing more."""
    cleaned = clean_text(f"{text} {name} {text}")
    assert cleaned == clean_text(cleaned)
    if name not in words():
        assert name not in cleaned.lower().split()


@given(st.integers(10**4, 10**12))
def test_no_long_number_gets_through(number):
    for text in (f"MRI {number}", f"brain_{number}", f"ptv{number}", f"T1 {number} mm", f"{number}Gy"):
        assert str(number) not in clean_text(text)


def test_coded_strings_are_defined_terms_or_words():
    for value in (
        "AXIAL",
        "M_FFE",
        "ISO_IR 192",
        "CLOSED_PLANAR",
        "T1",
        "F",
        "ORIGINAL",
        "DIFFUSION",
        "12",
        "HEADNECK",
    ):
        assert clean_code(value), value
    for value in ("SMITH", "12345678", "1945", "JOHN SMITH", "BRAIN SMITH", "smith"):
        assert not clean_code(value), value
