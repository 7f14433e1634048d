"""Evidence from when somebody finds it until a block holds it: kept, told, proposed, applied, remembered, and never believed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.replica.helpers import (
    COIN,
    FEE,
    PEER,
    WALL,
    Block,
    BlockMaker,
    Evidence,
    Kind,
    Node,
    Phase,
    batch,
    connect,
    contradiction,
    double_lock,
    exchange,
    fetched,
    key,
    make_genesis,
    operators,
    phase_vote,
    proposal,
    transfer,
    two_votes,
    vote_certificate,
)
from tests.replica.replays import Inline, flipped
from timecoin.consensus.certificates import VoteKind
from timecoin.consensus.evidence import Offence
from timecoin.errors import BlockError, DecodeError, ProtocolError
from timecoin.ledger.blocks import tx_root
from timecoin.ledger.transactions import Output, Transaction, outpoint
from timecoin.replica import tables
from timecoin.replica.effects import Equivocated
from timecoin.replica.misconduct import decode_row, row_key
from timecoin.replica.replay import verify_chain

GENESIS = make_genesis(epoch_length=4)
LIAR = 3
KEY = operators(4)[LIAR].public
PAY, RIVAL = transfer(GENESIS, 0), transfer(GENESIS, 0, fee=2 * FEE)


def joint(*coins: int, fee: int = FEE) -> Transaction:
    """Spends all of these coins."""
    points = [outpoint(GENESIS.chain_id, coin) for coin in coins]
    tx = Transaction.create(points, [Output(len(coins) * COIN - fee, key(500).public)])
    return tx.signed(GENESIS.chain_id, [key(coin) for coin in coins])


def stored(node: Node) -> dict[bytes, tuple[int, Evidence]]:
    return {key: decode_row(row) for key, row in node.rows(tables.EVIDENCE).items()}


def accused(node: Node) -> list[Equivocated]:
    return [event for event in node.events if isinstance(event, Equivocated)]


def lead(node: Node, height: int = 1) -> Block:
    """The block that the node, leader of view 0, proposes at this height."""
    node.tick(node.now + 10_000)
    (payload,) = {send.payload for send in node.sent if send.kind is Kind.PROPOSAL}
    found = next(message for message in node.signed if message.encode() == payload)
    block = Block.decode(found.block)  # type: ignore[union-attr]
    assert block.height == height
    return block


class TestFinding:
    @pytest.mark.parametrize("voter", [0, None])
    def test_two_votes_of_one_slot(self, voter: int | None) -> None:
        node = Node(GENESIS, voter)
        for vote in two_votes(GENESIS, LIAR):
            node.hear(vote)
        wanted = contradiction(GENESIS, LIAR)
        assert accused(node) == [Equivocated(LIAR, 0, KEY)]
        assert stored(node) == {row_key(0, KEY): (0, wanted)}
        assert node.take(Kind.EVIDENCE) == [wanted.encode()]

    def test_two_batches_with_one_number(self) -> None:
        node = Node(GENESIS, 0)
        for tx in (PAY, RIVAL):
            node.hear(batch(GENESIS, LIAR, 1, locks=[tx.txid]))
        ((_, evidence),) = stored(node).values()
        assert evidence.verify(GENESIS.chain_id).offence is Offence.BATCHES

    @pytest.mark.parametrize("first", [PAY, RIVAL], ids=["one first", "the other first"])
    def test_two_locks(self, first: Transaction) -> None:
        node = Node(GENESIS, 0)
        node.pay(PAY, RIVAL)
        rival = RIVAL if first is PAY else PAY
        node.hear(batch(GENESIS, LIAR, 1, locks=[first.txid]))
        assert accused(node) == []
        node.hear(batch(GENESIS, LIAR, 2, locks=[rival.txid]))
        assert accused(node) == [Equivocated(LIAR, 0, KEY)]
        assert node.take(Kind.EVIDENCE) == [double_lock(GENESIS, LIAR, first, rival).encode()]

    def test_two_locks_of_which_one_comes_by_certificate(self) -> None:
        node = Node(GENESIS, 0)
        node.pay(PAY, RIVAL)
        node.hear(batch(GENESIS, LIAR, 9, locks=[PAY.txid]))
        batches = [batch(GENESIS, voter, 1, locks=[RIVAL.txid]) for voter in (1, 2, LIAR)]
        node.receive(Kind.VOTE_CERTIFICATE, vote_certificate(VoteKind.LOCK, RIVAL.txid, batches).encode())
        ((_, evidence),) = stored(node).values()
        assert (evidence.operator, evidence.verify(GENESIS.chain_id).offence) == (KEY, Offence.LOCKS)

    def test_one_proof_is_enough(self) -> None:
        node = Node(GENESIS, 0)
        for number in range(1, 4):
            node.hear(batch(GENESIS, LIAR, 1, locks=[bytes([number]) * 32]))
            node.hear(phase_vote(GENESIS, Phase.COMMIT, LIAR, bytes([number]) * 32))
        assert len(accused(node)) == len(stored(node)) == len(node.take(Kind.EVIDENCE)) == 1

    def test_a_proof_that_lapsed_gives_way_to_another(self) -> None:
        """With the transaction of the first LOCK committed it convicts nobody any more, and must not protect."""
        node, maker = Node(GENESIS, 0), BlockMaker(GENESIS)
        first, second = joint(0, 1), joint(0, 2)
        node.receive(Kind.EVIDENCE, double_lock(GENESIS, LIAR, first, second).encode())
        assert len(stored(node)) == 1
        fetched(node, [maker.next(first)])
        node.take(Kind.EVIDENCE)
        other = contradiction(GENESIS, LIAR, height=2)
        for vote in two_votes(GENESIS, LIAR, height=2):
            node.hear(vote)
        assert stored(node) == {row_key(0, KEY): (0, other)}
        assert node.take(Kind.EVIDENCE) == [other.encode()]
        assert len(accused(node)) == 1


class TestGossip:
    def test_what_a_peer_proves_is_kept_and_passed_on_once(self) -> None:
        node, evidence = Node(GENESIS, 0), contradiction(GENESIS, LIAR)
        node.receive(Kind.EVIDENCE, evidence.encode())
        sends = [send for send in node.sent if send.kind is Kind.EVIDENCE]
        assert [(send.payload, send.to, send.exclude) for send in sends] == [(evidence.encode(), None, PEER)]
        assert accused(node) == [Equivocated(LIAR, 0, KEY)]
        node.take(Kind.EVIDENCE)
        node.receive(Kind.EVIDENCE, evidence.encode(), peer=5)
        node.receive(Kind.EVIDENCE, contradiction(GENESIS, LIAR, phase=Phase.PREPARE).encode(), peer=6)
        assert node.take(Kind.EVIDENCE) == []
        assert stored(node) == {row_key(0, KEY): (0, evidence)}

    def test_it_reaches_everybody_through_who_found_it(self) -> None:
        nodes = [Node(GENESIS, voter) for voter in (0, 1, 2)]
        connect(nodes)
        for vote in two_votes(GENESIS, LIAR):
            nodes[0].hear(vote)
        exchange(nodes)
        assert [stored(node) for node in nodes] == 3 * [{row_key(0, KEY): (0, contradiction(GENESIS, LIAR))}]

    def test_it_is_repeated_until_a_block_holds_it(self) -> None:
        node, evidence = Node(GENESIS, 0), contradiction(GENESIS, LIAR)
        node.receive(Kind.EVIDENCE, evidence.encode())
        node.take(Kind.EVIDENCE)
        node.tick(60_000)
        repeated = node.take(Kind.EVIDENCE)
        assert repeated
        assert set(repeated) == {evidence.encode()}
        fetched(node, [BlockMaker(GENESIS).next(evidence=[evidence])])
        node.take(Kind.EVIDENCE)
        node.tick(node.now + 60_000)
        assert node.take(Kind.EVIDENCE) == []

    def test_a_new_peer_is_told(self) -> None:
        node, evidence = Node(GENESIS, 0), contradiction(GENESIS, LIAR)
        node.receive(Kind.EVIDENCE, evidence.encode())
        node.take(Kind.EVIDENCE)
        node.call(lambda replica: replica.peer_joined(9))
        assert [(send.payload, send.to) for send in node.sent if send.kind is Kind.EVIDENCE] == [(evidence.encode(), 9)]


class TestHostile:
    @pytest.mark.parametrize("payload", [b"", b"x", bytes(500), contradiction(GENESIS, LIAR).encode() + b"x"])
    def test_garbage(self, payload: bytes) -> None:
        with pytest.raises(DecodeError):
            Node(GENESIS, 0).receive(Kind.EVIDENCE, payload)

    def test_a_forged_signature(self) -> None:
        node, good = Node(GENESIS, 0), contradiction(GENESIS, LIAR)
        forged = replace(good, first=replace(good.first, signature=bytes(64)))
        with pytest.raises(ProtocolError, match=r"proves nothing: .* does not verify"):
            node.receive(Kind.EVIDENCE, forged.encode())
        with pytest.raises(ProtocolError, match="proves nothing"):
            node.receive(Kind.EVIDENCE, replace(good, operator=operators(4)[1].public).encode())
        assert (stored(node), accused(node), node.take(Kind.EVIDENCE)) == ({}, [], [])

    def test_votes_that_do_not_contradict_each_other(self) -> None:
        node = Node(GENESIS, 0)
        with pytest.raises(ProtocolError, match="do not conflict"):
            node.receive(Kind.EVIDENCE, double_lock(GENESIS, LIAR, PAY, transfer(GENESIS, 1)).encode())

    def passed_over(self, node: Node, evidence: Evidence) -> None:
        node.take(Kind.EVIDENCE)
        node.receive(Kind.EVIDENCE, evidence.encode())
        assert (stored(node), accused(node), node.take(Kind.EVIDENCE), node.charges) == ({}, [], [], [])

    def test_who_has_no_seat(self) -> None:
        five = make_genesis(5, epoch_length=4)
        stranger = next(voter for voter, pair in enumerate(operators(5)) if pair not in operators(4))
        self.passed_over(Node(GENESIS, 0), contradiction(five, stranger))

    def test_an_honest_relock_is_no_offence(self) -> None:
        """A third transaction made the first void at height 1, and the second was LOCKed after that."""
        first, second, third = joint(0, 1), joint(0, 2), transfer(GENESIS, 1)
        relock = double_lock(GENESIS, LIAR, first, second, decided=1)
        node = Node(GENESIS, 0)
        self.passed_over(node, relock)  # its block is not here yet
        maker = BlockMaker(GENESIS)
        fetched(node, [maker.next(third)])
        node.now += 3_600_000
        self.passed_over(node, relock)
        with pytest.raises(BlockError, match="which is spent or in no block"):
            maker.make(evidence=[relock])

    def test_a_height_to_come(self) -> None:
        """Later the same proof is taken, from whoever repeats it."""
        node, evidence = Node(GENESIS, 0), double_lock(GENESIS, LIAR, PAY, RIVAL, decided=1)
        self.passed_over(node, evidence)
        fetched(node, [BlockMaker(GENESIS).next()])
        node.tick(node.now + 3_600_000)
        node.take(Kind.EVIDENCE)
        node.receive(Kind.EVIDENCE, evidence.encode())
        assert stored(node) == {row_key(0, KEY): (0, evidence)}

    @pytest.mark.parametrize("decided", [3, 4, 2**64 - 1])
    def test_a_batch_of_a_height_at_which_nobody_votes_is_no_vote(self, decided: int) -> None:
        """Who could name such a height would never be convicted of its LOCKs: no chain reaches it within the epoch."""
        node = Node(GENESIS, 0)
        node.pay(PAY)
        wrong = batch(GENESIS, LIAR, 1, locks=[PAY.txid], decided=decided)
        with pytest.raises(ProtocolError, match=f"a vote batch of height {decided}, from 0 to 2"):
            node.hear(wrong)
        batches = [batch(GENESIS, 1, 1, locks=[PAY.txid]), batch(GENESIS, 2, 1, locks=[PAY.txid]), wrong]
        with pytest.raises(ProtocolError, match=f"a vote batch of height {decided}"):
            node.receive(Kind.VOTE_CERTIFICATE, vote_certificate(VoteKind.LOCK, PAY.txid, batches).encode())
        node.hear(batch(GENESIS, LIAR, 1, locks=[PAY.txid], decided=2))
        assert node.replica.core.fastpath.votes(VoteKind.LOCK, PAY.txid) == 2

    def test_nor_is_one_of_a_height_before_the_epoch(self) -> None:
        node, maker = Node(GENESIS, 0), BlockMaker(GENESIS)
        fetched(node, [*(maker.next() for _ in range(3)), maker.next(closes_epoch=True)])
        with pytest.raises(ProtocolError, match="a vote batch of height 3, from 4 to 6"):
            node.hear(batch(GENESIS, LIAR, 1, locks=[PAY.txid], epoch=1, decided=3))


class TestBlocks:
    def test_a_leader_proposes_what_it_knows(self) -> None:
        node, evidence = Node(GENESIS, 1), contradiction(GENESIS, LIAR)
        node.receive(Kind.EVIDENCE, evidence.encode())
        block = lead(node)
        assert block.evidence == (evidence.encode(),)
        assert block.header.next_set == GENESIS.masternode_set().convict({KEY}).hash()

    def test_a_replica_prepares_such_a_block_and_none_with_a_forgery(self) -> None:
        block = BlockMaker(GENESIS).make(evidence=[contradiction(GENESIS, LIAR)])
        node = Node(GENESIS, 0)
        node.hear(proposal(GENESIS, block))
        assert [vote.digest for vote in node.signed] == [Block.decode(block).hash]  # type: ignore[union-attr]
        good = contradiction(GENESIS, LIAR)
        forged = replace(good, first=replace(good.first, signature=bytes(64)))
        other = Block.decode(block)
        header = replace(other.header, tx_root=tx_root(other.transactions, [forged.encode()]))
        node = Node(GENESIS, 0)
        node.hear(proposal(GENESIS, Block.create(header, other.transactions, [forged.encode()]).encoded))
        assert node.signed == []

    def test_the_row_says_which_block_holds_it(self) -> None:
        node, evidence, maker = Node(GENESIS, 0), contradiction(GENESIS, LIAR), BlockMaker(GENESIS)
        node.receive(Kind.EVIDENCE, evidence.encode())
        fetched(node, [maker.next(), maker.next(evidence=[evidence])])
        assert stored(node) == {row_key(0, KEY): (2, evidence)}
        assert node.replica.ledger.masternodes.convicted == {KEY}
        assert len(accused(node)) == 1

    def test_who_learns_it_from_the_block_alone_knows_it_too(self) -> None:
        node, evidence = Node(GENESIS, None), contradiction(GENESIS, LIAR)
        fetched(node, [BlockMaker(GENESIS).next(evidence=[evidence])])
        assert stored(node) == {row_key(0, KEY): (1, evidence)}
        assert accused(node) == [Equivocated(LIAR, 0, KEY)]
        assert node.take(Kind.EVIDENCE) == []

    def test_no_block_holds_it_twice(self) -> None:
        node, evidence = Node(GENESIS, 2), contradiction(GENESIS, LIAR)
        fetched(node, [BlockMaker(GENESIS).next(evidence=[evidence])])
        assert lead(node, 2).evidence == ()

    def test_the_convicted_has_no_seat_in_the_next_epoch(self) -> None:
        node, maker = Node(GENESIS, 0), BlockMaker(GENESIS)
        pages = [maker.next(evidence=[contradiction(GENESIS, LIAR)]), maker.next(), maker.next(), maker.next(closes_epoch=True)]
        fetched(node, pages)
        assert (node.replica.ledger.epoch, len(node.replica.ledger.masternodes)) == (1, 3)
        with pytest.raises(ProtocolError, match="voter 3 of 3"):
            node.hear(batch(GENESIS, 3, 1, locks=[PAY.txid], epoch=1, decided=4))
        restarted = node.restart()
        assert len(restarted.replica.ledger.masternodes) == 3

    def test_an_offence_of_the_last_epoch_still_costs_the_seat(self) -> None:
        node, maker = Node(GENESIS, 1), BlockMaker(GENESIS)
        late = contradiction(GENESIS, LIAR)
        fetched(node, [*(maker.next() for _ in range(3)), maker.next(closes_epoch=True)])
        node.receive(Kind.EVIDENCE, late.encode())
        assert stored(node) == {row_key(0, KEY): (0, late)}
        assert lead(node, 5).evidence == (late.encode(),)


class TestRestart:
    def test_it_is_kept(self) -> None:
        node, evidence = Node(GENESIS, 1), contradiction(GENESIS, LIAR)
        node.receive(Kind.EVIDENCE, evidence.encode())
        again = node.restart()
        assert again.take(Kind.EVIDENCE) == [evidence.encode()]  # to the peer that joined
        assert accused(again) == []
        again.receive(Kind.EVIDENCE, evidence.encode(), peer=5)
        assert again.take(Kind.EVIDENCE) == []
        assert lead(again).evidence == (evidence.encode(),)

    def test_marks_are(self) -> None:
        node, maker = Node(GENESIS, 0), BlockMaker(GENESIS)
        fetched(node, [maker.next(evidence=[contradiction(GENESIS, LIAR)]), maker.next()])
        again = node.restart()
        assert again.replica.ledger.masternodes == maker.ledger.masternodes
        assert again.replica.ledger.masternodes.convicted == {KEY}
        assert again.take(Kind.EVIDENCE) == []

    def test_old_rows_go(self) -> None:
        genesis = make_genesis(epoch_length=2)
        node, maker = Node(genesis, None), BlockMaker(genesis)
        fetched(node, [maker.next(evidence=[contradiction(genesis, LIAR)])])
        while node.replica.ledger.epoch < 16:
            fetched(node, [maker.next(closes_epoch=maker.ledger.height + 1 >= maker.ledger.nominal_last, time_ms=WALL + 1000)])
        assert len(stored(node)) == 1
        node = node.restart()
        while node.replica.ledger.epoch < 17:
            fetched(node, [maker.next(closes_epoch=maker.ledger.height + 1 >= maker.ledger.nominal_last)])
        assert stored(node) == {}


class TestReplay:
    """A chain with evidence, read again from genesis."""

    def chain(self) -> list[tuple[int, bytes, bytes]]:
        maker = BlockMaker(GENESIS)
        pages = [
            maker.next(PAY, evidence=[contradiction(GENESIS, LIAR)]),
            maker.next(evidence=[double_lock(GENESIS, 1, joint(3, 4), joint(3, 5), decided=1)]),
            maker.next(),
            maker.next(closes_epoch=True, evidence=[contradiction(GENESIS, 2, height=4)]),
            maker.next(),
        ]
        return [(height, *page) for height, page in enumerate(pages, 1)]

    def test_it_is_good_and_ends_with_the_same_set(self) -> None:
        report = verify_chain(GENESIS, self.chain(), executor=Inline())
        assert report.fault is None
        assert report.ledger is not None
        assert [member.operator for member in report.ledger.masternodes] == [operators(4)[0].public]

    def test_a_forged_proof_is_the_fault(self) -> None:
        height, block, certificate = self.chain()[0]
        at = block.index(contradiction(GENESIS, LIAR).encode()) + 150
        report = verify_chain(GENESIS, [(height, flipped(block, 8 * at), certificate)], executor=Inline())
        assert report.fault is not None
        assert (report.fault.height, report.height) == (1, 0)
