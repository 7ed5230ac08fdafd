"""`python -m tailcut` is `tailcut`."""

from __future__ import annotations

import sys

from tailcut.cli.interrupts import leaving_at_once


def main() -> int:
    """The command line, imported with an eye on Ctrl-C."""
    with leaving_at_once():
        from tailcut.cli.main import main as cli
    return cli()


if __name__ == "__main__":
    sys.exit(main())
