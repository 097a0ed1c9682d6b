"""The operator with less patience: `impatient_operator.py SILENCE ONE_PASS MISSED`, in seconds."""

from __future__ import annotations

import asyncio
import sys

from populate_operator.logs import configure_logs
from populate_operator.process import Patience, serve
from populate_operator.settings import parse_settings

if __name__ == "__main__":
    settings = parse_settings([])
    configure_logs(settings.log_format, settings.log_level)
    asyncio.run(serve(settings, patience=Patience(*map(float, sys.argv[1:]))))
