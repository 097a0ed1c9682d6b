"""Start the operator: `populate-operator`, or `python -m populate_operator`."""

from __future__ import annotations

import sys

from populate_operator.settings import parse_settings


def main() -> None:
    """Run until SIGTERM."""
    parse_settings(sys.argv[1:])


if __name__ == "__main__":
    main()
