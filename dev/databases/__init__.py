"""MySQL and MariaDB for tests and development: real servers, on free ports of the loopback interface."""

from dev.databases.instance import Instance
from dev.databases.server import KINDS, Database, Kind, Server

__all__ = ["KINDS", "Database", "Instance", "Kind", "Server"]
