"""`python -m deformconv.cli`: the command, where it is not installed."""

import sys

from deformconv.cli import main

sys.exit(main())
