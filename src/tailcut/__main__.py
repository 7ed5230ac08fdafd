"""`python -m tailcut` is `tailcut`."""

import sys

from tailcut.cli import main

sys.exit(main())
