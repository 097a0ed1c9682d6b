"""Populates one key of one DataJoint table. Runs inside the user's image: Python 3.10+, DataJoint 2, no more.

`python runner.py` populates the key in POPULATE_KEY; `python runner.py key-source` reports the SELECT of the
class's key source. What happened is the exit status and the termination message; docs/runner.md describes
both. The operator mounts this file as it is, so that it imports nothing of the operator.
"""

from __future__ import annotations

import datetime
import decimal
import importlib
import inspect
import json
import os
import signal
import sys
import traceback
import uuid
from bisect import bisect_left
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

EXIT_FAILED = 1  # make raised, or the key is none: this key's own failure
EXIT_DATABASE = 69  # EX_UNAVAILABLE: the database cannot be used, whatever the key
EXIT_CONFIGURATION = 78  # EX_CONFIG: the class cannot be used, whatever the key
EXIT_TERMINATED = 128 + signal.SIGTERM

MESSAGE_BYTES = 4096  # what Kubernetes keeps of a termination message; of a longer one, only the end
KEY_SOURCE_MARK = "POPULATE_KEY_SOURCE: "
CUT = "...truncated"


class RunnerError(Exception):
    """The key could not be tried at all; the message says what is wrong and the remedy."""

    exit_code = EXIT_CONFIGURATION


class ConfigurationError(RunnerError):
    """The environment or the class does not fit the queue's table, whatever the key."""


class InvalidKeyError(RunnerError):
    """The key does not fit the table's key source; others may."""

    exit_code = EXIT_FAILED


class DatabaseError(RunnerError):
    """The database cannot be reached or refuses the account."""

    exit_code = EXIT_DATABASE


class Terminated(SystemExit):
    """SIGTERM. A SystemExit, because DataJoint rolls back and passes on only those and Exceptions."""


def load_table(path: str, schema: str, table: str) -> Any:
    """An instance of the class `package.module:Class`, which must be the auto-populated `schema`.`table`.

    `table` is the class name or the SQL name. Raises a RunnerError.
    """
    module_name, _, class_name = path.partition(":")
    if not module_name or not class_name:
        raise ConfigurationError(f"POPULATE_CLASS is {path!r}; it must have the form package.module:Class")
    instance = find_class(import_module(module_name), class_name)()
    if instance.database is None:
        raise ConfigurationError(f"{path} belongs to no schema; decorate it with @schema")
    if instance.database != schema or table not in (instance.table_name, type(instance).__name__):
        raise ConfigurationError(
            f"{path} is {instance.full_table_name}, but the queue is for `{schema}`.`{table}`; "
            "correct the queue's schema and table or its runner.class"
        )
    return instance


def import_module(name: str) -> Any:
    """Import the user's module, which usually connects to the database and declares its tables."""
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:  # a Terminated stays known: it is the cause
        if is_database_error(error):
            where = f"{os.environ.get('DJ_HOST', 'localhost')}:{os.environ.get('DJ_PORT', '3306')}"
            raise DatabaseError(f"{where} cannot be used: {describe(error)}") from error
        raise ConfigurationError(f"cannot import {name}: {describe(error)}") from error


def find_class(module: Any, name: str) -> Any:
    """The auto-populated class `name` of `module`; `Outer.Inner` names a nested one."""
    from datajoint.autopopulate import AutoPopulate

    found: Any = module
    for part in name.split("."):
        found = getattr(found, part, None)
    if inspect.isclass(found) and issubclass(found, AutoPopulate):
        return found
    flaw = "is not defined" if found is None else "is not a dj.Computed or dj.Imported table"
    known = [n for n, c in inspect.getmembers(module, inspect.isclass) if issubclass(c, AutoPopulate)]
    raise ConfigurationError(
        f"{module.__name__}:{name} {flaw}; auto-populated there: {', '.join(known) or 'none'}"
    )


def is_database_error(error: BaseException) -> bool:
    """Whether a failed connection or a refused account is behind `error`."""
    names = ("OperationalError", "LostConnectionError", "AccessError")
    return any(type(link).__name__ in names for link in chain(error))


def cast_key(key: dict[str, Any], table: Any) -> dict[str, Any]:
    """`key` as read from JSON, with each value in the type that DataJoint has for its attribute.

    Raises InvalidKeyError unless every attribute is one of the key source: DataJoint ignores a
    restriction by any other and would populate more than this key.
    """
    heading = source_of(table).heading
    if not key or not set(key) <= set(heading.names):
        raise InvalidKeyError(
            f"the job's key has {', '.join(key) or 'no attributes'}, but the key source of "
            f"{table.full_table_name} has {', '.join(heading.primary_key)}; refresh the queue"
        )
    return {name: cast_value(value, heading[name]) for name, value in key.items()}


def cast_value(value: Any, attribute: Any) -> Any:
    """One value from its JSON form: ISO 8601 for times, strings for decimals and UUIDs, itself otherwise."""
    casts: dict[str, Callable[[Any], Any]] = {
        "date": datetime.date.fromisoformat,
        "datetime": datetime.datetime.fromisoformat,
        "timestamp": datetime.datetime.fromisoformat,
        "decimal": decimal.Decimal,
    }
    base = attribute.type.split("(")[0].split()[0].lower()
    cast = uuid.UUID if attribute.uuid else casts.get(base)
    try:
        return cast(value) if cast else value
    except (ValueError, TypeError, ArithmeticError, AttributeError) as error:
        raise InvalidKeyError(f"{attribute.name}={value!r} is not a {attribute.type}: {error}") from error


def source_of(table: Any) -> Any:
    """The table's key source as a query; DataJoint lets it be a class, too."""
    source = table.key_source
    return source() if inspect.isclass(source) else source


