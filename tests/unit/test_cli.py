"""`kubectl populate`: which kubectl command each shortcut becomes."""

from __future__ import annotations

import pytest

from populate_operator.cli import RESOURCE, build_command


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
    assert build_command(arguments) == ["kubectl", *expected]


@pytest.mark.parametrize(
    ("arguments", "complaint"), [([], "COMMAND"), (["refresh"], "queue"), (["fly", "x"], "fly")]
)
def test_bad_commands_are_named(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        build_command(arguments)
    assert complaint in capsys.readouterr().err
