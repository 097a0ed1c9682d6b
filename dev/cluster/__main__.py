"""Command line of the local cluster; `python -m dev.cluster --help`."""

from __future__ import annotations

import argparse
import datetime
import shutil
from pathlib import Path

from dev.cache import lock
from dev.cluster import external, kind, native, network, nodes
from dev.cluster.current import Cluster, current, default_name
from dev.cluster.layout import DEFAULT_NAME, state_root
from dev.cluster.state import State, free_index, known, load
from dev.console import SetupError, Steps, main_or_exit, say


def main() -> None:
    """Run one command."""
    args = _parser().parse_args()
    match args.command:
        case "up":
            with lock(f"cluster-{args.name or default_name()}"):
                up(args.name, args.fake_nodes, second_node=args.second_node)
        case "down":
            with lock(f"cluster-{args.name or default_name()}"):
                down(args.name)
        case "status":
            status()
        case "env":
            env(args.name)
        case "node-add":
            print(nodes.add(current(args.name)).name)
        case "node-remove":
            nodes.remove(current(args.name), args.node)
        case "node-cut" | "node-heal":
            node = nodes.removable(current(args.name), args.node)
            network.set_cable(node, connected=args.command == "node-heal")


def up(name: str | None, fake_nodes: int | None, *, second_node: bool = False) -> None:
    """Bring the cluster up by the first provider that can; nothing happens when it is up."""
    state = (external.named() if name is None else None) or load(name or default_name())
    state = state or _choose(name or default_name())
    if state.provider == "native":
        _native_up(state, fake_nodes, second_node=second_node)
    elif fake_nodes or second_node:
        raise SetupError(f"fake and extra nodes are for native clusters; this one is {state.provider}")
    else:
        Cluster.of(state).kubectl("get", "--raw", "/readyz")
        if state.started:
            say(f"cluster: context '{state.context}' is up already")
        else:
            state.started = _now()
            state.save()


def down(name: str | None) -> None:
    """Remove the cluster; nothing happens when there is none, or when it is somebody else's."""
    if name is None and external.named():
        say("cluster: that of POPULATE_KUBECONFIG is somebody else's and stays as it is")
        return
    state = load(name or default_name())
    if state is None:
        say(f"cluster: no '{name or default_name()}' here")
        return
    steps = Steps("cluster", 1)
    if state.provider == "native":
        native.down(state)
    else:
        kind.delete(kind.cluster_name(state.name), kind.engine() or kind.ENGINES[0])
        shutil.rmtree(state.directory)
    if not any(state_root().iterdir()):
        state_root().rmdir()
    steps.step(f"'{state.name}' is gone")


def status() -> None:
    """Print a line for each cluster, and the nodes of those that answer."""
    for state in [*filter(None, [external.named()]), *known()]:
        print(f"{state.name}: {state.provider}, context {state.context}, up since {state.started or '-'}")
        try:
            print(Cluster.of(state).kubectl("get", "nodes", "-o", "wide"))
        except SetupError as error:
            print(f"  not ready: {error}")


def env(name: str | None) -> None:
    """Print shell lines for eval."""
    cluster = current(name)
    print(f"export KUBECONFIG={cluster.kubeconfig}")
    print(f"export PATH={Path(cluster.kubectl_command()[0]).parent}:$PATH")


def _native_up(state: State, fake_nodes: int | None, *, second_node: bool) -> None:
    state.fake_nodes = state.fake_nodes if fake_nodes is None else fake_nodes
    if second_node and len(state.nodes) == 1:
        state.nodes.append(2)
    if state.started and load(state.name) == state and native.is_up(state):
        say(f"cluster: '{state.name}' is up already")
        return
    native.up(state)
    state.started = state.started or _now()
    state.save()


def _choose(name: str) -> State:
    """Kind if a container engine can, else native, and why in one line."""
    reason = "no container engine answers here"
    if engine := kind.engine():
        cluster = kind.cluster_name(name)
        kubeconfig = state_root() / name / "kubeconfig"
        kubeconfig.parent.mkdir(parents=True, exist_ok=True)
        try:
            kind.create(cluster, engine, kubeconfig)
        except SetupError as error:
            reason = f"{engine} answers but kind does not work: {str(error).splitlines()[0]}"
        else:
            say(f"cluster: kind on {engine}")
            return State(name, "kind", f"kind-{cluster}", str(kubeconfig))
    say(f"cluster: {reason}, so Kubernetes runs natively on this machine")
    index = 0 if name == DEFAULT_NAME else free_index(network.ip("-4", "route"))
    state = State(name, "native", "", "", index=index)
    layout = state.layout()
    state.context, state.kubeconfig = layout.context, str(layout.kubeconfig)
    return state


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m dev.cluster", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for command in ("up", "down", "status", "env", "node-add", "node-remove", "node-cut", "node-heal"):
        sub = commands.add_parser(command)
        sub.add_argument("--name", help="a cluster of our own (default: POPULATE_CLUSTER, else 'default')")
        if command == "up":
            sub.add_argument("--fake-nodes", type=int, help="kwok nodes to have (default: as before)")
            sub.add_argument("--second-node", action="store_true", help="a second real node")
        if command in ("node-remove", "node-cut", "node-heal"):
            sub.add_argument("--node", type=int, default=2, help="its number, from 2")
    return parser


if __name__ == "__main__":
    main_or_exit(main)
