"""The decisions of dev/cluster that need no cluster.

- a foreign cluster is used only when file and context are both named, and they exist
- clusters on one machine share no address, and their names fit where the kernel is narrow
- an address range in use is left alone, a port once chosen is kept
- a program's place in the cache changes with what it is built from
- the pause image is an archive of one program
- fake nodes keep real pods away
- a test selection asks for no more than it needs
"""

from __future__ import annotations

import io
import json
import socket
import tarfile
from pathlib import Path

import pytest
import yaml

from dev.check import Needs
from dev.cluster import external, fake_nodes, layout, node_images, state, tools
from dev.cluster.layout import Layout
from dev.cluster.state import State
from dev.console import SetupError


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Path:
    file = tmp_path / "kubeconfig"
    file.write_text(yaml.safe_dump({"contexts": [{"name": "lab"}, {"name": "production"}]}))
    return file


@pytest.fixture
def state_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(state, "state_root", lambda: tmp_path)
    return tmp_path


def test_no_variable_means_a_cluster_of_our_own() -> None:
    assert external.named({}) is None
    assert external.named({"POPULATE_KUBECONTEXT": "lab"}) is None


def test_foreign_context_that_is_named_is_used(kubeconfig: Path) -> None:
    found = external.named({"POPULATE_KUBECONFIG": str(kubeconfig), "POPULATE_KUBECONTEXT": "lab"})
    assert found is not None
    assert (found.provider, found.context, found.kubeconfig) == ("external", "lab", str(kubeconfig))


@pytest.mark.parametrize(
    ("context", "message"),
    [
        (None, "name the context on purpose with POPULATE_KUBECONTEXT .*lab, production"),
        ("labb", "only: lab"),
    ],
)
def test_foreign_context_that_is_not_named_is_refused(
    kubeconfig: Path, context: str | None, message: str
) -> None:
    environment = {"POPULATE_KUBECONFIG": str(kubeconfig)}
    environment |= {"POPULATE_KUBECONTEXT": context} if context else {}
    with pytest.raises(SetupError, match=message):
        external.named(environment)


def test_missing_kubeconfig_is_named(tmp_path: Path) -> None:
    environment = {"POPULATE_KUBECONFIG": str(tmp_path / "absent"), "POPULATE_KUBECONTEXT": "lab"}
    with pytest.raises(SetupError, match=r"absent, which is no file"):
        external.named(environment)


def test_clusters_share_no_address() -> None:
    layouts = [Layout(f"c{index}", index, Path()) for index in range(layout.MAX_CLUSTERS)]
    networks = [network for one in layouts for network in (one.nodes, one.pods, one.services)]
    assert not [(a, b) for i, a in enumerate(networks) for b in networks[i + 1 :] if a.overlaps(b)]


def test_nodes_of_a_cluster_share_no_pod_network() -> None:
    cluster = Layout("default", 0, Path())
    nodes = [cluster.node(number) for number in range(1, 10)]
    assert len({node.pods for node in nodes}) == len({node.address for node in nodes}) == 9
    assert all(node.pods.subnet_of(cluster.pods) and node.address in cluster.nodes for node in nodes)


def test_link_names_fit_the_kernel() -> None:
    last = Layout("a-cluster-of-a-rather-long-name", layout.MAX_CLUSTERS - 1, Path())
    assert max(len(name) for name in (last.bridge, last.node(9).link)) <= 15


def test_free_index_leaves_others_alone(state_root: Path) -> None:
    State("default", "native", "populate", "kubeconfig", index=0).save()
    assert state.free_index("") == 1
    assert state.free_index("10.129.0.0/16 via 192.0.2.1 dev eth0") == 2


def test_port_is_chosen_once(state_root: Path) -> None:
    ours = State("default", "native", "populate", "kubeconfig")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        chosen = ours.port("api", "127.0.0.1", number)
    assert chosen != number
    again = state.load("default")
    assert again is not None
    assert again.port("api", "127.0.0.1", number) == chosen


def test_place_in_the_cache_follows_the_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POPULATE_CACHE", str(tmp_path / "cache"))
    module = tmp_path / "tools"
    (module / "pause").mkdir(parents=True)
    for name in ("go.mod", "go.sum", "pause/main.go"):
        (module / name).write_text("first")
    monkeypatch.setattr(tools, "MODULE", module)
    before = {name: tools.folder_of(name) for name in ("kubelet", "pause")}
    (module / "pause" / "main.go").write_text("second")
    assert tools.folder_of("kubelet") == before["kubelet"]
    assert tools.folder_of("pause") != before["pause"]
    (module / "go.sum").write_text("second")
    assert tools.folder_of("kubelet") != before["kubelet"]


def test_kubernetes_version_comes_from_the_module() -> None:
    assert tools.kubernetes_version().startswith("v1.")


def test_pause_image_is_an_archive_of_one_program(tmp_path: Path) -> None:
    program, archive = tmp_path / "pause", tmp_path / "pause.tar"
    program.write_bytes(b"\x7fELF")
    node_images.write_single_binary_archive(program, node_images.PAUSE, archive)
    with tarfile.open(archive) as outer:
        files = {name: outer.extractfile(name) for name in outer.getnames()}
        contents = {name: file.read() for name, file in files.items() if file}
    manifest = json.loads(contents["manifest.json"])[0]
    assert manifest["RepoTags"] == [node_images.PAUSE]
    assert json.loads(contents["config.json"])["config"]["Entrypoint"] == ["/pause"]
    with tarfile.open(fileobj=io.BytesIO(contents[manifest["Layers"][0]])) as layer:
        member = layer.getmember("pause")
    assert (member.size, member.mode) == (4, 0o755)


def test_fake_nodes_keep_real_pods_away() -> None:
    node = fake_nodes.build_node("fake-1")
    assert node["spec"] == {
        "taints": [{"key": "kwok.x-k8s.io/node", "value": "fake", "effect": "NoSchedule"}]
    }


@pytest.mark.parametrize(
    ("arguments", "cluster", "images"),
    [
        (["tests"], True, True),
        ([], True, True),
        (["-k", "retry"], True, True),
        (["tests/unit"], False, False),
        (["tests/unit/dev/test_cluster.py::test_fake_nodes_keep_real_pods_away", "-x"], False, False),
        (["tests/integration"], True, False),
        (["tests/unit", "tests/integration"], True, False),
        (["tests/integration", "tests/e2e"], True, True),
    ],
)
def test_selection_asks_for_no_more_than_it_needs(arguments: list[str], cluster: bool, images: bool) -> None:
    assert Needs.of(arguments) == Needs(cluster, images)
