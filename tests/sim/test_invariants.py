"""Each invariant fires on a violation made by hand, and not on what is like it and allowed."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.replica.helpers import (
    BlockMaker,
    batch,
    make_genesis,
    operators,
    phase_certificate,
    phase_vote,
    proposal,
    signed,
    transfer,
    vote_certificate,
)
from timecoin.consensus.certificates import Phase, PhaseCertificate, VoteKind
from timecoin.consensus.messages import Message, NewView, ViewChange, VoteBatch
from timecoin.ledger.blocks import Block, Delta
from timecoin.ledger.state import Ledger
from timecoin.ledger.transactions import Transaction
from timecoin.replica import journal, tables
from timecoin.replica.payloads import encode_blocks
from timecoin.replica.tables import Write
from timecoin.replica.wire import Kind
from timecoin.sim import durability
from timecoin.sim.bounds import check_memory
from timecoin.sim.disk import VirtualDisk
from timecoin.sim.invariants import Chain, InvariantError, votes_needed
from timecoin.sim.node import Verifier
from timecoin.sim.traffic import SignedTraffic

GENESIS = make_genesis(epoch_length=3)
ONE, OTHER, THIRD = transfer(GENESIS, 0), transfer(GENESIS, 0, fee=2000), transfer(GENESIS, 1)
ABSENT = bytes(range(32))


class Scene:
    """A chain and the traffic of four masternodes; voter 0 is the correct one that is watched, voter 3 may lie."""

    def __init__(self) -> None:
        self.maker = BlockMaker(GENESIS)
        known = {tx.txid: tx for tx in (ONE, OTHER, THIRD)}
        self.chain = Chain(GENESIS, known)
        self.traffic = SignedTraffic(GENESIS.chain_id, self.chain, known, Verifier())
        self.ledger = Ledger(GENESIS)

    def apply(self, block: bytes, *, view: int = 0, node: int = 0) -> Delta:
        check = self.ledger.check_block(block)
        check.complete(b"\1" * len(check.signatures))
        delta = self.ledger.apply(check)
        self.chain.add_block(node, delta, view)
        return delta

    def block(self, *transactions: Transaction, closes_epoch: bool = False, time_ms: int = 0) -> bytes:
        return self.ledger.build_block(transactions, proposer=1, time_ms=time_ms, closes_epoch=closes_epoch)

    def says(self, message: Message, voter: int = 0) -> None:
        """A correct node sends what it signed."""
        kind = Kind.VOTE_BATCH if isinstance(message, VoteBatch) else journal.kind_of(message)
        self.traffic.from_correct(kind, message.encode(), operators(4)[voter].public)

    def lies(self, message: Message) -> None:
        kind = Kind.VOTE_BATCH if isinstance(message, VoteBatch) else journal.kind_of(message)
        self.traffic.from_faulty(kind, message.encode())

    def votes(self, kind: VoteKind, tx: Transaction, voters: range = range(1, 4)) -> None:
        """Others vote for a transaction; their own promises are not looked at."""
        for voter in voters:
            ids = {"locks": [tx.txid]} if kind is VoteKind.LOCK else {"acks": [tx.txid]}
            self.lies(batch(GENESIS, voter, 1000 * kind + 10 + voter, epoch=self.chain.epoch, **ids))

    def prepared(self, digest: bytes, view: int = 0, height: int = 1, voters: range = range(1, 4)) -> PhaseCertificate:
        for voter in voters:
            self.lies(phase_vote(GENESIS, Phase.PREPARE, voter, digest, height=height, view=view))
        return phase_certificate(GENESIS, Phase.PREPARE, voters, digest, height=height, view=view)

    def view_change(self, voter: int, view: int, prepared: PhaseCertificate | None = None, height: int = 1) -> ViewChange:
        made = signed(GENESIS, ViewChange(0, height, view, voter, prepared), voter)
        assert isinstance(made, ViewChange)
        return made

    def new_view(self, view: int, block: bytes, *changes: ViewChange) -> NewView:
        voter = (1 + view) % 4
        made = signed(GENESIS, NewView(0, 1, view, voter, changes, Block.decode(block).hash, block), voter)
        assert isinstance(made, NewView)
        return made


def two_blocks(scene: Scene) -> None:
    other = Scene()
    delta = other.apply(other.block(THIRD))
    scene.apply(scene.block())
    scene.chain.add_block(1, delta, 0)


def two_commit_quorums(scene: Scene) -> None:
    for digest in (bytes(32), ABSENT):
        for voter in range(1, 4):
            scene.lies(phase_vote(GENESIS, Phase.COMMIT, voter, digest, view=digest[1]))


def two_prepared_blocks(scene: Scene) -> None:
    scene.prepared(bytes(32))
    scene.prepared(ABSENT)


def prepared_after_a_commit(scene: Scene) -> None:
    for voter in range(1, 4):
        scene.lies(phase_vote(GENESIS, Phase.COMMIT, voter, ABSENT))
    scene.prepared(bytes(32), view=2)


def two_certified(scene: Scene) -> None:
    scene.votes(VoteKind.LOCK, ONE)
    scene.votes(VoteKind.LOCK, OTHER)


def final_against_a_block(scene: Scene) -> None:
    scene.votes(VoteKind.ACK, ONE)
    scene.apply(scene.block(OTHER))


def block_against_final(scene: Scene) -> None:
    scene.apply(scene.block(OTHER))
    scene.votes(VoteKind.ACK, ONE)


def two_final(scene: Scene) -> None:
    scene.votes(VoteKind.ACK, ONE)
    scene.votes(VoteKind.ACK, OTHER)


def closed_without_final(scene: Scene) -> None:
    scene.votes(VoteKind.ACK, ONE)
    scene.apply(scene.block())
    scene.apply(scene.block())
    scene.apply(scene.block(closes_epoch=True))


def two_digests(scene: Scene) -> None:
    block = scene.block()
    scene.says(proposal(GENESIS, block), 1)
    scene.says(phase_vote(GENESIS, Phase.PREPARE, 0, Block.decode(block).hash))
    scene.says(phase_vote(GENESIS, Phase.PREPARE, 0, ABSENT))


def two_batches(scene: Scene) -> None:
    scene.says(batch(GENESIS, 0, 1, locks=[ONE.txid]))
    scene.says(batch(GENESIS, 0, 1, locks=[THIRD.txid]))


def looking_back(scene: Scene) -> None:
    block = scene.block()
    scene.says(proposal(GENESIS, block), 1)
    scene.says(scene.view_change(0, 1))
    scene.says(phase_vote(GENESIS, Phase.PREPARE, 0, Block.decode(block).hash))


def two_locks(scene: Scene) -> None:
    scene.says(batch(GENESIS, 0, 1, locks=[ONE.txid]))
    scene.says(batch(GENESIS, 0, 2, locks=[OTHER.txid]))


def void_vote(scene: Scene) -> None:
    scene.apply(scene.block(OTHER))
    scene.says(batch(GENESIS, 0, 1, locks=[ONE.txid], decided=1))


def ack_without_certificate(scene: Scene) -> None:
    scene.votes(VoteKind.LOCK, ONE, range(2, 4))
    scene.says(batch(GENESIS, 0, 1, acks=[ONE.txid]))


def commit_without_certificate(scene: Scene) -> None:
    scene.prepared(ABSENT, voters=range(2, 4))
    scene.says(phase_vote(GENESIS, Phase.COMMIT, 0, ABSENT))


def commit_of_two_views(scene: Scene) -> None:
    scene.prepared(ABSENT, voters=range(2, 4))
    scene.prepared(ABSENT, view=1, voters=range(1, 3))
    scene.says(phase_vote(GENESIS, Phase.COMMIT, 0, ABSENT, view=1))


def prepare_without_proposal(scene: Scene) -> None:
    scene.says(phase_vote(GENESIS, Phase.PREPARE, 0, ABSENT))


def view_change_without_certificate(scene: Scene) -> None:
    scene.prepared(ABSENT)
    scene.says(phase_vote(GENESIS, Phase.COMMIT, 0, ABSENT))
    scene.says(scene.view_change(0, 1))


def new_view_with_too_few(scene: Scene) -> None:
    scene.says(scene.new_view(3, scene.block(), *(scene.view_change(voter, 3) for voter in (1, 2))))


def new_view_with_another_block(scene: Scene) -> None:
    changes = [scene.view_change(voter, 3, scene.prepared(ABSENT) if voter == 1 else None) for voter in (1, 2, 3)]
    scene.says(scene.new_view(3, scene.block(), *changes))


def uncertified_in_a_later_view(scene: Scene) -> None:
    scene.says(scene.new_view(3, scene.block(ONE), *(scene.view_change(voter, 3) for voter in (1, 2, 3))))


def prepare_against_own_ack(scene: Scene) -> None:
    scene.votes(VoteKind.LOCK, ONE)
    scene.says(batch(GENESIS, 0, 1, acks=[ONE.txid]))
    block = scene.block(OTHER)
    scene.lies(proposal(GENESIS, block))
    scene.says(phase_vote(GENESIS, Phase.PREPARE, 0, Block.decode(block).hash))


def ack_against_own_prepare(scene: Scene) -> None:
    block = scene.block(OTHER)
    scene.lies(proposal(GENESIS, block))
    scene.says(phase_vote(GENESIS, Phase.PREPARE, 0, Block.decode(block).hash))
    scene.votes(VoteKind.LOCK, ONE)
    scene.says(batch(GENESIS, 0, 1, acks=[ONE.txid]))


def vote_while_draining(scene: Scene) -> None:
    scene.apply(scene.block())
    scene.apply(scene.block())
    scene.says(batch(GENESIS, 0, 1, locks=[ONE.txid], decided=2))


@pytest.mark.parametrize(
    ("violation", "invariant"),
    [
        (two_blocks, "agreement"),
        (two_commit_quorums, "agreement"),
        (two_prepared_blocks, "certificates"),
        (prepared_after_a_commit, "certificates"),
        (two_certified, "certificates"),
        (final_against_a_block, "claim"),
        (block_against_final, "claim"),
        (two_final, "claim"),
        (closed_without_final, "claim"),
        (two_digests, "one voice"),
        (two_batches, "one voice"),
        (looking_back, "looking back"),
        (two_locks, "locks"),
        (void_vote, "locks"),
        (ack_without_certificate, "grounds"),
        (commit_without_certificate, "grounds"),
        (commit_of_two_views, "grounds"),
        (prepare_without_proposal, "grounds"),
        (view_change_without_certificate, "grounds"),
        (new_view_with_too_few, "grounds"),
        (new_view_with_another_block, "grounds"),
        (uncertified_in_a_later_view, "R5"),
        (prepare_against_own_ack, "R1"),
        (ack_against_own_prepare, "R2"),
        (vote_while_draining, "R4"),
    ],
    ids=lambda value: value.__name__ if callable(value) else value,
)
def test_a_violation_is_found(violation: Callable[[Scene], None], invariant: str) -> None:
    with pytest.raises(InvariantError) as caught:
        violation(Scene())
    assert caught.value.invariant == invariant


class TestAllowed:
    def test_a_relock_after_a_block_voided_the_first(self) -> None:
        scene = Scene()
        both = Transaction.create([*ONE.inputs, *THIRD.inputs], ONE.outputs)
        for known in (scene.chain._transactions,):
            known[both.txid] = both
        scene.says(batch(GENESIS, 0, 1, locks=[both.txid]))
        scene.apply(scene.block(ONE))
        scene.says(batch(GENESIS, 0, 2, locks=[THIRD.txid], decided=1))

    def test_a_justified_proposal_against_an_own_ack(self) -> None:
        """R3."""
        scene = Scene()
        scene.votes(VoteKind.LOCK, ONE)
        scene.says(batch(GENESIS, 0, 1, acks=[ONE.txid]))
        block = scene.block(OTHER)
        digest = Block.decode(block).hash
        certificate = scene.prepared(digest)
        changes = [scene.view_change(voter, 3, certificate) for voter in (1, 2, 3)]
        scene.lies(scene.new_view(3, block, *changes))
        scene.says(phase_vote(GENESIS, Phase.PREPARE, 0, digest, view=3))

    def test_votes_of_two_epochs_and_forged_ones_do_not_add_up(self) -> None:
        scene = Scene()
        scene.votes(VoteKind.LOCK, ONE, range(2, 4))
        scene.lies(replace(batch(GENESIS, 1, 1, locks=[ONE.txid]), signature=bytes(64)))
        scene.lies(batch(GENESIS, 1, 1, locks=[ONE.txid], epoch=1))
        assert not scene.traffic.has_votes(VoteKind.LOCK, 0, ONE.txid)
        scene.votes(VoteKind.LOCK, ONE, range(1, 2))
        assert scene.traffic.has_votes(VoteKind.LOCK, 0, ONE.txid)

    def test_votes_inside_of_certificates_count(self) -> None:
        scene = Scene()
        batches = [batch(GENESIS, voter, 1, locks=[ONE.txid]) for voter in range(1, 4)]
        shown = vote_certificate(VoteKind.LOCK, ONE.txid, batches)
        scene.traffic.from_faulty(Kind.VOTE_CERTIFICATE, shown.encode())
        assert scene.traffic.has_votes(VoteKind.LOCK, 0, ONE.txid)
        block = scene.block()
        digest = Block.decode(block).hash
        decided = phase_certificate(GENESIS, Phase.COMMIT, range(1, 4), digest)
        scene.traffic.from_faulty(Kind.BLOCKS, encode_blocks([(block, decided.encode())]))
        assert scene.traffic.is_committed(0, 1, digest, 0)

    def test_what_a_liar_signed_for_an_epoch_before_a_correct_node_knew_its_set(self) -> None:
        scene = Scene()
        for voter in range(1, 4):
            scene.lies(batch(GENESIS, voter, 1, locks=[ONE.txid], epoch=1))
        for closes in (False, False, True):
            scene.apply(scene.block(closes_epoch=closes))
        assert not scene.traffic.has_votes(VoteKind.LOCK, 1, ONE.txid)
        scene.traffic.epoch_opened()
        assert scene.traffic.has_votes(VoteKind.LOCK, 1, ONE.txid)


class TestStores:
    def test_coins_that_are_not_those_of_the_commitment(self) -> None:
        scene = Scene()
        scene.apply(scene.block(ONE))
        scene.chain.check_coins(0, scene.ledger, VirtualDisk())
        scene.ledger.header = replace(scene.ledger.header, commitment=bytes(32))
        with pytest.raises(InvariantError, match="commitment: the coins of node 0"):
            scene.chain.check_coins(0, scene.ledger, VirtualDisk())

    def test_money_from_nowhere(self) -> None:
        scene = Scene()
        scene.apply(scene.block(ONE))
        richer = Chain(make_genesis(epoch_length=3, subsidy=7), {})
        with pytest.raises(InvariantError, match="conservation"):
            richer.check_coins(0, scene.ledger, VirtualDisk())

    def test_a_commit_certificate_verifies_or_is_reported(self) -> None:
        scene = Scene()
        delta = scene.apply(scene.block())
        good = phase_certificate(GENESIS, Phase.COMMIT, range(3), delta.hash)
        for seed in range(50):
            scene.chain.check_commit(0, 1, good.encode(), random.Random(seed))
        for bad in (
            phase_certificate(GENESIS, Phase.COMMIT, range(2), delta.hash),
            phase_certificate(GENESIS, Phase.PREPARE, range(3), delta.hash),
            phase_certificate(GENESIS, Phase.COMMIT, range(3), ABSENT),
            replace(good, votes=good.votes[:1] * 3),
        ):
            with pytest.raises(InvariantError, match="certificate: the commit certificate of height 1 at node 0 does not"):
                scene.chain.check_commit(0, 1, bad.encode(), random.Random(1))

    def test_a_finality_certificate_verifies_or_is_reported(self) -> None:
        scene = Scene()
        acks = [batch(GENESIS, voter, 1, acks=[ONE.txid, THIRD.txid]) for voter in range(3)]
        good = vote_certificate(VoteKind.ACK, ONE.txid, acks)
        for seed in range(50):
            scene.chain.check_finality(0, ONE.txid, good.encode(), random.Random(seed))
        for bad in (replace(good, proofs=good.proofs[:2]), replace(good, kind=VoteKind.LOCK), replace(good, txid=OTHER.txid)):
            with pytest.raises(InvariantError, match="certificate: the finality"):
                scene.chain.check_finality(0, ONE.txid, bad.encode(), random.Random(1))

    def test_what_is_sent_must_be_on_the_disk(self) -> None:
        scene, disk = Scene(), VirtualDisk()
        disk.write(journal.initialise(GENESIS, operators(4)[0].public))
        block = scene.block()
        digest = Block.decode(block).hash
        vote = phase_vote(GENESIS, Phase.COMMIT, 0, digest)
        rows = [
            Write(tables.VOTES, journal.vote_key(vote), vote.encode()),
            Write(tables.BODIES, digest, block),
            Write(tables.PREPARED, tables.height_key(1) + bytes(4), b"certificate"),
        ]
        for row, missing in zip(rows, ("the message", "the block", "the prepared certificate"), strict=True):
            with pytest.raises(InvariantError, match=f"durability: node 0 sends COMMIT .* does not hold {missing}"):
                durability.check(0, disk, vote, vote.encode(), scene.chain)
            disk.write([row])
        durability.check(0, disk, vote, vote.encode(), scene.chain)

    def test_a_vote_batch_needs_its_transactions_and_certificates_there(self) -> None:
        scene, disk = Scene(), VirtualDisk()
        disk.write(journal.initialise(GENESIS, operators(4)[0].public))
        votes = batch(GENESIS, 0, 1, acks=[ONE.txid])
        locks = [batch(GENESIS, voter, 1, locks=[ONE.txid]) for voter in range(1, 4)]
        rows = [Write(tables.BATCHES, journal.batch_key(votes), votes.encode()), Write(tables.POOL, ONE.txid, ONE.encoded)]
        rows += [Write(tables.BATCHES, journal.batch_key(lock), lock.encode()) for lock in locks]
        for row, missing in zip(rows, ("the batch", "the transaction", *["the certificate"] * 3), strict=True):
            with pytest.raises(InvariantError, match=f"does not hold {missing}"):
                durability.check(0, disk, votes, votes.encode(), scene.chain)
            disk.write([row])
        durability.check(0, disk, votes, votes.encode(), scene.chain)

    def test_memory(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from timecoin import params
        from timecoin.sim.scenario import Scenario
        from timecoin.sim.world import World

        world = World(1, Scenario(masternodes=1)).run()
        check_memory(world.nodes[0])
        monkeypatch.setattr(params, "MAX_SEEN", 0)
        with pytest.raises(InvariantError, match="memory: node 0: what was"):
            check_memory(world.nodes[0])


@pytest.mark.parametrize("voters", range(1, 40))
def test_votes_needed(voters: int) -> None:
    from timecoin.consensus.quorum import Quorum

    assert votes_needed(voters) == Quorum.of(voters).q
