"""`timecoin proof ...`: proofs from a node, and their verification without one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from timecoin.cli.options import connect, node_options, write_new
from timecoin.errors import ConfigError, DecodeError, ValidationError

if TYPE_CHECKING:
    from timecoin.light.trust import TrustedSet

_PATH = click.Path(path_type=Path)
_MAX_FILE_BYTES = 64 * 1024 * 1024  # more than a proof over MAX_PROOF_EPOCHS epochs of MAX_SEATS masternodes has

_out = click.option("--out", type=_PATH, required=True, help="The file to make.")
_from_epoch = click.option(
    "--from-epoch", type=click.IntRange(0), default=0, show_default=True, help="The epoch whose masternodes the reader trusts."
)


@click.group()
def proof() -> None:
    """Prove that a transaction is committed or final to somebody who has the genesis document and no node."""


@proof.command()
@node_options
@_out
@_from_epoch
@click.option("--finality", is_flag=True, help="That it is final, as long as its votes are kept; else, that it is in a block.")
@click.argument("txid")
def get(data_dir: Path | None, rpc_url: str | None, out: Path, from_epoch: int, finality: bool, txid: str) -> None:
    """Get the proof of transaction TXID from a node."""
    method = "getfinalityproof" if finality else "getcommitproof"
    with connect(data_dir, rpc_url) as client:
        write_new(out, bytes.fromhex(client.call(method, txid, from_epoch)))


@proof.command()
@node_options
@_out
@_from_epoch
def epochs(data_dir: Path | None, rpc_url: str | None, out: Path, from_epoch: int) -> None:
    """Get the proof of the masternode set of the open epoch from a node."""
    with connect(data_dir, rpc_url) as client:
        write_new(out, bytes.fromhex(client.call("getepochproof", from_epoch)))


@proof.command()
@click.option("--genesis", "document", type=_PATH, help="The genesis document of the network.")
@click.option("--trusted", type=_PATH, help="In place of it a file that --keep has made.")
@click.option("--keep", type=_PATH, help="Keep the masternode set that was proven on the way in a new file, for --trusted.")
@click.option("--txid", help="The transaction that it must be about.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.argument("file", type=_PATH)
def verify(document: Path | None, trusted: Path | None, keep: Path | None, txid: str | None, as_json: bool, file: Path) -> None:
    """Verify the proof in FILE without a node; exit code 1 when it proves nothing.

    It begins in epoch 0 with --genesis, with --trusted in the epoch of that set.
    """
    if (document is None) == (trusted is None):
        raise click.UsageError("either --genesis or --trusted is wanted")
    known = _trusted(document, trusted)
    try:
        view, reached = _verified(_read(file), known, _id(txid))
    except (DecodeError, ValidationError) as error:
        if as_json:
            click.echo(json.dumps({"ok": False, "reason": getattr(error, "reason", "malformed"), "error": str(error)}))
        raise
    if keep is not None:
        write_new(keep, reached.encode())
    if as_json:
        click.echo(json.dumps({"ok": True} | view))
        return
    for name, value in view.items():
        click.echo(f"{name:12} {', '.join(map(str, value)) if isinstance(value, list) else value}")


def _trusted(document: Path | None, trusted: Path | None) -> TrustedSet:
    from timecoin.ledger.genesis import Genesis
    from timecoin.light.trust import TrustedSet

    if document is not None:
        return TrustedSet.of_genesis(Genesis.load(document))
    assert trusted is not None, "one of the two is there"
    return TrustedSet.decode(_read(trusted))


def _verified(proof: bytes, trusted: TrustedSet, txid: bytes | None) -> tuple[dict[str, Any], TrustedSet]:
    """What a proof of any kind proves, for people and programs, and the set that it leads to."""
    from timecoin.light.proofs import ProofKind, proof_kind, verify_commit, verify_epochs, verify_finality

    kind = proof_kind(proof)
    if kind is ProofKind.EPOCHS:
        reached = verify_epochs(proof, trusted=trusted)
        return {"proves": "epoch", "epoch": reached.epoch, "masternodes": len(reached.masternodes)}, reached
    if kind is ProofKind.FINALITY:
        final = verify_finality(proof, trusted=trusted, txid=txid)
        view = {"proves": "final", "txid": final.txid.hex(), "epoch": final.epoch, "voters": list(final.voters)}
        return view, final.trusted
    found = verify_commit(proof, trusted=trusted, txid=txid)
    view = {
        "proves": "committed",
        "txid": found.txid.hex(),
        "height": found.height,
        "block": found.block_hash.hex(),
        "epoch": found.epoch,
        "time_ms": found.time_ms,
        "voters": list(found.voters),
        "transaction": found.transaction.encoded.hex(),
    }
    return view, found.trusted


def _id(text: str | None) -> bytes | None:
    try:
        found = None if text is None else bytes.fromhex(text)
    except ValueError:
        found = b""
    if found is not None and len(found) != 32:
        raise click.UsageError(f"--txid {text}: 64 hexadecimal digits are wanted")
    return found


def _read(file: Path) -> bytes:
    try:
        size = file.stat().st_size
        if size > _MAX_FILE_BYTES:
            raise ConfigError(f"{file}: {size} bytes, at most {_MAX_FILE_BYTES}")
        return file.read_bytes()
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror or error}") from error
