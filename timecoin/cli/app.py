"""The table of commands, and the way from words to one of them. A command's module is imported when it is called."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import click

import timecoin
from timecoin.cli import exits

# command -> the module that has it under its own name, and what the list of commands says of it
_COMMANDS = {
    "bench": ("timecoin.cli.bench", "Measure how fast this machine is, and make what there is to measure."),
    "devnet": ("timecoin.cli.devnet", "Run a network of masternodes on this machine."),
    "genesis": ("timecoin.cli.genesis", "Make or look at a genesis document."),
    "inspect": ("timecoin.cli.inspect", "Show what the data directory of a stopped node holds, and what is wrong."),
    "masternode": ("timecoin.cli.masternode", "Register masternodes and retire them, and see who is one."),
    "node": ("timecoin.cli.node", "Prepare, run, stop and watch a node."),
    "proof": ("timecoin.cli.proof", "Prove that a transaction is committed or final, and verify that without a node."),
    "reindex": ("timecoin.cli.reindex", "Rebuild the store of a stopped node from its blocks."),
    "rpc": ("timecoin.cli.app", "Call a method of a node's RPC."),
    "sim": ("timecoin.cli.sim", "Run whole networks on virtual time, under faults and attacks."),
    "snapshot": ("timecoin.cli.snapshot", "Take all coins of a network from one node to another, in a file."),
    "verify-chain": ("timecoin.cli.verify_chain", "Re-check everything in a data directory from genesis on."),
    "wallet": ("timecoin.cli.wallet", "Keys, balances and payments of a person."),
}


class _Commands(click.Group):
    """A group whose commands are loaded one by one, on demand."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: Any = getattr(importlib.import_module(_COMMANDS[cmd_name][0]), cmd_name.replace("-", "_"))
        return command if isinstance(command, click.Command) else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands without loading them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(timecoin.__version__, prog_name="timecoin", message="%(prog)s %(version)s")
def commands() -> None:
    """A ledger node whose transfers are final before any block."""


@click.command(add_help_option=False, context_settings={"ignore_unknown_options": True})
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def rpc(words: tuple[str, ...]) -> int:
    """Call a method of a node's RPC. `timecoin rpc` itself never comes here: it has a way without click."""
    from timecoin.cli.rpc import run

    return run(list(words))


def run(words: list[str]) -> int:
    """Runs a command; its exit code. A command returns it, or None for success."""
    try:
        result = commands.main(args=words, prog_name="timecoin", standalone_mode=False)
    except click.UsageError as error:
        error.show()
        return exits.USAGE
    except click.ClickException as error:
        error.show()
        return exits.FAILED
    except click.Abort:
        sys.stderr.write("\n")
        return exits.INTERRUPTED
    return result if isinstance(result, int) else exits.OK
