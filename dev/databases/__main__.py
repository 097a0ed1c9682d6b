"""`python -m dev.databases start | stop | env | status`: MySQL and MariaDB for development.

`start` and `env` print shell lines for eval, which also make the tests use these servers.
"""

from __future__ import annotations

import argparse

from dev.console import main_or_exit
from dev.databases import persistent
from dev.databases.server import Server


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m dev.databases", description=__doc__)
    parser.add_argument("command", choices=["start", "stop", "env", "status"])
    match parser.parse_args().command:
        case "start":
            print(exports(persistent.start()))
        case "stop":
            persistent.stop()
        case "env":
            print(exports(persistent.running()))
        case "status":
            print(status(persistent.running()))


def exports(servers: list[Server]) -> str:
    return "\n".join(f"export POPULATE_TEST_{server.kind.upper()}_URL='{server.url}'" for server in servers)


def status(servers: list[Server]) -> str:
    lines = [f"{server.kind} {server.version} on {server.host}:{server.port}" for server in servers]
    return "\n".join(lines) or "no server runs: python -m dev.databases start"


if __name__ == "__main__":
    main_or_exit(main)
