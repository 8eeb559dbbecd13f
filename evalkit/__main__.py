"""`python -m evalkit` is the command `evalkit`."""

import sys

from evalkit.cli import main

sys.exit(main())
