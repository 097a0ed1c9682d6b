"""Settings of the operator process.

Cases: defaults; environment; a flag beats the environment; bad values name the flag.
"""

from __future__ import annotations

import pytest

from populate_operator.settings import parse_settings


def test_defaults_serve_the_whole_cluster() -> None:
    settings = parse_settings([], {})
    assert settings.namespaces == ()
    assert (settings.health_port, settings.log_format) == (8080, "json")
    assert settings.identity


def test_environment_sets_what_the_chart_passes() -> None:
    settings = parse_settings([], {"POPULATE_NAMESPACES": "lab-a, lab-b", "POPULATE_DATABASE_THREADS": "4"})
    assert settings.namespaces == ("lab-a", "lab-b")
    assert settings.database_threads == 4


def test_a_flag_beats_the_environment() -> None:
    assert parse_settings(["--health-port=9000"], {"POPULATE_HEALTH_PORT": "1"}).health_port == 9000


@pytest.mark.parametrize(
    ("flag", "remedy"),
    [
        ("--health-port=70000", "between 0 and 65535"),
        ("--database-threads=0", "at least 1"),
        ("--database-threads=22", "at most 21"),
        ("--api-concurrency=many", "invalid"),
        ("--log-format=xml", "json"),
    ],
)
def test_bad_values_name_the_flag(flag: str, remedy: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        parse_settings([flag], {})
    message = capsys.readouterr().err
    assert stop.value.code == 2
    assert flag.split("=")[0] in message
    assert remedy in message
