"""The one family of errors that tumortwin raises on purpose.

Every message names what was wrong, the value and the file, and what to do about it.
"""


class TumorTwinError(Exception):
    """Anything that tumortwin refuses to do."""


class InputError(TumorTwinError, ValueError):
    """A value given by the caller cannot be used."""


class ReadError(InputError):
    """A file or folder given by the caller cannot be used."""


class LabelError(ReadError):
    """The values of a label file are not named: by no table or scheme, or by one that does not know them."""


class OutputExistsError(TumorTwinError, FileExistsError):
    """The output is there already and replacing it was not asked for."""


class StrictError(TumorTwinError):
    """A finding that would have been reported was turned into an error by ``strict=True``."""


class NetworkError(TumorTwinError):
    """A peer could not be reached, refused, broke off, or answered with something else than was asked for."""


class Cancelled(TumorTwinError):
    """The caller cancelled a long computation."""