def describe(error: BaseException) -> str:
    """`Class: message`, as DataJoint puts it into the jobs table."""
    try:
        text = str(error)
    except Exception as failed:
        text = f"its message cannot be shown: {type(failed).__name__}"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """`error` and what led to it, latest first."""
    seen: list[BaseException] = []  # user code may have tied a ring
    while error is not None and error not in seen:
        seen.append(error)
        yield error
        error = error.__cause__ or error.__context__


def is_terminated(error: BaseException) -> bool:
    """Whether SIGTERM led to `error`; a rollback that fails on its way out raises another."""
    return any(isinstance(link, Terminated) for link in chain(error))


def exit_code_of(error: BaseException) -> int:
    """The exit status that tells the operator what kind of failure `error` is."""
    if is_terminated(error):
        return EXIT_TERMINATED
    return error.exit_code if isinstance(error, RunnerError) else EXIT_FAILED


def build_report(error: BaseException) -> str:
    """The termination message of a failure: JSON of at most MESSAGE_BYTES."""
    if is_terminated(error):
        return fit_report(
            "Terminated: the pod was told to stop (SIGTERM) before make had ended", stack_of(error)
        )
    return fit_report(describe(error), stack_of(error))


def stack_of(error: BaseException) -> str:
    """The traceback below this script. Of a RunnerError, that of its cause, for its message says the rest."""
    origin = error.__cause__ if isinstance(error, RunnerError) else error
    if origin is None:
        return ""
    trace = origin.__traceback__
    while trace is not None and trace.tb_next is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    return "".join(traceback.format_exception(type(origin), origin, trace))


def fit_report(message: str, stack: str, limit: int = MESSAGE_BYTES) -> str:
    """JSON `error_message` and `error_stack` of at most `limit` bytes of UTF-8.

    The message keeps its beginning, the stack its end: that is where the error is.
    """

    def size(message: str, stack: str) -> int:
        return len(encode(error_message=message, error_stack=stack).encode())

    message = shorten(message, lambda n: message[:-n] + CUT, lambda text: size(text, "") <= limit // 2)
    stack = shorten(stack, lambda n: f"{CUT}\n{stack[n:]}", lambda text: size(message, text) <= limit)
    return encode(error_message=message, error_stack=stack)


def shorten(text: str, cut: Callable[[int], str], fits: Callable[[str], bool]) -> str:
    """`text`, or what fits of it after `cut` took the fewest characters away."""
    if fits(text):
        return text
    return cut(bisect_left(range(1, len(text)), True, key=lambda count: fits(cut(count))) + 1)


def encode(**report: str | None) -> str:
    """One line of JSON that UTF-8 can hold: lone surrogates, as from file names, are escaped."""
    clean = {
        name: text and text.encode("utf-8", "backslashreplace").decode() for name, text in report.items()
    }
    return json.dumps(clean, ensure_ascii=False)


def write_termination_message(text: str) -> None:
    """Write where the kubelet reads it; outside of a pod there is no such file, and the log has it all."""
    path = Path(os.environ.get("POPULATE_TERMINATION_LOG", "/dev/termination-log"))
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        print(f"{path} cannot be written: {error}", file=sys.stderr)


def populate(table: Any) -> None:
    """Populate the key of POPULATE_KEY and nothing else."""
    key = cast_key(read_key(), table)
    made = table.populate(key)["success_count"]
    print(f"{table.full_table_name} {key}: {'made' if made else 'nothing to make'}", flush=True)


def read_key() -> dict[str, Any]:
    """The job's key as it is in JSON. Raises ConfigurationError."""
    text = read_variable("POPULATE_KEY")
    try:
        return dict(json.loads(text))
    except (ValueError, TypeError) as error:
        raise ConfigurationError(f"POPULATE_KEY is {text!r}; it must be a JSON object") from error


def report_key_source(table: Any) -> None:
    """Report the SELECT of the key source's primary key: in the log, and in the message where it fits."""
    report = encode(key_source=source_of(table).proj().make_sql())
    print(f"\n{KEY_SOURCE_MARK}{report}", flush=True)  # the class may have left a line unfinished
    write_termination_message(report if len(report.encode()) <= MESSAGE_BYTES else encode(key_source=None))


MODES: dict[str, Callable[[Any], None]] = {"populate": populate, "key-source": report_key_source}


def read_variable(name: str) -> str:
    """The variable `name` of the environment. Raises ConfigurationError where it is missing."""
    if name not in os.environ:
        raise ConfigurationError(f"{name} is not set; the operator sets it in every pod")
    return os.environ[name]


def handle_sigterm() -> None:
    """End make by an exception on SIGTERM, so that DataJoint rolls its transaction back."""

    def terminate(signum: int, frame: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough; the rollback is not to be disturbed
        raise Terminated(EXIT_TERMINATED)

    signal.signal(signal.SIGTERM, terminate)
    # A process pool inside make ends its workers by SIGTERM: they are to die of it as usual.
    os.register_at_fork(after_in_child=lambda: signal.signal(signal.SIGTERM, signal.SIG_DFL))


def main(mode: str) -> int:
    """Run one mode; returns the exit status after writing what happened."""
    handle_sigterm()
    if not getattr(sys.flags, "safe_path", False):
        sys.path[0] = str(Path.cwd())  # as `python -m` has it: modules in the working directory are found
    try:
        path, schema, table = map(read_variable, ("POPULATE_CLASS", "POPULATE_SCHEMA", "POPULATE_TABLE"))
        MODES[mode](load_table(path, schema, table))
    except BaseException as error:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # nothing may come between the failure and its report
        print(stack_of(error), describe(error), sep="", file=sys.stderr, flush=True)
        write_termination_message(build_report(error))
        return exit_code_of(error)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "populate"))
