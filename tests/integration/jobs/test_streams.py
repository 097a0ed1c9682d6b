"""Results that are read as they come: left early, and lost in the middle.

The results here are a gigabyte, more than servers, networks and gateways hold for a reader who does not read.
"""

from __future__ import annotations

import pytest

from dev.databases import Server
from populate_operator.jobs import DatabaseUnreachable, Timeouts
from populate_operator.jobs.database import Statement
from tests.e2e.lab.gateway import gateway
from tests.integration.jobs.arena import account, rows

NUMBER = Statement("SELECT CONNECTION_ID()")
AT_WORK = "SELECT id FROM information_schema.processlist WHERE info LIKE %s AND id <> CONNECTION_ID()"


def endless(marker: str) -> Statement:
    numbers = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)"
    return Statement(f"{numbers} SELECT '{marker}', REPEAT('x', 4000) FROM n AS a, n AS b")


def test_what_is_left_is_not_read(server: Server) -> None:
    with gateway("127.0.0.1", (server.host, server.port)) as way, server.connect() as watcher:
        ours = account(server, port=way.port, timeouts=Timeouts(read=5))
        before = ours.fetch(NUMBER)
        stream = ours.stream(endless("left early"), size=10)
        assert next(stream)[0] == "left early"
        way.silence()  # who reads on waits in vain
        stream.close()
        way.mend()
        assert ours.fetch(NUMBER) != before
        while rows(watcher, AT_WORK, ("%left early%",)):
            pass  # the server has not noticed yet; pytest's timeout ends it


def test_a_stream_that_breaks(server: Server) -> None:
    ours = account(server)
    stream = ours.stream(endless("broken"), size=10)
    assert next(stream)[0] == "broken"
    with server.connect() as watcher:
        [(number,)] = rows(watcher, AT_WORK, ("%broken%",))
        rows(watcher, "KILL %s", (number,))
    with pytest.raises(DatabaseUnreachable, match="Lost connection"):
        for _ in stream:
            pass
    assert ours.fetch(NUMBER) != [(number,)]
