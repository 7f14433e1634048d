"""The command `timecoin`. Every command imports what it needs when it runs, so that a plain RPC call starts fast."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from timecoin.cli import exits
from timecoin.errors import TimecoinError


def main() -> NoReturn:
    """Runs the command line of this process and exits. One clear line for what goes wrong; a traceback with
    TIMECOIN_DEBUG set."""
    try:
        code = _run(sys.argv[1:])
        sys.stdout.flush()
    except TimecoinError as error:
        if os.environ.get("TIMECOIN_DEBUG"):
            raise
        sys.stderr.write(f"timecoin: {error}\n")
        code = exits.code_of(error)
    except KeyboardInterrupt:
        code = exits.INTERRUPTED
    except BrokenPipeError:
        # Nobody reads any more; the interpreter would complain once again when it flushes at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = exits.FAILED
    sys.exit(code)


def _run(words: list[str]) -> int:
    if words[:1] == ["rpc"]:
        from timecoin.cli import rpc

        return rpc.run(words[1:])
    from timecoin.cli import app

    return app.run(words)
