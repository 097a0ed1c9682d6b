"""Start the operator: `populate-operator`, or `python -m populate_operator`."""

from __future__ import annotations

import asyncio
import logging
import os
import sys

from populate_operator.leader import LeadershipLost
from populate_operator.logs import configure_logs
from populate_operator.pods.errors import ApiError
from populate_operator.process import serve
from populate_operator.settings import parse_settings


def main() -> None:
    """Run until SIGTERM. Exits with status 1 when the lease was lost, so that Kubernetes starts it afresh."""
    settings = parse_settings(sys.argv[1:])
    configure_logs(settings.log_format, settings.log_level)
    status = 0
    try:
        asyncio.run(serve(settings))
    except (LeadershipLost, ApiError) as error:
        print(f"populate-operator: {error}", file=sys.stderr)
        status = 1
    except Exception:
        logging.getLogger(__name__).exception("the operator ended by an error")
        status = 1
    # A database thread may be in the middle of a long statement, which the server ends or rolls back by
    # itself; a normal exit would wait for it, past the time that Kubernetes grants.
    logging.shutdown()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    main()
