"""Evidence in blocks: whom it marks, when it is none, and what marks do to the next set. Labels stand in for proofs."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.ledger.helpers import Chain, key, make_genesis, operator, registration, stored_state, tamper
from timecoin import params
from timecoin.errors import BlockError
from timecoin.ledger.blocks import BLOCK_OVERHEAD_BYTES, EVIDENCE_OVERHEAD_BYTES, Block
from timecoin.ledger.state import Ledger
from timecoin.ledger.transactions import Transaction

ONE, TWO = operator(1).public, operator(2).public


@pytest.fixture
def chain() -> Chain:
    return Chain(masternodes=4, epoch_length=3)


def operators(chain: Chain) -> set[bytes]:
    return {member.operator for member in chain.ledger.masternodes}


def close(chain: Chain, **fields: Sequence[bytes]) -> None:
    """Empty blocks, and the one that closes the epoch."""
    chain.skip_to(chain.ledger.nominal_last - 1)
    chain.commit(closes_epoch=True, **fields)


def refused_evidence(chain: Chain, *proofs: bytes, why: str) -> None:
    """Neither built nor taken, with a header that is right in all else."""
    with pytest.raises(BlockError, match=why) as caught:
        chain.build(evidence=proofs)
    assert caught.value.reason == "bad-evidence"
    data = tamper(chain.build(), evidence=proofs)
    chain.refuses(data, "bad-evidence")


class TestMarks:
    def test_a_block_marks_whom_it_convicts(self, chain: Chain) -> None:
        began = chain.ledger.masternodes
        delta = chain.commit(evidence=[chain.accuse(ONE)])
        assert delta.masternodes == chain.ledger.masternodes == began.convict({ONE})
        assert chain.ledger.header.next_set == began.convict({ONE}).hash() != began.hash()
        chain.commit()
        chain.commit(evidence=[chain.accuse(TWO)])
        assert chain.ledger.masternodes.convicted == {ONE, TWO}
        assert operators(chain) == {operator(place).public for place in range(4)}  # they vote on

    def test_several_at_once(self, chain: Chain) -> None:
        chain.commit(evidence=[chain.accuse(TWO), chain.accuse(ONE)])
        assert chain.ledger.masternodes.convicted == {ONE, TWO}

    def test_a_set_without_the_marks_is_not_the_next(self, chain: Chain) -> None:
        data = chain.build(evidence=[chain.accuse(ONE)])
        chain.refuses(tamper(data, next_set=chain.ledger.masternodes.hash()), "bad-next-set")
        chain.refuses(tamper(data, evidence=()), "bad-next-set")
        chain.refuses(tamper(chain.build(), next_set=chain.ledger.masternodes.convict({ONE}).hash()), "bad-next-set")

    def test_the_header_binds_the_evidence(self, chain: Chain) -> None:
        data = chain.build(evidence=[chain.accuse(ONE)])
        chain.refuses(tamper(data, evidence=[chain.accuse(ONE)], keep_root=True), "bad-tx-root")
        chain.refuses(tamper(data, evidence=(), keep_root=True), "bad-tx-root")
        chain.refuses(tamper(chain.build(), evidence=[chain.accuse(ONE)], keep_root=True), "bad-tx-root")

    def test_a_transaction_is_proved_beside_evidence(self, chain: Chain) -> None:
        block = Block.decode(chain.build(evidence=[chain.accuse(ONE), chain.accuse(TWO)]))
        assert (block.batch.count, block.leaves) == (1, 3)
        assert len(block.branch(0)) == 2 * 32


class TestRefused:
    def test_what_proves_nothing(self, chain: Chain) -> None:
        refused_evidence(chain, b"a forgery", why="block 1, evidence 0: no proof")
        refused_evidence(chain, chain.accuse(ONE), b"a forgery", why="evidence 1: no proof")

    def test_without_a_judge(self, chain: Chain) -> None:
        """A ledger that cannot read evidence takes none on trust."""
        data = chain.build(evidence=[chain.accuse(ONE)])
        with pytest.raises(BlockError, match="nobody here can read it") as caught:
            chain.ledger.check_block(data)
        assert caught.value.reason == "bad-evidence"
        with pytest.raises(BlockError, match="nobody here can read it"):
            chain.ledger.build_block((), proposer=0, time_ms=chain.ledger.tip_time + 1, evidence=[chain.accuse(ONE)])
        assert chain.ledger.check_block(chain.build()) is not None

    def test_who_has_no_seat(self, chain: Chain) -> None:
        refused_evidence(chain, chain.accuse(operator(9).public), why="has no seat in epoch 0")

    def test_twice_in_one_block(self, chain: Chain) -> None:
        refused_evidence(chain, chain.accuse(ONE), chain.accuse(ONE), why="evidence 1: .* is convicted twice")

    def test_twice_in_one_epoch(self, chain: Chain) -> None:
        chain.commit(evidence=[chain.accuse(ONE)])
        refused_evidence(chain, chain.accuse(ONE), why="is convicted already")

    def test_a_height_that_is_not_reached(self, chain: Chain) -> None:
        later = chain.accuse(ONE, decided=1)
        refused_evidence(chain, later, why="it rests on height 1, the tip is 0")
        chain.commit()
        chain.commit(evidence=[later])
        assert chain.ledger.masternodes.convicted == {ONE}

    @pytest.mark.parametrize("epochs", [1, 2])
    def test_an_offence_of_long_ago(self, chain: Chain, epochs: int) -> None:
        old = chain.accuse(ONE)
        for _ in range(epochs):
            close(chain)
        if epochs == 1:
            chain.commit(evidence=[old])
            assert chain.ledger.masternodes.convicted == {ONE}
        else:
            refused_evidence(chain, old, why="it is of epoch 0, the open one is 2")

    def test_an_offence_of_an_epoch_to_come(self, chain: Chain) -> None:
        refused_evidence(chain, chain.accuse(ONE, epoch=1), why="it is of epoch 1, the open one is 0")


class TestRestsOnCoins:
    """A double LOCK counts only while nothing can have made its first transaction void."""

    def spend(self, chain: Chain, number: int) -> Transaction:
        return chain.pay([chain.coin(number)], [(9_000, key(9))])

    def test_coins_that_are_committed(self, chain: Chain) -> None:
        chain.commit(evidence=[chain.accuse(ONE, unspent=[chain.coin(0)[0], chain.coin(1)[0]])])
        assert chain.ledger.masternodes.convicted == {ONE}

    def test_a_spent_coin_may_be_the_reason_of_an_honest_relock(self, chain: Chain) -> None:
        chain.commit(self.spend(chain, 1))
        refused_evidence(
            chain, chain.accuse(ONE, unspent=[chain.coin(0)[0], chain.coin(1)[0]]), why="which is spent or in no block"
        )

    def test_the_coins_are_those_before_the_block(self, chain: Chain) -> None:
        proof = chain.accuse(ONE, unspent=[chain.coin(0)[0]])
        chain.commit(self.spend(chain, 0), evidence=[proof])
        assert chain.ledger.masternodes.convicted == {ONE}

    def test_a_coin_that_is_only_final_is_none(self, chain: Chain) -> None:
        parent = self.spend(chain, 0)
        chain.ledger.add_final(parent)
        point = next(iter(parent.output_coins()))[0]
        assert parent.txid in chain.ledger.final
        refused_evidence(chain, chain.accuse(ONE, unspent=[point]), why="which is spent or in no block")
        chain.commit(parent)
        chain.commit(evidence=[chain.accuse(ONE, unspent=[point])])
        assert chain.ledger.masternodes.convicted == {ONE}

    def test_a_coin_that_never_was(self, chain: Chain) -> None:
        refused_evidence(chain, chain.accuse(ONE, unspent=[bytes(36)]), why="which is spent or in no block")

    def test_every_node_decides_the_same_from_its_coins(self, chain: Chain) -> None:
        """One that was restored knows nothing of what spent a coin, and objects all the same."""
        chain.commit(self.spend(chain, 1))
        restored = Ledger.restore(chain.genesis, stored_state(chain.ledger))
        for point in (chain.coin(0)[0], chain.coin(1)[0]):
            accusation = chain.accusations[chain.accuse(ONE, decided=1, unspent=[point])]
            assert restored.objection(accusation) == chain.ledger.objection(accusation)


class TestNextSet:
    def test_the_convicted_have_no_seat_in_the_next_epoch(self, chain: Chain) -> None:
        chain.commit(evidence=[chain.accuse(ONE)])
        close(chain)
        assert ONE not in operators(chain)
        assert len(chain.ledger.masternodes) == 3
        assert chain.ledger.masternodes.convicted == frozenset()

    def test_nor_has_whom_the_closing_block_convicts(self, chain: Chain) -> None:
        close(chain, evidence=[chain.accuse(TWO)])
        assert operators(chain) == {operator(place).public for place in (0, 1, 3)}
        assert chain.ledger.masternodes.convicted == frozenset()

    def test_they_come_back_with_the_epoch_after(self, chain: Chain) -> None:
        chain.commit(evidence=[chain.accuse(ONE)])
        close(chain)
        old = chain.accuse(ONE, epoch=0)
        refused_evidence(chain, old, why="has no seat in epoch 1")
        close(chain)
        assert ONE in operators(chain)
        refused_evidence(chain, old, why="it is of epoch 0, the open one is 2")

    def test_a_second_registration_of_the_key_is_no_way_round(self, chain: Chain) -> None:
        again = chain.pay([chain.coin(0)], [registration(key(0), operator(1)), (8_000, key(0))])
        chain.commit(again, evidence=[chain.accuse(ONE)])
        close(chain)
        assert ONE not in operators(chain)

    def test_a_block_that_leaves_them_in_is_refused(self, chain: Chain) -> None:
        chain.commit(evidence=[chain.accuse(ONE)])
        chain.skip_to(2)
        data = chain.build(closes_epoch=True)
        for wrong in (chain.ledger.masternodes, chain.ledger.masternodes.unmarked()):
            chain.refuses(tamper(data, next_set=wrong.hash()), "bad-next-set")

    def test_where_too_few_would_be_left_the_old_set_stays_and_is_forgiven(self) -> None:
        chain = Chain(genesis=make_genesis(4, epoch_length=3, min_masternodes=4))
        began = chain.ledger.masternodes
        chain.commit(evidence=[chain.accuse(ONE)])
        close(chain)
        assert chain.ledger.epoch == 1
        assert chain.ledger.masternodes == began


class TestRoom:
    def test_evidence_counts_for_the_size_of_a_block(self) -> None:
        chain = Chain(genesis=make_genesis(4, max_block_bytes=60_000))
        proof = chain.accuse(ONE)
        empty = len(chain.build())
        data = chain.build(evidence=[proof])
        assert len(data) == empty + EVIDENCE_OVERHEAD_BYTES + len(proof)
        room = 60_000 - empty - EVIDENCE_OVERHEAD_BYTES
        for size, fits in ((room, True), (room + 1, False)):
            large = b"x" * size
            chain.accusations[large] = chain.accusations[proof]
            if fits:
                assert len(chain.build(evidence=[large])) == 60_000
            else:
                with pytest.raises(BlockError) as caught:
                    chain.build(evidence=[large])
                assert caught.value.reason == "oversized"

    def test_an_empty_block_is_overhead_and_coinbase(self, chain: Chain) -> None:
        data = chain.build()
        assert len(data) == BLOCK_OVERHEAD_BYTES + Block.decode(data).transactions[0].size

    def test_so_many_items_are_too_many(self) -> None:
        chain = Chain(genesis=make_genesis(params.MAX_BLOCK_EVIDENCE + 1))
        proofs = [chain.accuse(operator(place).public) for place in range(params.MAX_BLOCK_EVIDENCE + 1)]
        with pytest.raises(ValueError, match="17 items of evidence, at most 16"):
            chain.build(evidence=proofs)
        chain.commit(evidence=proofs[:-1])
        assert len(chain.ledger.masternodes.convicted) == params.MAX_BLOCK_EVIDENCE


class TestRestored:
    def test_marks_are_part_of_what_is_stored(self, chain: Chain) -> None:
        chain.commit(evidence=[chain.accuse(ONE)])
        restored = Ledger.restore(chain.genesis, stored_state(chain.ledger))
        assert restored.masternodes == chain.ledger.masternodes
        assert restored.masternodes.convicted == {ONE}
        assert restored.tip == chain.ledger.tip
        proof = chain.accusations[chain.accuse(ONE)]
        assert restored.objection(proof) == chain.ledger.objection(proof)

    def test_a_state_that_hides_them_is_refused(self, chain: Chain) -> None:
        chain.commit(evidence=[chain.accuse(ONE)])
        stored = stored_state(chain.ledger)
        hidden = type(stored)(stored.header, stored.coins, chain.ledger.masternodes.unmarked().encode(), stored.epoch_start)
        with pytest.raises(BlockError) as caught:
            Ledger.restore(chain.genesis, hidden)
        assert caught.value.reason == "bad-next-set"
