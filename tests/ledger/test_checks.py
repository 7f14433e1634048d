"""The rules for one transaction: each reason, their order, and that nothing invalid gets as far as a lock."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

import timecoin.ledger
from tests.ledger.helpers import COLLATERAL, Chain, key, registration, verdicts
from timecoin import params
from timecoin.errors import DecodeError, TransactionError
from timecoin.ledger import checks
from timecoin.ledger.checks import Candidate, check_syntax, decode, prepare
from timecoin.ledger.transactions import Output, Transaction, outpoint

FEE = 1000


@pytest.fixture
def chain() -> Chain:
    return Chain()


def finished(chain: Chain, *transactions: Transaction, relay_policy: bool = True) -> list[Candidate]:
    prepared = prepare(transactions, chain.ledger.coins, chain.genesis, relay_policy=relay_policy)
    return prepared.finish(verdicts(prepared))


def reason_of(chain: Chain, tx: Transaction) -> str | None:
    (candidate,) = finished(chain, tx)
    return candidate.error.reason if candidate.error is not None else None


def refused(call: Callable[[], object]) -> str:
    with pytest.raises(TransactionError) as caught:
        call()
    return caught.value.reason


def test_a_valid_transfer_is_accepted_with_its_fee(chain: Chain) -> None:
    tx = chain.pay([chain.coin(0), chain.coin(1)], [(20_000 - FEE, key(9))])
    (candidate,) = finished(chain, tx)
    assert candidate.accepted
    assert candidate.fee == FEE
    assert candidate.missing == ()


def test_decode_screens_size_and_version(chain: Chain) -> None:
    tx = chain.pay([chain.coin(0)], [(9000, key(9))])
    assert decode(tx.encoded) == tx
    assert refused(lambda: decode(bytes(params.MAX_TX_BYTES + 1))) == "oversized"
    assert refused(lambda: decode(b"\x02" + tx.encoded[1:])) == "bad-version"
    for bad in (b"", tx.encoded[:-1], tx.encoded + b"\x00"):
        with pytest.raises(DecodeError):
            decode(bad)


def test_the_largest_transaction_is_not_oversized() -> None:
    inputs = [outpoint(bytes(32), place) for place in range(params.MAX_TX_INPUTS)]
    largest = Transaction.create(inputs, [registration(key(1), key(2))] * params.MAX_TX_OUTPUTS)
    assert largest.size == params.MAX_TX_BYTES
    assert decode(largest.encoded) == largest


@pytest.mark.parametrize(
    ("outputs", "reason"),
    [
        ([Output(0, key(9).public)], "zero-value"),
        ([Output(params.MAX_MONEY + 1, key(9).public)], "value-overflow"),
        ([Output(2**64 - 1, key(9).public)], "value-overflow"),
        ([Output(params.MAX_MONEY, key(9).public), Output(1, key(9).public)], "sum-overflow"),
        ([Output(2**63, key(9).public), Output(2**63, key(9).public)], "value-overflow"),
        ([registration(key(9), key(8), COLLATERAL - 1)], "bad-collateral"),
        ([registration(key(9), key(8), COLLATERAL + 1)], "bad-collateral"),
        ([registration(key(9), key(8), 0)], "zero-value"),
        ([Output(10_001, key(9).public)], "inputs-below-outputs"),
        ([Output(10_000, key(9).public), Output(1, key(9).public)], "inputs-below-outputs"),
        ([Output(10_000, key(9).public)], "low-fee"),
        ([registration(key(9), key(8))], None),
    ],
)
def test_values(chain: Chain, outputs: list[Output], reason: str | None) -> None:
    assert reason_of(chain, chain.pay([chain.coin(0)], outputs)) == reason


def test_sums_that_wrap_in_64_bits_are_no_money(chain: Chain) -> None:
    """Outputs that sum to 10_000 modulo 2^64: the overflow of CVE-2010-5139."""
    values = [2**63, 2**63 - 1, 10_001]
    assert sum(values) % 2**64 == 10_000
    assert reason_of(chain, chain.pay([chain.coin(0)], [(value, key(9)) for value in values])) == "value-overflow"
    shares = [params.MAX_MONEY] * 256
    assert reason_of(chain, chain.pay([chain.coin(0)], [(value, key(9)) for value in shares])) == "sum-overflow"


def test_duplicate_inputs(chain: Chain) -> None:
    tx = chain.pay([chain.coin(0), chain.coin(1), chain.coin(0)], [(20_000, key(9))])
    assert reason_of(chain, tx) == "duplicate-input"


def test_a_coinbase_is_no_transfer(chain: Chain) -> None:
    assert refused(lambda: check_syntax(Transaction.coinbase(1, [Output(50, key(9).public)]), chain.genesis)) == (
        "coinbase-not-allowed"
    )


def test_missing_inputs_wait_and_are_no_rejection(chain: Chain) -> None:
    unknown = outpoint(b"\x99" * 32, 0)
    tx = chain.pay([chain.coin(0), (unknown, key(1))], [(9000, key(9))])
    (candidate,) = finished(chain, tx)
    assert candidate.error is None
    assert candidate.missing == (unknown,)
    assert not candidate.accepted


def test_final_coins_are_inputs(chain: Chain) -> None:
    parent = chain.pay([chain.coin(0)], [(9000, key(9))])
    child = chain.pay([(outpoint(parent.txid, 0), key(9))], [(8000, key(8))])
    assert finished(chain, child)[0].missing
    chain.ledger.add_final(parent)
    assert finished(chain, child)[0].accepted


def test_wrong_signatures(chain: Chain) -> None:
    good = chain.pay([chain.coin(0)], [(9000, key(9))])
    other_key = chain.pay([(chain.coin(0)[0], key(7))], [(9000, key(9))])
    other_chain = Transaction.create(good.inputs, good.outputs).signed(bytes(32), [key(0)])
    unsigned = Transaction.create(good.inputs, good.outputs)
    second_wrong = chain.pay([chain.coin(0), (chain.coin(1)[0], key(0))], [(19_000, key(9))])
    flipped = Transaction.decode(good.encoded[:-1] + bytes([good.encoded[-1] ^ 1]))
    for bad in (other_key, other_chain, unsigned, second_wrong, flipped):
        assert reason_of(chain, bad) == "bad-signature"


def test_one_bad_transaction_does_not_spoil_the_batch(chain: Chain) -> None:
    good = [chain.pay([chain.coin(number)], [(9000, key(9))]) for number in (0, 1, 2)]
    bad = chain.pay([(chain.coin(3)[0], key(7))], [(9000, key(9))])
    low = chain.pay([chain.coin(3)], [(9999, key(9))])
    waiting = chain.pay([(outpoint(bytes(32), 0), key(7))], [(9000, key(9))])
    result = finished(chain, good[0], low, bad, good[1], waiting, good[2])
    assert [item.accepted for item in result] == [True, False, False, True, False, True]
    assert [item.error.reason if item.error else None for item in result] == (
        [None, "low-fee", "bad-signature", None, None, None]
    )


def test_the_same_bytes_twice_in_a_batch(chain: Chain) -> None:
    tx = chain.pay([chain.coin(0)], [(9000, key(9))])
    first, second = finished(chain, tx, tx)
    assert first.accepted
    assert second.error is not None
    assert second.error.reason == "already-known"


def test_a_copy_with_a_wrong_witness_does_not_shadow_the_right_one(chain: Chain) -> None:
    tx = chain.pay([chain.coin(0)], [(9000, key(9))])
    first, second = finished(chain, Transaction.create(tx.inputs, tx.outputs), tx)
    assert first.error is not None
    assert second.accepted


def test_conflicts_are_no_rejection(chain: Chain) -> None:
    rivals = [chain.pay([chain.coin(0)], [(9000 - place, key(9))]) for place in range(3)]
    assert all(item.accepted for item in finished(chain, *rivals))


def test_relay_policy_is_not_asked_of_certified_ones(chain: Chain) -> None:
    tx = chain.pay([chain.coin(0)], [(10_000, key(9))])
    (candidate,) = finished(chain, tx, relay_policy=False)
    assert candidate.accepted
    assert candidate.fee == 0


def test_the_least_relayed_fee_is_a_unit_per_byte(chain: Chain) -> None:
    size = chain.pay([chain.coin(0)], [(1, key(9))]).size
    least = size * params.MIN_RELAY_FEE_RATE
    assert reason_of(chain, chain.pay([chain.coin(0)], [(10_000 - least, key(9))])) is None
    assert reason_of(chain, chain.pay([chain.coin(0)], [(10_000 - least + 1, key(9))])) == "low-fee"


def test_order_syntax_known_inputs_values_signatures(chain: Chain) -> None:
    """A transaction with every fault gets the reason of the first check; the later ones are not even asked."""
    asked: list[bytes] = []

    def known(tx: Transaction) -> str | None:
        asked.append(tx.txid)
        return "recently-rejected"

    syntax = chain.pay([(outpoint(bytes(32), 0), key(7))], [(0, key(9))])
    cached = chain.pay([(outpoint(bytes(32), 0), key(7))], [(5, key(9))])
    prepared = prepare([syntax, cached], chain.ledger.coins, chain.genesis, known=known)
    assert [item.error.reason for item in prepared.candidates if item.error] == ["zero-value", "recently-rejected"]
    assert asked == [cached.txid]
    unpaid = chain.pay([(chain.coin(0)[0], key(7))], [(20_000, key(9))])
    missing = chain.pay([(chain.coin(0)[0], key(7)), (outpoint(bytes(32), 0), key(7))], [(20_000, key(9))])
    prepared = prepare([unpaid, missing], chain.ledger.coins, chain.genesis)
    assert len(prepared.signatures) == 0
    assert prepared.candidates[1].missing


def test_the_number_of_verdicts_must_be_right(chain: Chain) -> None:
    prepared = prepare([chain.pay([chain.coin(0)], [(9000, key(9))])], chain.ledger.coins, chain.genesis)
    for wrong in (b"", b"\x01\x01"):
        with pytest.raises(ValueError, match="verdicts for 1 signatures"):
            prepared.finish(wrong)


def test_reasons_are_complete_and_their_codes_distinct() -> None:
    codes = [code for code, _ in checks.REASONS.values()]
    assert len(set(codes)) == len(codes)
    assert checks.POLICY.issubset(checks.REASONS)
    assert "bad-signature" not in checks.POLICY
    folder = Path(timecoin.ledger.__path__[0])
    raised = set()
    for path in folder.glob("*.py"):
        raised |= set(re.findall(r'TransactionError\(\s*"([a-z-]+)"', path.read_text(encoding="utf-8")))
    assert raised - {"double-spend"} <= checks.REASONS.keys()
