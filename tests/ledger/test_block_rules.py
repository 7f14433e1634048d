"""What makes a block invalid. Every block goes in by `check_block`, as bytes, with all else about it right."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.ledger.helpers import COLLATERAL, Chain, key, make_genesis, operator, owner, registration, tamper, verdicts
from timecoin import params
from timecoin.errors import BlockError
from timecoin.ledger.blocks import BLOCK_OVERHEAD_BYTES, Block
from timecoin.ledger.genesis import MIN_MAX_BLOCK_BYTES
from timecoin.ledger.state import Ledger
from timecoin.ledger.transactions import Output, Transaction, outpoint

TIME_FIELD = range(20, 28)


@pytest.fixture
def chain() -> Chain:
    return Chain()


def body(chain: Chain, *transfers: Transaction, coinbase: Sequence[Transaction] | None = None) -> bytes:
    """A block with these transfers whatever they are; only the header's commitment cannot be right."""
    first = Block.decode(chain.build()).transactions if coinbase is None else coinbase
    return tamper(chain.build(), [*first, *transfers])


def transfer(chain: Chain, number: int, fee: int = 100) -> Transaction:
    return chain.pay([chain.coin(number)], [(10_000 - fee, key(9))])


# Blocks that are valid


def test_an_empty_block_pays_the_subsidy(chain: Chain) -> None:
    (coinbase,) = Block.decode(chain.build()).transactions
    assert coinbase.is_coinbase
    assert coinbase.outputs == (Output(50, owner_of(chain, 0)),)
    assert coinbase.height == 1
    chain.commit()
    assert chain.ledger.height == 1


def test_no_coinbase_when_there_is_nothing_to_pay() -> None:
    chain = Chain(subsidy=0)
    assert Block.decode(chain.build()).transactions == ()
    chain.commit()
    free = transfer(chain, 0, fee=0)
    assert Block.decode(chain.build(free)).transactions == (free,)
    chain.commit(free)
    paying = transfer(chain, 1, fee=7)
    assert Block.decode(chain.build(paying)).transactions[0].outputs[0].value == 7
    chain.commit(paying)


def owner_of(chain: Chain, place: int) -> bytes:
    return chain.ledger.masternodes[place].owner


def test_the_proposer_of_the_header_is_paid(chain: Chain) -> None:
    for proposer in range(3):
        tx = transfer(chain, proposer, fee=100)
        delta = chain.commit(tx, proposer=proposer)
        coin = chain.ledger.coins.get(outpoint(delta.txids[0], 0))
        assert coin is not None
        assert coin.output == Output(150, owner_of(chain, proposer))


def test_fees_below_the_relay_policy_are_valid(chain: Chain) -> None:
    chain.commit(transfer(chain, 0, fee=0))


def test_children_after_parents_in_one_block(chain: Chain) -> None:
    parent = transfer(chain, 0)
    child = chain.pay([(outpoint(parent.txid, 0), key(9)), chain.coin(1)], [(19_000, key(8))])
    chain.commit(parent, child)


# Inputs


def test_one_coin_twice_in_a_transaction(chain: Chain) -> None:
    twice = chain.pay([chain.coin(0), chain.coin(0)], [(20_000, key(9))])
    chain.refuses(body(chain, twice), "duplicate-input")
    with pytest.raises(BlockError):
        chain.build(twice)


def test_one_coin_in_two_transactions(chain: Chain) -> None:
    rivals = [chain.pay([chain.coin(0), chain.coin(number)], [(20_000, key(9))]) for number in (1, 2)]
    chain.refuses(body(chain, *rivals), "double-spend")
    with pytest.raises(BlockError):
        chain.build(*rivals)


def test_a_coin_of_the_block_twice(chain: Chain) -> None:
    parent = transfer(chain, 0)
    children = [chain.pay([(outpoint(parent.txid, 0), key(9))], [(value, key(8))]) for value in (5, 6)]
    chain.refuses(body(chain, parent, *children), "double-spend")


def test_the_same_transaction_twice(chain: Chain) -> None:
    tx = transfer(chain, 0)
    chain.refuses(body(chain, tx, tx), "double-spend")
    chain.commit(tx)
    chain.refuses(body(chain, tx), "missing-input")


