"""Transactions as values: one encoding, ids that cover what they should, witnesses by the right key."""

from __future__ import annotations

import dataclasses

import pytest

from tests.ledger.helpers import key, pay, registration
from timecoin import params
from timecoin._core import codec, ed25519, hashing
from timecoin.errors import DecodeError
from timecoin.ledger.transactions import Output, Transaction, outpoint, outpoint_index, outpoint_txid

CHAIN = bytes(range(32))
POINT = outpoint(b"\x07" * 32, 5)


def test_outpoint_is_36_bytes_and_taken_apart_again() -> None:
    assert len(POINT) == params.OUTPOINT_BYTES
    assert outpoint_txid(POINT) == b"\x07" * 32
    assert outpoint_index(POINT) == 5
    assert outpoint(b"\x00" * 32, 0x01020304)[32:] == b"\x04\x03\x02\x01"


def test_output_parts_round_trip() -> None:
    for output in (Output(7, key(1).public), registration(key(1), key(2))):
        assert Output.from_parts(output.parts()) == output


def test_decode_gives_back_what_was_encoded() -> None:
    made = pay(CHAIN, [(POINT, key(1))], [(7, key(2)), registration(key(3), key(4))])
    read = Transaction.decode(made.encoded)
    for field in dataclasses.fields(Transaction):
        assert getattr(read, field.name) == getattr(made, field.name), field.name
    assert read == made
    assert hash(read) == hash(made)
    assert read.size == len(made.encoded)
    assert not read.is_coinbase


def test_from_batch_reads_the_named_one() -> None:
    made = [pay(CHAIN, [(POINT, key(1))], [(value, key(2))]) for value in (1, 2, 3)]
    batch = codec.TransactionBatch.decode(b"".join(tx.encoded for tx in made))
    assert [Transaction.from_batch(batch, place) for place in range(3)] == made


def test_trailing_bytes_are_refused() -> None:
    made = pay(CHAIN, [(POINT, key(1))], [(7, key(2))])
    with pytest.raises(DecodeError):
        Transaction.decode(made.encoded + b"\x00")


def test_ids_follow_the_specification() -> None:
    tx = pay(CHAIN, [(POINT, key(1))], [(7, key(2))])
    unsigned = tx.encoded[: -params.SIGNATURE_BYTES]
    assert tx.txid == hashing.tagged_sha256(b"timecoin/txid", unsigned)
    assert tx.wtxid == hashing.tagged_sha256(b"timecoin/wtxid", tx.txid + tx.witnesses[0])


def test_witness_changes_the_wtxid_alone() -> None:
    unsigned = Transaction.create([POINT], [Output(7, key(2).public)])
    signed = unsigned.signed(CHAIN, [key(1)])
    assert unsigned.txid == signed.txid
    assert unsigned.wtxid != signed.wtxid
    assert unsigned != signed


def test_signature_is_over_tag_chain_and_txid() -> None:
    tx = pay(CHAIN, [(POINT, key(1)), (outpoint(b"\x08" * 32, 0), key(2))], [(7, key(2))])
    message = hashing.sha256(b"timecoin/input") + CHAIN + tx.txid
    assert tx.signing_message(CHAIN) == message
    assert ed25519.verify(key(1).public, message, tx.witnesses[0])
    assert ed25519.verify(key(2).public, message, tx.witnesses[1])
    assert not ed25519.verify(key(1).public, tx.signing_message(b"\x01" * 32), tx.witnesses[0])


def test_one_key_for_each_input_is_wanted() -> None:
    with pytest.raises(ValueError, match="1 keys for 2 inputs"):
        Transaction.create([POINT, outpoint(b"\x08" * 32, 0)], [Output(7, key(2).public)]).signed(CHAIN, [key(1)])


def test_coinbase_txid_depends_on_the_height() -> None:
    first, second = (Transaction.coinbase(height, [Output(7, key(1).public)]) for height in (1, 2))
    assert first.is_coinbase
    assert first.txid != second.txid


def test_output_coins_are_numbered() -> None:
    tx = pay(CHAIN, [(POINT, key(1))], [(7, key(2)), (8, key(3))])
    assert list(tx.output_coins()) == [(outpoint(tx.txid, 0), tx.outputs[0]), (outpoint(tx.txid, 1), tx.outputs[1])]


def test_transactions_are_immutable_and_show_their_id() -> None:
    tx = pay(CHAIN, [(POINT, key(1))], [(7, key(2))])
    with pytest.raises(dataclasses.FrozenInstanceError):
        tx.kind = 1  # type: ignore[misc]
    assert tx.txid.hex() in repr(tx)
