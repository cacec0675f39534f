"""The command line. Each command imports what it needs itself: ``--version`` and a typing error answer at once."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from tumortwin.cli.parser import make_parser
from tumortwin.errors import TumorTwinError
from tumortwin.progress import TqdmProgress


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        In place of ``sys.argv[1:]``.

    Returns
    -------
    int
        0 if all went well, 2 if something cannot be done (one message on stderr), 130 if interrupted, 141 if the
        output was closed.
    """
    options = make_parser().parse_args(arguments)
    progress = TqdmProgress(hidden=not sys.stderr.isatty())
    try:
        options.do(options, progress)
        sys.stdout.flush()
    except TumorTwinError as error:
        progress.close()
        print(f"tumortwin: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # whoever read our output has seen enough, as `head` does: what is left to say goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        # a disk that is full, a folder that may not be written: the user's to mend, not a bug
        progress.close()
        print(
            f"tumortwin: {error.strerror or error}: {error.filename or 'a file'}: choose another place, or make room "
            "and rights",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        progress.close()
        print("tumortwin: interrupted; no file is half-written, and what was finished is kept", file=sys.stderr)
        return 130
    progress.close()
    return 0