def test_children_before_parents(chain: Chain) -> None:
    parent = transfer(chain, 0)
    child = chain.pay([(outpoint(parent.txid, 0), key(9))], [(5, key(8))])
    chain.refuses(body(chain, child, parent), "missing-input")
    data = chain.build(parent, child)
    coinbase, first, second = Block.decode(data).transactions
    chain.refuses(tamper(data, [coinbase, second, first]), "missing-input")


def test_other_orders_of_the_same_transactions_are_other_blocks(chain: Chain) -> None:
    data = chain.build(transfer(chain, 0), transfer(chain, 1))
    coinbase, first, second = Block.decode(data).transactions
    chain.refuses(tamper(data, [coinbase, second, first], keep_root=True), "bad-tx-root")
    chain.check(tamper(data, [coinbase, second, first]))


def test_coins_that_never_were(chain: Chain) -> None:
    parent = transfer(chain, 0)
    for point in (outpoint(bytes(32), 0), outpoint(parent.txid, 1), outpoint(chain.chain_id, 7)):
        chain.refuses(body(chain, parent, chain.pay([(point, key(9))], [(5, key(8))])), "missing-input")


def test_final_coins_are_not_committed_ones(chain: Chain) -> None:
    parent = transfer(chain, 0)
    child = chain.pay([(outpoint(parent.txid, 0), key(9))], [(5000, key(8))])
    chain.ledger.add_final(parent)
    chain.refuses(body(chain, child), "missing-input")
    chain.commit(parent, child)


def test_the_blocks_own_coinbase_is_not_spendable_in_it(chain: Chain) -> None:
    reward = 50 + 20
    coinbase = Transaction.coinbase(1, [Output(reward, owner_of(chain, 0))])
    signer = next(owner(place) for place in range(3) if owner(place).public == owner_of(chain, 0))
    spend = chain.pay([(outpoint(coinbase.txid, 0), signer)], [(reward - 20, key(9))])
    chain.refuses(body(chain, spend, coinbase=[coinbase]), "missing-input")
    delta = chain.commit()
    chain.commit(chain.pay([(outpoint(delta.txids[0], 0), signer)], [(50, key(9))]))


# Values


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([0], "zero-value"),
        ([10_001], "inputs-below-outputs"),
        ([params.MAX_MONEY + 1], "value-overflow"),
        ([2**64 - 1, 2], "value-overflow"),
        ([2**63, 2**63 - 1, 10_001], "value-overflow"),
        ([params.MAX_MONEY] * 19, "sum-overflow"),
    ],
)
def test_money_from_nowhere(chain: Chain, values: list[int], reason: str) -> None:
    chain.refuses(body(chain, chain.pay([chain.coin(0)], [(value, key(9)) for value in values])), reason)


@pytest.mark.parametrize("amount", [COLLATERAL - 1, COLLATERAL + 1])
def test_a_collateral_of_another_amount(chain: Chain, amount: int) -> None:
    tx = chain.pay([chain.coin(0)], [registration(key(5), key(6), amount)])
    chain.refuses(body(chain, tx), "bad-collateral")


# The coinbase


def coinbases(chain: Chain) -> dict[str, list[Transaction]]:
    paid, other = owner_of(chain, 0), owner_of(chain, 1)
    return {
        "missing": [],
        "one unit too much": [Transaction.coinbase(1, [Output(151, paid)])],
        "one unit too little": [Transaction.coinbase(1, [Output(149, paid)])],
        "nothing": [Transaction.coinbase(1, [Output(0, paid)])],
        "fees without subsidy": [Transaction.coinbase(1, [Output(100, paid)])],
        "wraps around": [Transaction.coinbase(1, [Output(2**64 - 1, paid), Output(151, paid)])],
        "another masternode": [Transaction.coinbase(1, [Output(150, other)])],
        "a stranger": [Transaction.coinbase(1, [Output(150, key(9).public)])],
        "two outputs": [Transaction.coinbase(1, [Output(75, paid), Output(75, paid)])],
        "an output more": [Transaction.coinbase(1, [Output(150, paid), Output(1, paid)])],
        "another height": [Transaction.coinbase(2, [Output(150, paid)])],
        "a registration": [Transaction.coinbase(1, [Output(150, paid, params.OUTPUT_COLLATERAL, key(5).public, bytes(16), 1)])],
    }


