"""Start the operator: `populate-operator`, or `python -m populate_operator`."""

from __future__ import annotations

import asyncio
import sys

from populate_operator.leader import LeadershipLost
from populate_operator.logs import configure_logs
from populate_operator.process import serve
from populate_operator.settings import parse_settings


def main() -> None:
    """Run until SIGTERM. Exits with status 1 when the lease was lost, so that Kubernetes starts it afresh."""
    settings = parse_settings(sys.argv[1:])
    configure_logs(settings.log_format, settings.log_level)
    try:
        asyncio.run(serve(settings))
    except LeadershipLost as error:
        sys.exit(f"populate-operator: {error}")


if __name__ == "__main__":
    main()
