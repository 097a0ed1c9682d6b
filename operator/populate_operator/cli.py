"""`kubectl populate`: shortcuts for a PopulateQueue, on top of kubectl and its own configuration.

kubectl does the talking, so contexts, namespaces and plugins of authentication are the user's own.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

from populate_operator import __version__
from populate_operator.unblock import QUEUES, UnblockError, unblock

RESOURCE = QUEUES
REFRESH_ANNOTATION = "populate.datajoint.io/refresh"


def parse_command(arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """The command, and the flags that are kubectl's affair.

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
    text = "after the operator is gone for good: let its queues and pods be deleted"
    command = commands.add_parser("unblock", help=text, description=text)
    command.add_argument("-n", "--namespace", help="the namespace; the context's own by default")
    command.add_argument("-A", "--all-namespaces", action="store_true", help="every namespace")
    command.add_argument("--force", action="store_true", help="though an operator runs, for others")
    return parser.parse_known_args(arguments)


def build_command(parsed: argparse.Namespace, for_kubectl: Sequence[str]) -> list[str]:
    """The one kubectl command line that carries out any command but `unblock`."""
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
    """Replace this process by kubectl, or end when everything is unblocked."""
    parsed, for_kubectl = parse_command(sys.argv[1:])
    try:
        if parsed.command == "unblock":
            _unblock(parsed, ["kubectl", *for_kubectl])
        else:
            command = build_command(parsed, for_kubectl)
            os.execvp(command[0], command)  # noqa: S606 - the arguments are a list, no shell reads them
    except FileNotFoundError:
        sys.exit("kubectl populate: kubectl is not on the PATH; install it first")
    except UnblockError as error:
        sys.exit(f"kubectl populate: {error}")


def _unblock(parsed: argparse.Namespace, kubectl: list[str]) -> None:
    scope = ["-A"] if parsed.all_namespaces else ["-n", parsed.namespace] if parsed.namespace else []
    for name in unblock(scope, force=parsed.force, now=datetime.now(UTC), kubectl=kubectl):
        print(f"released {name}")


if __name__ == "__main__":
    main()
