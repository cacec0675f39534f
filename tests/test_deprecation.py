"""Old public names still work, and say what they are called now."""

import importlib

import pytest

RENAMED = [
    ("tumortwin.imaging", "Sequence", "MRSequence"),
    ("tumortwin.imaging.sequence", "Sequence", "MRSequence"),
    ("tumortwin.geometry", "Front", "OutlineDensity"),
    ("tumortwin.geometry", "lay_atlas", "register_atlas"),
    ("tumortwin.planning", "Tick", "ConstraintCheck"),
]


@pytest.mark.parametrize(("module", "old", "new"), RENAMED)
def test_the_old_name_is_the_new_value_with_a_warning(module, old, new):
    home = importlib.import_module(module)
    with pytest.warns(DeprecationWarning, match=new):
        value = getattr(home, old)
    assert value is getattr(home, new)


def test_a_name_that_never_was_is_an_attribute_error():
    with pytest.raises(AttributeError, match="Nonsense"):
        importlib.import_module("tumortwin.imaging").Nonsense  # noqa: B018
