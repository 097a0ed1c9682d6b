"""Start the operator: `populate-operator`, or `python -m populate_operator`.

Imports of more than the standard library wait for `main`: they take seconds, in which SIGTERM must be heard.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys


def main() -> None:
    """Run until SIGTERM. Exits with status 1 when the lease was lost, so that Kubernetes starts it afresh."""
    # As the first process of its container it is sent no signal without a handler. Nothing is held as yet.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    status = _run()
    # A database thread may be in the middle of a long statement, which the server ends or rolls back by
    # itself; a normal exit would wait for it, past the time that Kubernetes grants.
    logging.shutdown()
    sys.stderr.flush()
    os._exit(status)


def _run() -> int:
    """The exit status."""
    from populate_operator.leader import LeadershipLost
    from populate_operator.logs import configure_logs
    from populate_operator.pods.errors import ApiError
    from populate_operator.process import serve
    from populate_operator.settings import parse_settings

    settings = parse_settings(sys.argv[1:])
    configure_logs(settings.log_format, settings.log_level)
    try:
        # Not closed: that waits without limit for asyncio's own threads, and one that asks a silent DNS for
        # a name cannot be ended.
        asyncio.Runner().run(serve(settings))
    except (LeadershipLost, ApiError) as error:
        print(f"populate-operator: {error}", file=sys.stderr)
        return 1
    except Exception:
        logging.getLogger(__name__).exception("the operator ended by an error")
        return 1
    return 0


if __name__ == "__main__":
    main()
