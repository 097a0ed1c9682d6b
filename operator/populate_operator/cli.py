"""`kubectl populate`: shortcuts for a PopulateQueue, on top of kubectl and its own configuration.

kubectl does the talking, so contexts, namespaces and plugins of authentication are the user's own.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from itertools import islice

from populate_operator import __version__
from populate_operator.unblock import QUEUES, UnblockError, unblock

RESOURCE = QUEUES
REFRESH_ANNOTATION = "populate.datajoint.io/refresh"

# kubectl's flags that may be followed by their value, of `kubectl options` and of the commands used here.
# Left to argparse, that value would be taken for the queue's name.
VALUE_FLAGS = frozenset(
    {
        "-n", "--namespace", "-s", "--server", "-o", "--output", "-v", "--v",
        "--as", "--as-group", "--as-uid", "--as-user-extra", "--cache-dir", "--certificate-authority",
        "--chunk-size", "--client-certificate", "--client-key", "--cluster", "--context", "--field-manager",
        "--kubeconfig", "--kuberc", "--log-flush-frequency", "--password", "--profile", "--profile-output",
        "--request-timeout", "--resource-version", "--template", "--tls-server-name", "--token", "--user",
        "--username", "--vmodule",
    }
)  # fmt: skip


def parse_command(arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """The command, and the flags that are kubectl's affair.

    Raises SystemExit, as argparse does, for unknown commands and missing names.
    """
    epilog = "Other flags, such as --namespace and --context, go to kubectl."
    parser = argparse.ArgumentParser(
        prog="kubectl populate", description="Shortcuts for queues.", epilog=epilog, allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=text, epilog=epilog, allow_abbrev=False)

    for name, text in {
        "refresh": "look for new keys now instead of at the next interval",
        "suspend": "start nothing new; running pods finish",
        "resume": "start jobs again",
        "status": "progress, conditions and the latest errors",
    }.items():
        add(name, text).add_argument("queue", help="name of the PopulateQueue")
    command = add("unblock", "after the operator is gone for good: let its queues and pods be deleted")
    command.add_argument("-A", "--all-namespaces", action="store_true", help="every namespace")
    command.add_argument("--force", action="store_true", help="though an operator runs, for others")
    ours, for_kubectl = split_flags(arguments)
    parsed, others = parser.parse_known_args(ours)
    return parsed, [*for_kubectl, *others]


def split_flags(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """What is left for us, and kubectl's flags that have a value, each as it was given."""
    ours: list[str] = []
    flags: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        name, equals, _ = argument.partition("=")
        if name in VALUE_FLAGS:
            flags += [argument] if equals else [argument, *islice(rest, 1)]
        elif not argument.startswith("--") and argument[:2] in VALUE_FLAGS:  # -nlab
            flags.append(argument)
        else:
            ours.append(argument)
    return ours, flags


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
    scope = ["-A"] if parsed.all_namespaces else []
    for name in unblock(scope, force=parsed.force, kubectl=kubectl):
        print(f"released {name}", flush=True)


if __name__ == "__main__":
    main()
