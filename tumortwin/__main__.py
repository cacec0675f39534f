"""``python -m tumortwin`` is the command line."""

import sys

from tumortwin.cli import main

sys.exit(main())