@pytest.mark.parametrize("case", coinbases(Chain()))
def test_wrong_coinbases(chain: Chain, case: str) -> None:
    chain.refuses(tamper(chain.build(transfer(chain, 0)), [*coinbases(chain)[case], transfer(chain, 0)]), "bad-coinbase")


def test_a_second_coinbase(chain: Chain) -> None:
    tx = transfer(chain, 0)
    coinbase = Block.decode(chain.build(tx)).transactions[0]
    other = Transaction.coinbase(1, [Output(1, owner_of(chain, 0))])
    for wrong in ([coinbase, coinbase, tx], [coinbase, tx, coinbase], [coinbase, other, tx], [coinbase, tx, other]):
        chain.refuses(tamper(chain.build(tx), wrong), "bad-coinbase")


def test_the_coinbase_comes_first(chain: Chain) -> None:
    tx = transfer(chain, 0)
    coinbase = Block.decode(chain.build(tx)).transactions[0]
    chain.refuses(tamper(chain.build(tx), [tx, coinbase]), "bad-coinbase")


def test_a_coinbase_where_there_is_nothing_to_pay() -> None:
    chain = Chain(subsidy=0)
    for value in (0, 1):
        extra = Transaction.coinbase(1, [Output(value, owner_of(chain, 0))])
        chain.refuses(tamper(chain.build(), [extra]), "bad-coinbase")


def test_a_coinbase_is_not_built_twice(chain: Chain) -> None:
    with pytest.raises(BlockError) as caught:
        chain.build(Transaction.coinbase(1, [Output(50, owner_of(chain, 0))]))
    assert caught.value.reason == "bad-coinbase"


def test_another_proposer_in_the_header_is_another_payee(chain: Chain) -> None:
    chain.refuses(tamper(chain.build(), proposer=1), "bad-coinbase")


# The header


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"height": 0}, "bad-height"),
        ({"height": 2}, "bad-height"),
        ({"height": 4}, "bad-height"),
        ({"height": 2**64 - 1}, "bad-height"),
        ({"parent": bytes(32)}, "bad-parent"),
        ({"epoch": 1}, "bad-epoch"),
        ({"proposer": 3}, "bad-proposer"),
        ({"proposer": 65_535}, "bad-proposer"),
        ({"time_ms": 0}, "bad-time"),
        ({"tx_root": bytes(32)}, "bad-tx-root"),
        ({"commitment": bytes(32)}, "bad-commitment"),
        ({"next_set": bytes(32)}, "bad-next-set"),
        ({"closes_epoch": True}, "early-close"),
    ],
)
def test_header_fields_that_lie(chain: Chain, change: dict[str, object], reason: str) -> None:
    chain.skip_to(2)
    chain.refuses(tamper(chain.build(transfer(chain, 0)), **change), reason)


def test_time_is_after_the_parents(chain: Chain) -> None:
    chain.commit()
    for time_ms in (chain.ledger.tip_time - 1, chain.ledger.tip_time):
        chain.refuses(tamper(chain.build(), time_ms=time_ms), "bad-time")
    chain.apply(tamper(chain.build(), time_ms=chain.ledger.tip_time + 1))


def test_a_leader_whose_clock_is_behind_still_builds(chain: Chain) -> None:
    chain.commit()
    data = chain.ledger.build_block([], proposer=0, time_ms=1)
    assert Block.decode(data).header.time_ms == chain.ledger.tip_time + 1
    chain.apply(data)


def test_the_clock_counts_for_fresh_proposals_only(chain: Chain) -> None:
    now = chain.ledger.tip_time
    latest = now + params.MAX_PROPOSAL_DRIFT_MS
    data = chain.ledger.build_block([], proposer=0, time_ms=latest + 1)
    with pytest.raises(BlockError) as caught:
        chain.ledger.check_block(data, now_ms=now)
    assert caught.value.reason == "bad-time"
    chain.ledger.check_block(tamper(data, time_ms=latest), now_ms=now)
    chain.ledger.check_block(data)


