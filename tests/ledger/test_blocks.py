"""Headers and blocks as values, and what a delta hands to storage."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from tests.ledger.helpers import Chain, key, registration
from timecoin import params
from timecoin._core import hashing
from timecoin.errors import DecodeError
from timecoin.ledger.blocks import Block, Header, tx_root
from timecoin.ledger.coins import output_of
from timecoin.ledger.transactions import Output, Transaction, outpoint

HEADER = Header(
    closes_epoch=False,
    proposer=3,
    height=7,
    epoch=2,
    time_ms=99,
    parent=b"\x01" * 32,
    tx_root=b"\x02" * 32,
    commitment=b"\x03" * 32,
    next_set=b"\x04" * 32,
)
OTHERS = {
    "closes_epoch": True,
    "proposer": 4,
    "height": 8,
    "epoch": 3,
    "time_ms": 100,
    "parent": bytes(32),
    "tx_root": bytes(32),
    "commitment": bytes(32),
    "next_set": bytes(32),
}


def test_header_round_trip() -> None:
    assert len(HEADER.encode()) == params.HEADER_BYTES
    assert Header.decode(HEADER.encode()) == HEADER
    assert HEADER.hash() == hashing.tagged_sha256(b"timecoin/header", HEADER.encode())
    with pytest.raises(DecodeError):
        Header.decode(HEADER.encode()[:-1])


def test_every_field_changes_the_hash() -> None:
    assert OTHERS.keys() == {field.name for field in fields(Header)}
    hashes = {HEADER.hash(), *(replace(HEADER, **{name: value}).hash() for name, value in OTHERS.items())}  # type: ignore[arg-type]
    assert len(hashes) == 1 + len(OTHERS)


@pytest.fixture
def chain() -> Chain:
    return Chain()


def transfers(chain: Chain, count: int) -> list[Transaction]:
    return [chain.pay([chain.coin(number)], [(9000, key(9)), (1000, key(8))]) for number in range(count)]


def test_block_round_trip(chain: Chain) -> None:
    data = chain.build(*transfers(chain, 3))
    block = Block.decode(data)
    assert block.encoded == data
    assert Block.create(block.header, block.transactions).encoded == data
    assert block.hash == block.header.hash()
    assert block == Block.decode(data)
    assert hash(block) == hash(Block.decode(data))
    assert block.txids == tuple(tx.txid for tx in block.transactions)
    assert block.hash.hex() in repr(block)
    assert block.height == 1


def test_spends(chain: Chain) -> None:
    inside = chain.pay([chain.coin(0), chain.coin(1)], [(20_000, key(9))])
    block = Block.decode(chain.build(inside))
    assert block.spends == {chain.coin(0)[0]: inside.txid, chain.coin(1)[0]: inside.txid}


def test_merkle_branches_prove_wtxids(chain: Chain) -> None:
    block = Block.decode(chain.build(*transfers(chain, 4)))
    count = len(block.transactions)
    assert block.header.tx_root == tx_root(block.transactions)
    for place, tx in enumerate(block.transactions):
        branch = block.branch(place)
        assert hashing.merkle_check(block.header.tx_root, tx.wtxid, place, count, branch)
        assert not hashing.merkle_check(block.header.tx_root, tx.txid, place, count, branch)


def test_a_delta_names_the_coins_that_are_gone_and_those_that_are_new(chain: Chain) -> None:
    parent = chain.pay([chain.coin(0)], [(9000, key(9)), registration(key(5), key(6))])
    child = chain.pay([(outpoint(parent.txid, 0), key(9)), chain.coin(1)], [(18_000, key(8))])
    delta = chain.commit(parent, child)
    assert delta.spent == (chain.coin(0)[0], chain.coin(1)[0])
    made = {point: output_of(record) for point, record in zip(delta.created, delta.records(), strict=True)}
    assert made == {
        outpoint(parent.txid, 1): registration(key(5), key(6)),
        outpoint(child.txid, 0): Output(18_000, key(8).public),
        outpoint(delta.txids[0], 0): Output(1000 + 50, delta.masternodes[0].owner),
    }
    assert (delta.height, delta.fees) == (1, 1000)
    assert delta.commitment.state() == chain.ledger.lthash_state()
    assert hashing.tagged_sha256(b"timecoin/lthash", delta.commitment.state()) == delta.header.commitment


def test_delta_names_every_spend(chain: Chain) -> None:
    parent = chain.pay([chain.coin(0)], [(9000, key(9))])
    child = chain.pay([(outpoint(parent.txid, 0), key(9))], [(8000, key(8))])
    delta = chain.commit(parent, child)
    assert delta.spends == {chain.coin(0)[0]: parent.txid, outpoint(parent.txid, 0): child.txid}
    assert delta.spent == (chain.coin(0)[0],)
    assert delta.txids[1:] == (parent.txid, child.txid)
    assert (delta.fees, delta.height, delta.hash) == (2000, 1, chain.ledger.tip)
