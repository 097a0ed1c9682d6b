"""The two database programs: where they are found, and the command lines that initialise and run them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from dev import packages
from dev.console import SetupError
from dev.databases.server import Kind
from dev.images import rootfs

# Throwaway data need not survive a power cut, so nothing is synced. A commit still reaches the operating
# system at once (2, not 0): tests kill servers and rely on what had been committed.
UNSYNCED = ("--innodb-flush-log-at-trx-commit=2", "--innodb-flush-method=nosync")
SHARED = (
    *UNSYNCED,
    "--innodb-buffer-pool-size=256M",
    "--max-connections=500",
    "--skip-name-resolve",
    "--socket=server.sock",  # relative to the data directory: the path of a socket is limited to 107 bytes
    "--pid-file=server.pid",
)


@dataclass(frozen=True)
class Engine:
    """How to start one database program: `program` comes first in both commands, before their options."""

    kind: Kind
    program: tuple[str, ...]
    initialise: tuple[str, ...]
    options: tuple[str, ...]

    def command(self, datadir: Path, port: int, accounts: Path) -> list[str]:
        """The server's command line; the SQL file `accounts` runs before it listens."""
        address = ["--bind-address=127.0.0.1", f"--port={port}"]
        files = [f"--datadir={datadir}", f"--init-file={accounts}"]
        return [*self.program, *_user(), *SHARED, *address, *self.options, *files]

    def initialise_command(self, datadir: Path) -> list[str]:
        """Fills the absent or empty `datadir`."""
        return [*self.initialise, *_user(), f"--datadir={datadir}"]


def find(kind: Kind) -> Engine:
    """The engine of `kind`, installed when absent; raises SetupError when that cannot be done."""
    return _mysql() if kind == "mysql" else _mariadb()


def _mariadb() -> Engine:
    # mariadb-install-db asks my_print_defaults, which is in the client's package, and does not depend on it.
    packages.require(["mariadb-server-core", "mariadb-client-core"], purpose="a MariaDB server for tests")
    install = ("mariadb-install-db", "--no-defaults", "--skip-test-db")

    # MariaDB's own default is latin1; Debian's package and the official image configure this instead.
    charset = ("--character-set-server=utf8mb4", "--collation-server=utf8mb4_general_ci")
    server = shutil.which("mariadbd", path=_system_path()) or "mariadbd"
    return Engine("mariadb", (server, "--no-defaults"), install, charset)


def _mysql() -> Engine:
    program = _installed_mysql() or _mysql_of(_debian_mysql())
    options = ("--secure-file-priv=NULL", "--mysqlx=OFF", "--skip-log-bin", "--innodb-redo-log-capacity=64M")
    return Engine("mysql", program, (*program, "--initialize-insecure"), options)


def _debian_mysql() -> Path:
    try:
        return rootfs.build("sid", rootfs.MYSQL)
    except SetupError as error:
        raise SetupError(
            f"no MySQL 8 or newer: name one in POPULATE_TEST_MYSQL_URL, or be root to build one; {error}"
        ) from error


def _installed_mysql() -> tuple[str, ...] | None:
    """The machine's own mysqld, when it is MySQL (not MariaDB under that name) and 8.0 or newer."""
    path = shutil.which("mysqld", path=_system_path())
    if path is None:
        return None
    answer = subprocess.run([path, "--no-defaults", "--version"], capture_output=True, text=True, check=False)
    version = re.search(r"Ver (\d+)\.", answer.stdout)
    is_mysql = "MariaDB" not in answer.stdout and version is not None and int(version[1]) >= 8
    return (path, "--no-defaults") if is_mysql else None


def _mysql_of(root: Path) -> tuple[str, ...]:
    """Runs mysqld out of another Debian's root file system with that Debian's own loader and libraries.

    No chroot: the data directory can be anywhere, no privilege is needed, and `root` stays as it was built.
    """
    libraries = [str(path) for path in sorted((root / "usr/lib").glob("*-linux-gnu*"))]
    loader = next((root / "usr/lib").glob("*-linux-gnu*/ld-linux-*.so.*"))
    return (
        str(loader),
        "--library-path",
        ":".join(libraries),
        str(root / "usr/sbin/mysqld"),
        "--no-defaults",
        f"--basedir={root / 'usr'}",
        f"--plugin-dir={root / 'usr/lib/mysql/plugin'}",
        f"--lc-messages-dir={root / 'usr/share/mysql'}",
        f"--character-sets-dir={root / 'usr/share/mysql/charsets'}",
    )


def _user() -> list[str]:
    """Both servers refuse to run as root unless told to on purpose."""
    return ["--user=root"] if os.geteuid() == 0 else []


def _system_path() -> str:
    """PATH with the folders of servers, which a user's own PATH often lacks."""
    return f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin"