def test_the_commitment_of_other_coins(chain: Chain) -> None:
    """A block whose commitment is that of the same payments to other people."""
    mine = chain.build(chain.pay([chain.coin(0)], [(10_000, key(9))]))
    theirs = chain.build(chain.pay([chain.coin(0)], [(10_000, key(8))]))
    chain.refuses(tamper(mine, commitment=Block.decode(theirs).header.commitment), "bad-commitment")
    chain.refuses(tamper(mine, commitment=chain.ledger.commitment()), "bad-commitment")


def test_the_next_set_of_other_masternodes(chain: Chain) -> None:
    chain.skip_to(9)
    leaving = chain.pay([chain.collateral(0)], [(COLLATERAL, key(9))])
    closing = Block.decode(chain.build(leaving, closes_epoch=True)).header.next_set
    staying = chain.ledger.masternodes.hash()
    assert closing != staying
    chain.refuses(tamper(chain.build(leaving), next_set=closing), "bad-next-set")
    chain.refuses(tamper(chain.build(leaving, closes_epoch=True), next_set=staying), "bad-next-set")


def test_a_block_of_another_network(chain: Chain) -> None:
    other = Chain(make_genesis(allocations=5))
    chain.refuses(other.build(), "bad-parent")
    moved = {"parent": chain.ledger.tip, "next_set": chain.ledger.masternodes.hash()}
    paid = [Transaction.coinbase(1, [Output(50, owner_of(chain, 0))])]
    chain.refuses(tamper(other.build(), paid, **moved), "bad-commitment")
    foreign = other.pay([chain.coin(0)], [(9000, key(9))])
    chain.refuses(chain.build(foreign), "bad-signature")


# Witnesses


def test_witness_bytes_are_bound_by_the_block(chain: Chain) -> None:
    tx = transfer(chain, 0)
    data = chain.build(tx)
    coinbase = Block.decode(data).transactions[0]
    flipped = Transaction.decode(tx.encoded[:-1] + bytes([tx.encoded[-1] ^ 0x40]))
    assert flipped.txid == tx.txid
    chain.refuses(tamper(data, [coinbase, flipped], keep_root=True), "bad-tx-root")
    chain.refuses(tamper(data, [coinbase, flipped]), "bad-signature")


def test_witnesses_by_the_wrong_key(chain: Chain) -> None:
    stolen = chain.pay([(chain.coin(0)[0], key(9))], [(9000, key(9))])
    chain.refuses(chain.build(stolen), "bad-signature")
    with_own = chain.pay([chain.coin(1), (chain.coin(0)[0], key(1))], [(19_000, key(9))])
    chain.refuses(chain.build(transfer(chain, 2), with_own), "bad-signature")


def test_the_operator_key_does_not_spend_the_collateral(chain: Chain) -> None:
    point, _ = chain.collateral(0)
    chain.refuses(chain.build(chain.pay([(point, operator(0))], [(COLLATERAL, key(9))])), "bad-signature")
    chain.commit(chain.pay([chain.collateral(0)], [(COLLATERAL, key(9))]))


def test_coins_made_in_the_block_are_signed_for_too(chain: Chain) -> None:
    parent = transfer(chain, 0)
    thief = chain.pay([(outpoint(parent.txid, 0), key(8))], [(5000, key(8))])
    chain.refuses(chain.build(parent, thief), "bad-signature")


def test_verified_witnesses_are_not_handed_out_again(chain: Chain) -> None:
    known, fresh = transfer(chain, 0), transfer(chain, 1)
    data = chain.build(known, fresh)
    check = chain.ledger.check_block(data, verified={known.wtxid})
    found = check.signatures
    assert found.rows() == ([key(1).public], [fresh.signing_message(chain.chain_id)], [fresh.witnesses[0]])
    assert list(found.owners) == [2]
    check.complete(verdicts(check))
    chain.ledger.apply(check)


