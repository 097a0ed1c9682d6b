"""How one operator process is set up: command-line flags, each with an environment variable for the chart."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from populate_operator import __version__
from populate_operator.queue.threads import MOST

LogFormat = Literal["json", "console"]


@dataclass(frozen=True, slots=True)
class Settings:
    """One operator process."""

    namespaces: tuple[str, ...]  # served namespaces; empty serves the whole cluster
    own_namespace: str  # where the operator runs: its Lease, and its UID names the installation
    identity: str  # this replica, as the holder of the Lease
    health_port: int  # /livez, /readyz and /metrics
    log_format: LogFormat
    log_level: str
    database_threads: int  # blocking calls of passes to one database server at once
    api_concurrency: int  # Kubernetes calls at once


def parse_settings(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> Settings:
    """Read flags, then `POPULATE_*` variables, then defaults.

    Raises SystemExit, as argparse does: with status 2 and a message that names the flag, or 0 after --help.
    """
    parser = argparse.ArgumentParser(
        prog="populate-operator",
        description="Populates DataJoint tables: one pod per job, outcomes in the table's own job queue.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")

    def flag(name: str, default: str, text: str, **options: object) -> None:
        variable = "POPULATE_" + name.upper().replace("-", "_")
        parser.add_argument(
            f"--{name}",
            default=environment.get(variable) or default,
            help=f"{text} (${variable}; default: {default or 'none'})",
            **options,  # type: ignore[arg-type]
        )

    flag("namespaces", "", "namespaces to serve, comma-separated; none serves the whole cluster")
    flag("own-namespace", "populate-operator", "the namespace that this process runs in")
    flag("identity", os.uname().nodename, "this replica's name in the Lease")
    flag("health-port", "8080", "port of /livez, /readyz and /metrics; 0 picks a free one", type=_port)
    flag("log-format", "json", "json or console", choices=("json", "console"))
    flag("log-level", "info", "debug, info, warning or error", choices=("debug", "info", "warning", "error"))
    calls = "calls at once to a database server; half as many more may take long"
    flag("database-threads", "16", calls, type=_database_threads)
    flag("api-concurrency", "32", "Kubernetes API calls at once", type=_positive)
    parsed = vars(parser.parse_args(arguments))
    namespaces = tuple(name.strip() for name in parsed.pop("namespaces").split(",") if name.strip())
    return Settings(namespaces=namespaces, **parsed)


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {value}")
    return value


def _database_threads(text: str) -> int:
    value = _positive(text)
    if value > MOST:
        raise argparse.ArgumentTypeError(f"must be at most {MOST}, not {value}")
    return value


def _port(text: str) -> int:
    value = int(text)
    if not 0 <= value <= 65535:
        raise argparse.ArgumentTypeError(f"must be a port between 0 and 65535, not {value}")
    return value
