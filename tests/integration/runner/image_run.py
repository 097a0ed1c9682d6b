"""What the runner's tests share: an image to run it in, as a pod would, and what came of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dev.databases import Database
from populate_operator.pods import runner
from populate_operator.pods.report import ErrorReport, parse_termination_message


@dataclass(frozen=True)
class Outcome:
    """What is left of a pod: exit status, termination message, log."""

    status: int
    message: str
    log: str

    @property
    def report(self) -> ErrorReport:
        found = parse_termination_message(self.message)
        assert found is not None, self.log
        return found


@dataclass(frozen=True)
class Image:
    """A user's image: a working directory with modules, and the database that they use."""

    database: Database
    folder: Path

    def start(self, path: str, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        """Start the runner for the class `path`, with the environment of a pod and `variables`."""
        server = self.database.server
        own = {
            "DJ_HOST": server.host,
            "DJ_PORT": str(server.port),
            "DJ_USER": server.user,
            "DJ_PASS": server.password,
            "POPULATE_SCHEMA": self.database.name,
            "POPULATE_TABLE": path.rpartition(":")[2],
            "POPULATE_CLASS": path,
            "POPULATE_TERMINATION_LOG": str(self.folder / "termination-log"),
            "PATH": os.environ["PATH"],
        }
        return subprocess.Popen(
            [sys.executable, runner.__file__, *arguments],
            cwd=self.folder,
            env=own | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
        )

    def end(self, process: subprocess.Popen[str]) -> Outcome:
        """Wait for the runner; what it wrote is taken away, as with its pod."""
        log, _ = process.communicate()
        written = self.folder / "termination-log"
        message = written.read_text(encoding="utf-8") if written.exists() else ""
        written.unlink(missing_ok=True)
        return Outcome(process.returncode, message, log)

    def run(self, path: str, *arguments: str, **variables: str) -> Outcome:
        return self.end(self.start(path, *arguments, **variables))

    def populate(self, path: str, **key: Any) -> Outcome:
        return self.run(path, POPULATE_KEY=json.dumps(key))

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """The rows of a query in the database."""
        with self.database.connect() as connection, connection.cursor() as cursor:
            cursor.execute(query, values or None)
            return list(cursor.fetchall())