def test_verified_means_these_very_bytes(chain: Chain) -> None:
    tx = transfer(chain, 0)
    unsigned = Transaction.create(tx.inputs, tx.outputs)
    check = chain.ledger.check_block(chain.build(unsigned), verified={tx.wtxid, tx.txid})
    with pytest.raises(BlockError) as caught:
        check.complete(verdicts(check))
    assert caught.value.reason == "bad-signature"
    assert "transaction 1" in str(caught.value)


def test_every_verdict_is_wanted(chain: Chain) -> None:
    check = chain.ledger.check_block(chain.build(transfer(chain, 0)))
    for wrong in (b"", b"\x01\x01"):
        with pytest.raises(ValueError, match="verdicts for 1 signatures"):
            check.complete(wrong)
    assert not check.completed


# Sizes and encodings


def test_a_block_of_too_many_transactions() -> None:
    chain = Chain(max_block_txs=3, allocations=8)
    assert chain.genesis.block_room()[0] == 2
    chain.commit(transfer(chain, 0), transfer(chain, 1))
    with pytest.raises(BlockError) as caught:
        chain.build(transfer(chain, 2), transfer(chain, 3), transfer(chain, 4))
    assert caught.value.reason == "too-many-transactions"
    many = [transfer(chain, number) for number in (2, 3, 4)]
    chain.refuses(body(chain, *many), "too-many-transactions")


def test_a_block_of_too_many_bytes() -> None:
    chain = Chain(max_block_bytes=MIN_MAX_BLOCK_BYTES, allocations=12)
    big = [chain.pay([chain.coin(number)], [(1, key(9))] * 256) for number in range(6)]
    assert sum(tx.size for tx in big) > chain.genesis.block_room()[1]
    with pytest.raises(BlockError) as caught:
        chain.build(*big)
    assert caught.value.reason == "oversized"
    chain.refuses(body(chain, *big), "oversized")
    chain.refuses(chain.build() + bytes(MIN_MAX_BLOCK_BYTES), "oversized")


def test_block_room_is_exact(chain: Chain) -> None:
    data = chain.build(transfer(chain, 0))
    exact = Chain(max_block_bytes=MIN_MAX_BLOCK_BYTES)
    _, room = exact.genesis.block_room()
    overhead = len(data) - Block.decode(data).transactions[1].size
    assert overhead == BLOCK_OVERHEAD_BYTES + params.MIN_TX_BYTES
    assert overhead + room == exact.genesis.max_block_bytes


def test_every_byte_counts(chain: Chain) -> None:
    """Whatever byte of a valid block is changed, the block is refused; only its time is the proposer's to choose."""
    tx = chain.pay([chain.coin(0), chain.coin(1)], [(9000, key(9)), registration(key(5), key(6))])
    data = chain.build(tx)
    for place in sorted(set(range(len(data))) - set(TIME_FIELD)):
        for flip in (0x01, 0x80):
            changed = data[:place] + bytes([data[place] ^ flip]) + data[place + 1 :]
            with pytest.raises(BlockError):
                chain.check(changed)
    chain.apply(data)


def test_bytes_that_are_no_block(chain: Chain) -> None:
    data = chain.build(transfer(chain, 0))
    for bad in (b"", data[:100], data[: params.HEADER_BYTES], data[:-1], data + b"\x00"):
        chain.refuses(bad, "malformed")
    for cut in range(0, len(data), 17):
        chain.refuses(data[:cut], "malformed")


def test_heights_end_before_the_mark_of_final_coins(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(params, "FINAL_HEIGHT", 2)
    chain.commit()
    with pytest.raises(BlockError) as caught:
        chain.build()
    assert caught.value.reason == "bad-height"


def test_a_check_changes_nothing(chain: Chain) -> None:
    data = chain.build(transfer(chain, 0), closes_epoch=False)
    fresh = Ledger(chain.genesis)
    for _ in range(2):
        chain.check(data)
    assert chain.ledger.tip == fresh.tip
    assert chain.ledger.lthash_state() == fresh.lthash_state()
    assert len(chain.ledger.coins) == len(fresh.coins)
