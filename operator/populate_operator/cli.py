"""`kubectl populate`: shortcuts for a PopulateQueue, on top of kubectl and its own configuration.

kubectl does the talking, so contexts, namespaces and plugins of authentication are the user's own.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence

from populate_operator import __version__

RESOURCE = "populatequeues.populate.datajoint.io"
REFRESH_ANNOTATION = "populate.datajoint.io/refresh"


def build_command(arguments: Sequence[str]) -> list[str]:
    """The kubectl command line that carries out `arguments`.

    Raises SystemExit, as argparse does, for unknown commands and missing names.
    """
    parser = argparse.ArgumentParser(
        prog="kubectl populate", description="Shortcuts for PopulateQueues; other flags go to kubectl."
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in {
        "refresh": "look for new keys now instead of at the next interval",
        "suspend": "start nothing new; running pods finish",
        "resume": "start jobs again",
        "status": "progress, conditions and the latest errors",
    }.items():
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("queue", help="name of the PopulateQueue")
    parsed, for_kubectl = parser.parse_known_args(arguments)
    return ["kubectl", *_verb(parsed.command, parsed.queue), *for_kubectl]


def _verb(command: str, queue: str) -> list[str]:
    match command:
        case "refresh":
            return ["annotate", "--overwrite", RESOURCE, queue, f"{REFRESH_ANNOTATION}=now"]
        case "suspend" | "resume":
            patch = json.dumps({"spec": {"suspend": command == "suspend"}})
            return ["patch", RESOURCE, queue, "--type=merge", f"--patch={patch}"]
        case _:
            return ["describe", RESOURCE, queue]


def main() -> None:
    """Replace this process by kubectl."""
    command = build_command(sys.argv[1:])
    try:
        os.execvp(command[0], command)  # noqa: S606 - the arguments are a list, no shell reads them
    except FileNotFoundError:
        sys.exit("kubectl populate: kubectl is not on the PATH; install it first")


if __name__ == "__main__":
    main()
