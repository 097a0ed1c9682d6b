"""`kubectl populate`: which kubectl command each shortcut becomes."""

from __future__ import annotations

import pytest

from populate_operator.cli import RESOURCE, VALUE_FLAGS, build_command, parse_command


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


@pytest.mark.parametrize(
    "flags",
    [
        *(["-n", "lab"], ["--namespace", "lab"], ["-nlab"], ["--namespace=lab"], ["-n=lab"]),
        *(["--context", "there"], ["--cluster", "c"], ["--user", "u"], ["--kubeconfig", "file"]),
        *(["-s", "https://there"], ["--server=https://there"], ["--token", "t"], ["--request-timeout", "5s"]),
        *(["--as", "John Doe", "--as-group", "g"], ["--as=John Doe"], ["--insecure-skip-tls-verify"]),
        *(["--dry-run=server"], ["-o", "name"], ["-v", "6"], ["-n", "refresh"], ["-n", "--force"]),
    ],
    ids=" ".join,
)
def test_kubectls_flags_are_handed_on_wherever_they_stand(flags: list[str]) -> None:
    for arguments in (
        ["suspend", *flags, "spikes"],
        ["suspend", "spikes", *flags],
        [*flags, "suspend", "spikes"],
    ):
        parsed, for_kubectl = parse_command(arguments)
        assert (parsed.command, parsed.queue, for_kubectl) == ("suspend", "spikes", flags)


def test_flags_before_and_after_the_name() -> None:
    parsed, for_kubectl = parse_command(["status", "-n", "lab", "spikes", "--context", "there", "--v=6"])
    assert parsed.queue == "spikes"
    assert for_kubectl == ["-n", "lab", "--context", "there", "--v=6"]


def test_no_flag_of_kubectls_is_ours_abbreviated() -> None:
    parsed, for_kubectl = parse_command(["unblock", "--all", "--for", "--vers"])
    assert (parsed.all_namespaces, parsed.force) == (False, False)
    assert for_kubectl == ["--all", "--for", "--vers"]


def test_a_flag_without_its_value_is_left_to_kubectl() -> None:
    assert parse_command(["suspend", "spikes", "-n"])[1] == ["-n"]


def test_flags_with_a_value_are_kubectls_and_not_ours() -> None:
    assert not VALUE_FLAGS & {"-h", "--help", "--version", "-A", "--all-namespaces", "--force"}


def test_unblock_keeps_its_scope_and_hands_other_flags_to_kubectl() -> None:
    parsed, for_kubectl = parse_command(["unblock", "-n", "lab", "--force", "-A", "--context=there"])
    assert (parsed.all_namespaces, parsed.force) == (True, True)
    assert for_kubectl == ["-n", "lab", "--context=there"]
