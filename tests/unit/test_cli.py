"""`kubectl populate`: which kubectl command each shortcut becomes."""

from __future__ import annotations

import pytest

from populate_operator.cli import RESOURCE, build_command, parse_command


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            ["refresh", "sorting"],
            ["annotate", "--overwrite", RESOURCE, "sorting", "populate.datajoint.io/refresh=now"],
        ),
        (
            ["suspend", "sorting"],
            ["patch", RESOURCE, "sorting", "--type=merge", '--patch={"spec": {"suspend": true}}'],
        ),
        (
            ["resume", "sorting"],
            ["patch", RESOURCE, "sorting", "--type=merge", '--patch={"spec": {"suspend": false}}'],
        ),
        (["status", "sorting", "-n", "lab"], ["describe", RESOURCE, "sorting", "-n", "lab"]),
    ],
)
def test_each_shortcut_is_one_kubectl_command(arguments: list[str], expected: list[str]) -> None:
    assert build_command(*parse_command(arguments)) == ["kubectl", *expected]


@pytest.mark.parametrize(
    ("arguments", "complaint"), [([], "COMMAND"), (["refresh"], "queue"), (["fly", "x"], "fly")]
)
def test_bad_commands_are_named(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parse_command(arguments)
    assert complaint in capsys.readouterr().err


def test_unblock_keeps_its_scope_and_hands_other_flags_to_kubectl() -> None:
    parsed, for_kubectl = parse_command(["unblock", "-n", "lab", "--force", "--context=there"])
    assert (parsed.namespace, parsed.all_namespaces, parsed.force) == ("lab", False, True)
    assert for_kubectl == ["--context=there"]
