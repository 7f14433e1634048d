"""The ledger moves by one decided block at a time: deltas, FINAL transactions, epochs, and standing up again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.ledger.helpers import (
    COLLATERAL,
    HOME,
    START_MS,
    Chain,
    elements,
    key,
    make_genesis,
    operator,
    owner,
    registration,
    stored_coins,
    stored_state,
    tamper,
    total,
)
from timecoin import params
from timecoin.errors import BlockError, DecodeError, SafetyViolation, TransactionError
from timecoin.ledger.blocks import Block, Header
from timecoin.ledger.coins import PAYMENT_RECORD_BYTES, CoinState, height_of, records_of
from timecoin.ledger.registry import MasternodeSet
from timecoin.ledger.state import Ledger
from timecoin.ledger.transactions import Output, Transaction, outpoint


@pytest.fixture
def chain() -> Chain:
    return Chain()


def transfer(chain: Chain, number: int, fee: int = 100, receiver: int = 9) -> Transaction:
    return chain.pay([chain.coin(number)], [(10_000 - fee, key(receiver))])


def child_of(chain: Chain, parent: Transaction, value: int, signer: int = 9, receiver: int = 9) -> Transaction:
    return chain.pay([(outpoint(parent.txid, 0), key(signer))], [(value, key(receiver))])


# Moving


def test_a_new_ledger_stands_at_genesis(chain: Chain) -> None:
    ledger = chain.ledger
    assert (ledger.height, ledger.epoch, ledger.epoch_start, ledger.nominal_last) == (0, 0, 0, 10)
    assert ledger.tip == Header.decode(chain.genesis.header()).hash()
    assert ledger.tip_time == START_MS
    assert ledger.chain_id == chain.genesis.chain_id
    assert ledger.masternodes == chain.genesis.masternode_set()
    assert total(ledger.coins) == chain.genesis.initial_supply
    assert len(ledger.registry) == 3


def test_apply_moves_everything_together(chain: Chain) -> None:
    tx = transfer(chain, 0)
    data = chain.build(tx)
    delta = chain.apply(data)
    ledger = chain.ledger
    block = Block.decode(data)
    assert (ledger.height, ledger.tip, ledger.header) == (1, block.hash, block.header)
    assert ledger.commitment() == block.header.commitment
    assert ledger.tip_time == START_MS + 1000
    assert delta.hash == block.hash
    coin = ledger.coins.get(outpoint(tx.txid, 0))
    assert coin is not None
    assert (coin.height, coin.output.value, coin.committed) == (1, 9900, True)
    assert ledger.coins.state(chain.coin(0)[0]) is CoinState.SPENT


def test_only_a_completed_check_is_applied(chain: Chain) -> None:
    check = chain.ledger.check_block(chain.build())
    with pytest.raises(ValueError, match="not verified"):
        chain.ledger.apply(check)
    check.complete(b"")
    chain.ledger.apply(check)


def test_a_check_is_good_for_one_tip(chain: Chain) -> None:
    first, second = chain.check(chain.build(transfer(chain, 0))), chain.check(chain.build())
    chain.ledger.apply(first)
    for stale in (first, second):
        with pytest.raises(ValueError, match="the tip is"):
            chain.ledger.apply(stale)
    assert chain.ledger.height == 1


def test_spending_ends_locks(chain: Chain) -> None:
    tx, rival = transfer(chain, 0), chain.pay([chain.coin(0), chain.coin(1)], [(5, key(9))])
    coins = chain.ledger.coins
    assert coins.lock(rival.inputs, rival.txid, 0) is None
    chain.commit(tx)
    assert coins.locker(chain.coin(0)[0]) is None
    assert coins.locker(chain.coin(1)[0]) == (rival.txid, 0)
    assert coins.unlock(rival.inputs, rival.txid) == 1


def test_ledgers_with_the_same_blocks_are_byte_equal(chain: Chain) -> None:
    other = Ledger(chain.genesis)
    final = transfer(chain, 1)
    other.add_final(final)
    other.add_final(child_of(chain, final, 5000))
    for transfers in ([transfer(chain, 0)], [], [final, child_of(chain, final, 5000)], [transfer(chain, 2, 0)]):
        data = chain.build(*transfers)
        chain.apply(data)
        check = other.check_block(data, verified={tx.wtxid for tx in transfers})
        check.complete(b"")
        other.apply(check)
        assert other.tip == chain.ledger.tip
        assert other.commitment() == chain.ledger.commitment()
        assert other.lthash_state() == chain.ledger.lthash_state()
        assert elements(other) == elements(chain.ledger)
    assert sorted(stored_coins(other)) == sorted(stored_coins(chain.ledger))


# FINAL transactions


def test_final_outputs_are_spendable_before_any_block(chain: Chain) -> None:
    ledger = chain.ledger
    parent = transfer(chain, 0)
    child = child_of(chain, parent, 9000)
    before = ledger.lthash_state()
    ledger.add_final(parent)
    ledger.add_final(child)
    ledger.add_final(parent)
    assert set(ledger.final) == {parent.txid, child.txid}
    assert ledger.coins.state(outpoint(child.txid, 0)) is CoinState.UNSPENT
    assert ledger.lthash_state() == before
    assert total(ledger.coins) == chain.genesis.initial_supply
    chain.commit(parent)
    coin = ledger.coins.get(outpoint(parent.txid, 0))
    assert coin is not None
    assert (coin.height, coin.committed) == (1, True)
    assert set(ledger.final) == {child.txid}
    chain.commit(child)
    assert not ledger.final
    assert ledger.coins.state(outpoint(parent.txid, 0)) is CoinState.SPENT
    assert ledger.coins.committed([outpoint(child.txid, 0)]) == [True]


def test_final_parent_and_child_in_one_block(chain: Chain) -> None:
    parent = transfer(chain, 0)
    child = child_of(chain, parent, 9000)
    for tx in (parent, child):
        chain.ledger.add_final(tx)
    chain.commit(parent, child)
    assert chain.ledger.coins.missing([outpoint(parent.txid, 0)])
    assert not chain.ledger.final
    assert total(chain.ledger.coins) == chain.genesis.initial_supply + 50


def test_a_final_registration_is_registered_when_committed(chain: Chain) -> None:
    tx = chain.pay([chain.coin(0)], [registration(key(5), key(6))])
    chain.ledger.add_final(tx)
    assert outpoint(tx.txid, 0) not in chain.ledger.registry
    chain.commit(tx)
    assert outpoint(tx.txid, 0) in chain.ledger.registry
    coin = chain.ledger.coins.get(outpoint(tx.txid, 0))
    assert coin is not None
    assert coin.output == registration(key(5), key(6))


def test_what_cannot_be_final(chain: Chain) -> None:
    ledger = chain.ledger
    cases = {
        "missing-input": chain.pay([(outpoint(bytes(32), 0), key(1))], [(5, key(9))]),
        "inputs-below-outputs": transfer(chain, 0, fee=-1),
        "zero-value": transfer(chain, 0, fee=10_000),
        "coinbase-not-allowed": Transaction.coinbase(1, [Output(5, key(1).public)]),
    }
    for reason, tx in cases.items():
        with pytest.raises(TransactionError) as caught:
            ledger.add_final(tx)
        assert caught.value.reason == reason
    committed = transfer(chain, 0)
    chain.commit(committed)
    with pytest.raises(TransactionError):
        ledger.add_final(committed)
    assert not ledger.final


def test_two_final_ones_that_conflict_stop_the_node(chain: Chain) -> None:
    chain.ledger.add_final(transfer(chain, 0))
    with pytest.raises(SafetyViolation, match="two FINAL"):
        chain.ledger.add_final(transfer(chain, 0, receiver=8))


def test_a_block_against_a_final_one_stops_the_node(chain: Chain) -> None:
    final = chain.pay([chain.coin(0), chain.coin(1)], [(19_000, key(9))])
    chain.ledger.add_final(final)
    check = chain.check(chain.build(transfer(chain, 1)))
    before = elements(chain.ledger)
    with pytest.raises(SafetyViolation, match=final.txid.hex()):
        chain.ledger.apply(check)
    assert elements(chain.ledger) == before
    assert chain.ledger.height == 0
    chain.commit(final)


def test_an_epoch_closed_without_a_final_one_stops_the_node(chain: Chain) -> None:
    chain.skip_to(9)
    final = transfer(chain, 0)
    chain.ledger.add_final(final)
    check = chain.check(chain.build(closes_epoch=True))
    with pytest.raises(SafetyViolation, match="closes the epoch"):
        chain.ledger.apply(check)
    chain.commit(final, closes_epoch=True)
    assert chain.ledger.epoch == 1


def test_nothing_is_kept_of_what_is_done(chain: Chain) -> None:
    """Seen from inside: what a FINAL transaction and a spent collateral took is given back."""
    ledger = chain.ledger
    final = chain.pay([chain.coin(0), chain.collateral(0)], [registration(key(5), key(6))])
    ledger.add_final(final)
    chain.commit(final)
    chain.commit(chain.pay([(outpoint(final.txid, 0), key(5))], [(COLLATERAL, key(9))]))
    assert not ledger.final
    assert not ledger._final_spends
    collaterals = [point for point, record in stored_coins(ledger) if len(record) > PAYMENT_RECORD_BYTES]
    assert len(collaterals) == len(ledger.registry) == 2


# What conflicts with the chain


def test_open_inputs_are_no_conflict(chain: Chain) -> None:
    final = transfer(chain, 0)
    chain.ledger.add_final(final)
    for tx in (transfer(chain, 1), child_of(chain, final, 5)):
        assert not chain.ledger.conflicts_with_chain(tx)
        assert not chain.ledger.conflicts_with_chain(tx, lambda txid: None)


def test_a_spent_input_is_a_conflict(chain: Chain) -> None:
    void = chain.pay([chain.coin(0), chain.coin(1)], [(5, key(9))])
    assert not chain.ledger.conflicts_with_chain(void, lambda txid: None)
    chain.commit(transfer(chain, 0))
    assert chain.ledger.conflicts_with_chain(void, lambda txid: None)


def test_an_index_of_txids_proves_a_spend() -> None:
    index: dict[bytes, int] = {}
    genesis = make_genesis()
    chain = Chain(genesis)
    chain.ledger = Ledger(genesis, committed_height=index.get)
    parent = transfer(chain, 0)
    void, rival = child_of(chain, parent, 5), child_of(chain, parent, 6)
    assert not chain.ledger.conflicts_with_chain(void)
    for number, tx in enumerate((parent, rival), 1):
        index.update(dict.fromkeys(chain.commit(tx).txids, number))
    assert chain.ledger.committed_height(parent.txid) == 1
    assert chain.ledger.committed_height(void.txid) is None
    assert chain.ledger.conflicts_with_chain(void)
    grandchild = child_of(chain, void, 4)
    assert not chain.ledger.conflicts_with_chain(grandchild)
    assert chain.ledger.conflicts_with_chain(grandchild, {void.txid: void}.get)


def test_an_unknown_parent_proves_nothing_without_bodies(chain: Chain) -> None:
    orphan = chain.pay([(outpoint(bytes(32), 0), key(1))], [(5, key(9))])
    assert not chain.ledger.conflicts_with_chain(orphan)
    assert chain.ledger.committed_height(orphan.txid) is None


def test_bodies_decide_from_the_coins_alone(chain: Chain) -> None:
    """As at a node that joined by snapshot: no index of txids, but the bodies of all that is uncommitted."""
    parent = transfer(chain, 0)
    child = child_of(chain, parent, 9000)
    leaf = child_of(chain, child, 8000)
    held = {tx.txid: tx for tx in (parent, child, leaf)}
    assert not chain.ledger.conflicts_with_chain(leaf, held.get)
    assert chain.ledger.conflicts_with_chain(chain.pay([(outpoint(parent.txid, 1), key(9))], [(5, key(9))]), held.get)
    chain.commit(parent)
    assert not chain.ledger.conflicts_with_chain(leaf, held.get)
    chain.commit(child_of(chain, parent, 1000))
    assert chain.ledger.conflicts_with_chain(child, held.get)
    assert chain.ledger.conflicts_with_chain(leaf, held.get)


def test_an_output_that_a_final_one_does_not_have(chain: Chain) -> None:
    final = transfer(chain, 0)
    chain.ledger.add_final(final)
    assert chain.ledger.conflicts_with_chain(chain.pay([(outpoint(final.txid, 1), key(9))], [(5, key(9))]))


# Epochs


def test_an_epoch_may_close_at_its_nominal_last_height(chain: Chain) -> None:
    chain.skip_to(8)
    with pytest.raises(BlockError) as caught:
        chain.build(closes_epoch=True)
    assert caught.value.reason == "early-close"
    chain.commit()
    delta = chain.commit(closes_epoch=True)
    assert (delta.epoch, delta.epoch_start) == (1, 10)
    assert (chain.ledger.epoch, chain.ledger.epoch_start, chain.ledger.nominal_last) == (1, 10, 20)


def test_an_epoch_stays_open_until_a_block_closes_it(chain: Chain) -> None:
    chain.skip_to(13)
    assert chain.ledger.epoch == 0
    chain.commit(closes_epoch=True)
    assert (chain.ledger.epoch, chain.ledger.nominal_last) == (1, 24)
    assert Block.decode(chain.build()).header.epoch == 1


def test_the_set_changes_when_the_epoch_closes(chain: Chain) -> None:
    old = chain.ledger.masternodes
    joining = chain.pay([chain.coin(0)], [registration(key(5), key(6))])
    leaving = chain.pay([chain.collateral(1)], [(COLLATERAL, key(9))])
    delta = chain.commit(joining, leaving)
    assert chain.ledger.masternodes is delta.masternodes is old
    assert Block.decode(chain.build()).header.next_set == old.hash()
    chain.skip_to(9)
    data = chain.build(closes_epoch=True)
    chain.apply(data)
    new = chain.ledger.masternodes
    assert {item.operator for item in new} == {operator(0).public, operator(2).public, key(6).public}
    assert Block.decode(data).header.next_set == new.hash() != old.hash()


def test_the_closing_block_itself_counts(chain: Chain) -> None:
    chain.skip_to(9)
    joining = chain.pay([chain.coin(0)], [registration(key(5), key(6))])
    leaving = chain.pay([chain.collateral(1)], [(COLLATERAL, key(9))])
    passing = chain.pay([chain.coin(1)], [registration(key(7), key(8))])
    gone = chain.pay([(outpoint(passing.txid, 0), key(7))], [(COLLATERAL, key(9))])
    chain.commit(joining, leaving, passing, gone, closes_epoch=True)
    assert {item.operator for item in chain.ledger.masternodes} == ({operator(0).public, operator(2).public, key(6).public})


@pytest.mark.parametrize(("smallest", "leaving", "changes"), [(1, 3, False), (2, 2, False), (2, 1, True), (1, 2, True)])
def test_too_small_a_set_leaves_the_old_one(smallest: int, leaving: int, changes: bool) -> None:
    chain = Chain(min_masternodes=smallest)
    old = chain.ledger.masternodes
    chain.commit(*(chain.pay([chain.collateral(place)], [(COLLATERAL, key(9))]) for place in range(leaving)))
    chain.skip_to(9)
    chain.commit(closes_epoch=True)
    assert chain.ledger.epoch == 1
    assert (chain.ledger.masternodes != old) is changes
    assert len(chain.ledger.masternodes) == (3 - leaving if changes else 3)
    chain.commit(proposer=len(chain.ledger.masternodes) - 1)


def test_the_first_registration_of_an_operator_keeps_its_seat(chain: Chain) -> None:
    chain.commit(chain.pay([chain.coin(0)], [registration(key(5), operator(0))]))
    chain.skip_to(9)
    chain.commit(closes_epoch=True)
    place = chain.ledger.masternodes.index_of(operator(0).public)
    assert place is not None
    assert chain.ledger.masternodes[place].owner == owner(0).public
    chain.commit(chain.pay([chain.collateral(0)], [(COLLATERAL, key(9))]))
    chain.skip_to(19)
    chain.commit(closes_epoch=True)
    place = chain.ledger.masternodes.index_of(operator(0).public)
    assert place is not None
    assert chain.ledger.masternodes[place].owner == key(5).public
    assert chain.ledger.masternodes[place].address == HOME


# Money


def test_no_subsidy_beyond_all_money() -> None:
    rich = params.MAX_MONEY - 3 * COLLATERAL - 120
    chain = Chain(make_genesis(allocations=0, masternodes=3))
    genesis = type(chain.genesis)(
        name="rich",
        time_ms=START_MS,
        masternodes=chain.genesis.masternodes,
        allocations=((key(0).public, rich),),
        collateral=COLLATERAL,
        subsidy=50,
    )
    chain = Chain(genesis)
    expected = [50, 100, 120, 120]
    for paid in expected:
        chain.commit()
        assert total(chain.ledger.coins) == genesis.initial_supply + paid
    assert total(chain.ledger.coins) == params.MAX_MONEY
    everything = chain.pay([chain.coin(0)], [(1, key(9))])
    assert chain.commit(everything).fees == rich - 1
    assert total(chain.ledger.coins) == params.MAX_MONEY


# Standing up again


def restored(ledger: Ledger, **changes: Any) -> Ledger:
    others = {name: changes.pop(name) for name in ("committed_height",) if name in changes}
    return Ledger.restore(ledger.genesis, replace(stored_state(ledger), **changes), **others)


@pytest.fixture
def travelled() -> Chain:
    """A chain at height 13 in epoch 1, with a registration, a FINAL transaction and spent coins."""
    chain = Chain()
    chain.commit(transfer(chain, 0), chain.pay([chain.coin(1)], [registration(key(5), key(6))]))
    chain.commit(chain.pay([chain.collateral(2)], [(COLLATERAL, key(9))]))
    chain.skip_to(9)
    chain.commit(closes_epoch=True)
    chain.skip_to(13)
    chain.ledger.add_final(transfer(chain, 2))
    return chain


def test_restored_is_the_same(travelled: Chain) -> None:
    ledger = travelled.ledger
    again = restored(ledger, committed_height={b"x": 3}.get)
    assert (again.height, again.tip, again.epoch, again.nominal_last) == (13, ledger.tip, 1, 20)
    assert again.masternodes == ledger.masternodes
    assert again.lthash_state() == ledger.lthash_state()
    assert again.registry.masternode_set() == ledger.registry.masternode_set()
    assert sorted(stored_coins(again)) == sorted(stored_coins(ledger))
    assert not again.final
    assert again.committed_height(b"x") == 3
    again.add_final(transfer(travelled, 2))
    data = travelled.build(transfer(travelled, 2), transfer(travelled, 3))
    travelled.apply(data)
    check = again.check_block(data)
    check.complete([True] * len(check.signatures))
    again.apply(check)
    assert again.tip == ledger.tip
    assert again.lthash_state() == ledger.lthash_state()


def test_restoring_at_genesis_and_at_a_closing_block(chain: Chain) -> None:
    assert restored(chain.ledger).tip == chain.ledger.tip
    chain.skip_to(9)
    chain.commit(closes_epoch=True)
    again = restored(chain.ledger)
    assert (again.epoch, again.epoch_start) == (1, 10)


Coin = tuple[bytes, bytes]


def more_value(coin: Coin) -> Coin:
    point, record = coin
    return point, record[:5] + bytes([record[5] ^ 1]) + record[6:]


def to_a_thief(coin: Coin) -> Coin:
    point, record = coin
    return point, record[:13] + key(77).public + record[45:]


def made_at(coin: Coin, height: int) -> Coin:
    return coin[0], height.to_bytes(4, "big") + coin[1][4:]


@pytest.mark.parametrize(
    "forge",
    [
        lambda coins: coins[1:],
        lambda coins: [],
        lambda coins: sorted([*coins, *records_of([(outpoint(bytes(32), 0), Output(5, bytes(32)))], 1)]),
        lambda coins: [more_value(coins[0]), *coins[1:]],
        lambda coins: [to_a_thief(coins[0]), *coins[1:]],
        lambda coins: [made_at(coins[0], (height_of(coins[0][1]) + 1) % 13), *coins[1:]],
        lambda coins: [made_at(coins[0], 14), *coins[1:]],
        lambda coins: [made_at(coins[0], params.FINAL_HEIGHT), *coins[1:]],
        lambda coins: [*coins, coins[0]],
        lambda coins: [coins[0], *coins],
        lambda coins: coins[::-1],
        lambda coins: coins * 2,
        lambda coins: sorted([*coins, *[coins[0]] * 65_536]),
    ],
)
def test_a_wrong_coin_set_is_refused(travelled: Chain, forge: Callable[[list[Coin]], list[Coin]]) -> None:
    with pytest.raises(BlockError) as caught:
        restored(travelled.ledger, coins=forge(stored_coins(travelled.ledger)))
    assert caught.value.reason == "bad-commitment"


def test_wrong_surroundings_are_refused(travelled: Chain) -> None:
    ledger = travelled.ledger
    genesis_set = travelled.genesis.masternode_set()
    assert genesis_set != ledger.masternodes
    cases: list[tuple[dict[str, Any], str]] = [
        ({"masternodes": genesis_set.encode()}, "bad-next-set"),
        ({"masternodes": MasternodeSet([]).encode()}, "bad-next-set"),
        ({"epoch_start": 0}, "bad-epoch"),
        ({"epoch_start": 9}, "bad-epoch"),
        ({"epoch_start": 13}, "bad-epoch"),
        ({"epoch_start": 14}, "bad-epoch"),
        ({"header": Header.decode(travelled.genesis.header()).encode()}, "bad-epoch"),
        ({"header": tamper_header(travelled, commitment=bytes(32))}, "bad-commitment"),
    ]
    for change, reason in cases:
        with pytest.raises(BlockError) as caught:
            restored(ledger, **change)
        assert caught.value.reason == reason, change
    for change in ({"masternodes": b"\x01"}, {"header": b""}, {"coins": [(bytes(36), bytes(44))]}):
        with pytest.raises(DecodeError):
            restored(ledger, **change)


def tamper_header(chain: Chain, **change: Any) -> bytes:
    header = chain.ledger.header
    data = tamper(Block.create(header, []).encoded, tx_root=header.tx_root, **change)
    return data[: params.HEADER_BYTES]


def test_genesis_of_another_network_is_refused(chain: Chain) -> None:
    other = make_genesis(allocations=5)
    with pytest.raises(BlockError) as caught:
        restored(chain.ledger, header=other.header())
    assert caught.value.reason == "bad-height"


def test_heights_are_part_of_what_is_committed(chain: Chain) -> None:
    """Two registrations of one operator key: their heights decide who has the seat, so nobody may swap them."""
    first = chain.pay([chain.coin(0)], [registration(key(5), key(50))])
    second = chain.pay([chain.coin(1)], [registration(key(6), key(50))])
    chain.commit(first)
    chain.commit(second)
    points = [outpoint(first.txid, 0), outpoint(second.txid, 0)]
    swapped = [made_at(coin, 3 - height_of(coin[1])) if coin[0] in points else coin for coin in stored_coins(chain.ledger)]
    with pytest.raises(BlockError) as caught:
        restored(chain.ledger, coins=swapped)
    assert caught.value.reason == "bad-commitment"
