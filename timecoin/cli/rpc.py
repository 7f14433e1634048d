"""`timecoin rpc METHOD [ARGS]`: one call to a node. Kept free of everything that a single call can do without."""

from __future__ import annotations

import json
import os
import sys

from timecoin.cli import exits
from timecoin.wallet.client import RpcClient, RpcFailure, find_node

USAGE = """\
usage: timecoin rpc [OPTIONS] METHOD [ARGS]...

  Calls METHOD of a node's RPC and prints the result. ARGS are read as JSON where they are JSON, else as text;
  `timecoin rpc help` lists the methods.

options:
  --data-dir DIR  the node's data directory, where its cookie is; else TIMECOIN_DATA_DIR, else the user's own
  --rpc-url URL   the node's address, when it is not the one that the data directory names
  --help          this text
"""


def run(words: list[str]) -> int:
    """Runs the command with what follows `rpc`; its exit code. Raises RpcUnreachable."""
    try:
        options, call = _options(words)
        if "--help" in options:
            sys.stdout.write(USAGE)
            return exits.OK
        if not call:
            raise ValueError("a method is wanted; `timecoin rpc help` lists them")
        client = RpcClient(*find_node(options.get("--data-dir") or default_data_dir(), options.get("--rpc-url")))
    except ValueError as error:
        sys.stderr.write(f"timecoin rpc: {error}\n")
        return exits.USAGE
    with client:
        try:
            result = client.call(call[0], *map(parse_argument, call[1:]))
        except RpcFailure as error:
            sys.stderr.write(f"timecoin: {call[0]}: {error} (code {error.code})\n")
            return exits.FAILED
    sys.stdout.write((result if isinstance(result, str) else json.dumps(result, indent=2)) + "\n")
    return exits.OK


def parse_argument(word: str) -> object:
    """JSON where it is JSON, else the text itself. Numbers with a fraction stay text: amounts are never rounded."""
    try:
        return json.loads(word, parse_float=str)
    except ValueError:
        return word


def default_data_dir() -> str:
    """Where a node keeps its data unless it is told otherwise."""
    if directory := os.environ.get("TIMECOIN_DATA_DIR"):
        return directory
    import platformdirs

    return platformdirs.user_data_dir("timecoin", appauthor=False)


def _options(words: list[str]) -> tuple[dict[str, str], list[str]]:
    """The options, which come before the method, and the rest. ValueError for an option that there is not."""
    found: dict[str, str] = {}
    while words and words[0].startswith("--"):
        name, equals, value = words[0].partition("=")
        words = words[1:]
        if name not in ("--data-dir", "--rpc-url", "--help"):
            raise ValueError(f"there is no option {name}")
        if name != "--help" and not equals:
            if not words:
                raise ValueError(f"{name} wants a value")
            value, words = words[0], words[1:]
        found[name] = value
    return found, words
