"""The smallest pipeline in plain SQL, as DataJoint has it: `session` (Manual), `__spikes` (Computed)."""

from __future__ import annotations

from tests.e2e.lab.workplace import Workplace

CONNECT = """
import json, os, sys, time, pymysql
key = json.loads(os.environ["POPULATE_KEY"])
def execute(statement, *values):
    server = {"host": os.environ["DJ_HOST"], "port": int(os.environ["DJ_PORT"])}
    account = {"user": os.environ["DJ_USER"], "password": os.environ["DJ_PASS"]}
    with pymysql.connect(**server, **account, database=os.environ["POPULATE_SCHEMA"]) as connection:
        with connection.cursor() as cursor:
            cursor.execute(statement, values)
            connection.commit()
            return cursor.fetchall()
def insert():
    execute("INSERT INTO __spikes (session) VALUES (%s)", key["session"])
"""
INSERT_ROW = CONNECT + "insert()\n"


def make_tables(place: Workplace, *, keys: int) -> None:
    """Declare both tables; `session` gets the keys 1..keys."""
    place.sql("CREATE TABLE session (session int NOT NULL, PRIMARY KEY (session)) ENGINE=InnoDB")
    place.sql(
        "CREATE TABLE __spikes (session int NOT NULL, PRIMARY KEY (session), "
        "FOREIGN KEY (session) REFERENCES session (session)) ENGINE=InnoDB"
    )
    add_keys(place, range(1, keys + 1))


def add_keys(place: Workplace, keys: range) -> None:
    """More sessions."""
    for key in keys:
        place.sql("INSERT INTO session VALUES (%s)", key)
