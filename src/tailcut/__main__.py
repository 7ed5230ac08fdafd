"""`python -m tailcut` is `tailcut`."""

from __future__ import annotations

import sys

from tailcut.interrupts import leaving_at_once


def main() -> int:
    """The command line, imported with an eye on Ctrl-C."""
    with leaving_at_once():
        from tailcut import cli
    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
