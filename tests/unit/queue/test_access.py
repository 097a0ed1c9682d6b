"""Which server a bare name means: a Service of the queue's namespace, and no other for a failing look-up."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from typing import Any, cast

import pytest

from populate_operator.jobs import DatabaseUnreachable
from populate_operator.pods.owner import QueueRef
from populate_operator.queue.access import Access, resolve_host
from populate_operator.queue.services import Services
from populate_operator.queue.threads import Threads
from tests.unit.queue.builders import make_spec
from tests.unit.queue.stand_in import StandIn

QUEUE = QueueRef("populate.datajoint.io/v1alpha1", "lab", "sorting", "queue-uid")
FOUND, NO_NAME, NO_DATA, NO_ANSWER = 0, socket.EAI_NONAME, socket.EAI_NODATA, socket.EAI_AGAIN


class Account(StandIn):
    """A queue's Secret."""

    installation = "installation"
    threads = Threads(1)

    async def secret(self, _namespace: str, _name: str) -> dict[str, bytes]:
        return {"username": b"u", "password": b"p"}


@pytest.fixture
async def answers(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What the name server says, one look-up after another."""
    given: list[int] = []

    async def look_up(name: str, _port: None) -> Sequence[Any]:
        assert name == "mysql.lab.svc"
        if code := given.pop(0):
            raise socket.gaierror(code, "said so")
        return []

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", look_up)
    return given


@pytest.mark.parametrize(
    ("answer", "host"), [(FOUND, "mysql.lab.svc"), (NO_NAME, "mysql"), (NO_DATA, "mysql")]
)
async def test_a_bare_name_is_a_service_where_there_is_one(
    answers: list[int], answer: int, host: str
) -> None:
    answers.append(answer)
    assert await resolve_host("mysql", "lab") == host


@pytest.mark.usefixtures("answers")
@pytest.mark.parametrize("host", ["localhost", "10.0.0.1", "::1", "mysql.other.svc"])
async def test_what_names_one_server_is_not_looked_up(host: str) -> None:
    assert await resolve_host(host, "lab") == host


async def test_without_an_answer_no_server_is_asked(answers: list[int]) -> None:
    answers.append(NO_ANSWER)
    with pytest.raises(
        DatabaseUnreachable, match=r"^mysql: .* mysql\.lab\.svc .* full name as spec\.database"
    ):
        await resolve_host("mysql", "lab")


async def test_what_can_be_no_host_is_told() -> None:
    with pytest.raises(DatabaseUnreachable, match=r"no host has such a name; mend spec\.database\.host"):
        await resolve_host("x" * 64, "lab")


async def test_a_service_stays_the_server_while_it_is_made_anew(answers: list[int]) -> None:
    access = Access(QUEUE, cast(Services, Account()))
    answers += [NO_NAME, FOUND, NO_NAME]
    asked = [(await access.open(make_spec(), None)).table.database.address.host for _ in range(3)]
    assert asked == ["mysql", "mysql.lab.svc", "mysql.lab.svc"]
    assert answers == [NO_NAME]


async def test_another_host_is_looked_up_again(answers: list[int]) -> None:
    access = Access(QUEUE, cast(Services, Account()))
    answers.append(FOUND)
    await access.open(make_spec(), None)
    spec = make_spec(database={"host": "db.lab.svc", "credentials": {"secretName": "dj"}})
    assert (await access.open(spec, None)).table.database.address.host == "db.lab.svc"
