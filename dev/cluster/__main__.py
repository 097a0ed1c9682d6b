"""Command line of the local cluster; `python -m dev.cluster --help`."""

from __future__ import annotations

import argparse
import datetime
import os

from dev.cache import lock
from dev.cluster import external, kind, native, network, nodes, tools
from dev.cluster.current import current
from dev.cluster.layout import DEFAULT_NAME, state_root
from dev.cluster.state import State, free_index, known, load
from dev.console import SetupError, Steps, main_or_exit, say


def main() -> None:
    """Run one command."""
    args = _parser().parse_args()
    match args.command:
        case "up":
            with lock(f"cluster-{args.name}"):
                up(args.name, args.fake_nodes, second_node=args.second_node)
        case "down":
            with lock(f"cluster-{args.name}"):
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


def up(name: str, fake_nodes: int | None, *, second_node: bool = False) -> None:
    """Bring the cluster up by the first provider that can; nothing happens when it is up."""
    state = load(name) or _choose(name)
    if fake_nodes is not None and state.provider == "native":
        state.fake_nodes = fake_nodes
    if second_node and len(state.nodes) == 1:
        state.nodes.append(2)
    if state.provider == "native":
        if state.started and native.is_up(state) and load(name) == state:
            say(f"cluster: '{name}' is up already")
            return
        state.save()
        native.up(state)
    state.started = state.started or datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    state.save()


def down(name: str) -> None:
    """Remove the cluster; nothing happens when there is none, and a foreign one is only forgotten."""
    state = load(name)
    if state is None:
        say(f"cluster: no '{name}' here")
        return
    steps = Steps("cluster", 1)
    if state.provider == "native":
        native.down(state)
    else:
        if state.provider == "kind":
            kind.delete(kind.cluster_name(name), kind.engine() or kind.ENGINES[0])
        for file in state.directory.iterdir():
            file.unlink()
        state.directory.rmdir()
    if state_root().exists() and not any(state_root().iterdir()):
        state_root().rmdir()
    steps.step(f"'{name}' is gone")


def status() -> None:
    """Print a line for each cluster, and the nodes of those that answer."""
    for state in known():
        print(f"{state.name}: {state.provider}, context {state.context}, up since {state.started or '-'}")
        try:
            print(current(state.name).kubectl("get", "nodes", "-o", "wide"))
        except SetupError as error:
            print(f"  not ready: {error}")


def env(name: str) -> None:
    """Print shell lines for eval."""
    cluster = current(name)
    print(f"export KUBECONFIG={cluster.kubeconfig}")
    print(f"export PATH={tools.binary('kubectl').parent}:$PATH")


def _choose(name: str) -> State:
    """External if named, else kind if an engine can, else native: said in one line."""
    if chosen := external.chosen_context():
        file, context = chosen
        say(f"cluster: using context '{context}' of POPULATE_KUBECONFIG")
        return State(name, "external", context, str(file.resolve()))
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m dev.cluster", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for command in ("up", "down", "status", "env", "node-add", "node-remove", "node-cut", "node-heal"):
        sub = commands.add_parser(command)
        default = os.environ.get("POPULATE_CLUSTER") or DEFAULT_NAME
        sub.add_argument("--name", default=default, help="which cluster; others live beside 'default'")
        if command == "up":
            sub.add_argument("--fake-nodes", type=int, help="kwok nodes to have (default: as before)")
            sub.add_argument("--second-node", action="store_true", help="a second real node")
        if command in ("node-remove", "node-cut", "node-heal"):
            sub.add_argument("--node", type=int, default=2, help="its number, from 2")
    return parser


if __name__ == "__main__":
    main_or_exit(main)
