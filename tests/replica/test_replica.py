"""A whole replica, driven by hand: what it makes durable before it says it, what it takes from peers, and what a crash leaves."""

from __future__ import annotations

import pytest

from tests.replica.helpers import (
    FEE,
    PEER,
    WALL,
    Block,
    BlockMaker,
    Node,
    Phase,
    VoteKind,
    batch,
    connect,
    exchange,
    fetched,
    ids,
    make_genesis,
    phase_certificate,
    phase_vote,
    proposal,
    resignation,
    signed,
    transfer,
    vote_certificate,
)
from timecoin import params
from timecoin.consensus.certificates import PhaseCertificate, VoteCertificate
from timecoin.consensus.messages import Message, NewView, PhaseVote, Proposal, ViewChange, VoteBatch
from timecoin.errors import ProtocolError
from timecoin.ledger.pool import PoolState
from timecoin.ledger.transactions import Transaction
from timecoin.replica import journal, tables
from timecoin.replica.effects import Commit, Committed, Final, ReadBlocks
from timecoin.replica.payloads import Ranges, decode_ranges, encode_blocks, encode_get_blocks, encode_status
from timecoin.replica.wire import Kind

GENESIS = make_genesis()


@pytest.fixture
def node() -> Node:
    return Node(GENESIS, 0)


def votes(messages: list[Message], phase: Phase) -> list[PhaseVote]:
    return [message for message in messages if isinstance(message, PhaseVote) and message.phase is phase]


def decide(node: Node, block: bytes, *, voters: tuple[int, ...] = (1, 2, 3)) -> None:
    """The block is proposed and the others commit to it."""
    node.hear(proposal(node.genesis, block))
    decoded = Block.decode(block)
    for voter in voters:
        node.hear(phase_vote(node.genesis, Phase.COMMIT, voter, decoded.hash, height=decoded.height, epoch=decoded.header.epoch))


class TestDurableFirst:
    """Each vote with what is needed to honour it, in one commit, before a byte of it leaves."""

    def held(self, node: Node) -> Commit:
        """The one commit that is under way and holds a vote."""
        (commit,) = [commit for commit in node.commits if commit.messages]
        return commit

    def written(self, node: Node) -> dict[str, dict[bytes, bytes | None]]:
        """What the commits under way write."""
        found: dict[str, dict[bytes, bytes | None]] = {}
        for commit in node.commits:
            for table, row, value in (write for change in commit.writes for write in tables.singly(change)):
                found.setdefault(table, {})[row] = value
        return found

    def test_nothing_leaves_before_it_is_durable(self, node: Node) -> None:
        node.hold_commits = True
        tx = transfer(GENESIS, 0)
        node.pay(tx)
        node.hear(proposal(GENESIS, BlockMaker(GENESIS).make()))
        assert {send.kind for send in node.sent} & {Kind.VOTE_BATCH, Kind.PREPARE, Kind.COMMIT, Kind.VIEW_CHANGE} == set()
        node.hold_commits = False
        node.settle()
        assert len(node.take(Kind.VOTE_BATCH)) == len(node.take(Kind.PREPARE)) == 1

    def test_nor_does_it_count(self, node: Node) -> None:
        node.hold_commits = True
        tx = transfer(GENESIS, 0)
        node.pay(tx)
        assert node.replica.core.fastpath.votes(VoteKind.LOCK, tx.txid) == 0
        node.hold_commits = False
        node.settle()
        assert node.replica.core.fastpath.votes(VoteKind.LOCK, tx.txid) == 1

    def test_a_lock_with_its_body(self, node: Node) -> None:
        node.hold_commits = True
        tx = transfer(GENESIS, 0)
        node.pay(tx)
        (message,) = self.held(node).messages
        assert isinstance(message, VoteBatch)
        written = self.written(node)
        assert written[tables.POOL] == {tx.txid: tx.encoded}
        assert written[tables.BATCHES] == {journal.batch_key(message): message.encode()}
        assert [send.payload for send in self.held(node).sends] == [message.encode()]

    def test_an_ack_with_its_certificate_and_its_body(self, node: Node) -> None:
        tx = transfer(GENESIS, 0)
        node.pay(tx)
        node.hear(batch(GENESIS, 1, 1, locks=[tx.txid]))
        node.hold_commits = True
        node.hear(batch(GENESIS, 2, 1, locks=[tx.txid]))
        (message,) = self.held(node).messages
        assert isinstance(message, VoteBatch)
        assert message.acks == tx.txid
        rows = node.rows(tables.BATCHES) | self.written(node)[tables.BATCHES]
        locked_by = {b.voter for b in map(VoteBatch.decode, filter(None, rows.values())) if tx.txid in ids(b.locks)}
        assert locked_by == {0, 1, 2}
        assert tx.txid in node.rows(tables.POOL)

    def test_an_ack_for_a_certificate_with_the_certificate(self, node: Node) -> None:
        tx = transfer(GENESIS, 0)
        node.pay(tx)
        node.hold_commits = True
        certificate = vote_certificate(VoteKind.LOCK, tx.txid, [batch(GENESIS, voter, 1, locks=[tx.txid]) for voter in (1, 2, 3)])
        node.receive(Kind.VOTE_CERTIFICATE, certificate.encode())
        (message,) = self.held(node).messages
        assert isinstance(message, VoteBatch)
        assert message.acks == tx.txid
        (row,) = self.written(node)[tables.PROOFS].values()
        assert row is not None
        assert VoteCertificate.decode(row).txid == tx.txid

    def test_a_prepare_with_the_block(self, node: Node) -> None:
        node.hold_commits = True
        block = BlockMaker(GENESIS).make()
        node.hear(proposal(GENESIS, block))
        (message,) = self.held(node).messages
        written = self.written(node)
        assert written[tables.VOTES] == {journal.vote_key(message): message.encode()}
        assert written[tables.BODIES] == {Block.decode(block).hash: block}

    def test_a_commit_with_the_prepared_certificate(self, node: Node) -> None:
        block = BlockMaker(GENESIS).make()
        node.hear(proposal(GENESIS, block))
        node.hear(phase_vote(GENESIS, Phase.PREPARE, 1, Block.decode(block).hash))
        node.hold_commits = True
        node.hear(phase_vote(GENESIS, Phase.PREPARE, 2, Block.decode(block).hash))
        (message,) = self.held(node).messages
        assert votes([message], Phase.COMMIT)
        written = self.written(node)
        assert written[tables.VOTES] == {journal.vote_key(message): message.encode()}
        (certificate,) = written[tables.PREPARED].values()
        assert certificate is not None
        assert PhaseCertificate.decode(certificate).digest == Block.decode(block).hash
        assert Block.decode(block).hash in written[tables.BODIES]

    def test_a_view_change_with_what_it_carries(self, node: Node) -> None:
        block = BlockMaker(GENESIS).make()
        digest = Block.decode(block).hash
        node.hear(proposal(GENESIS, block))
        for voter in (1, 2):
            node.hear(phase_vote(GENESIS, Phase.PREPARE, voter, digest))
        node.hold_commits = True
        for voter in (1, 2):
            node.hear(signed(GENESIS, ViewChange(0, 1, 1, voter, None), voter))
        (message,) = self.held(node).messages
        assert isinstance(message, ViewChange)
        assert message.prepared is not None
        assert self.written(node)[tables.VOTES] == {journal.vote_key(message): message.encode()}
        assert digest in node.rows(tables.BODIES)

    def test_a_proposal_of_ours_with_its_block(self) -> None:
        leader = Node(GENESIS, 1)
        leader.hold_commits = True
        leader.tick(GENESIS.heartbeat_ms)
        message = self.held(leader).messages[0]
        assert isinstance(message, Proposal)
        assert self.written(leader)[tables.BODIES] == {message.digest: message.block}

    def test_a_block_its_coins_and_the_end_of_its_votes_are_one_write(self, node: Node) -> None:
        tx = transfer(GENESIS, 0)
        node.pay(tx)
        block = BlockMaker(GENESIS).make(tx)
        node.hear(proposal(GENESIS, block))
        node.hold_commits = True
        for voter in (1, 2, 3):
            node.hear(phase_vote(GENESIS, Phase.COMMIT, voter, Block.decode(block).hash))
        touched = [{write.table for write in commit.writes} for commit in node.commits]
        together = {tables.HEADERS, tables.BLOCKS, tables.CERTIFICATES, tables.HASHES, tables.COINS, tables.META, tables.POOL}
        assert sum(together <= tables_of for tables_of in touched) == 1
        node.hold_commits = False
        node.settle()
        assert [node.rows(table) for table in (tables.POOL, tables.VOTES, tables.BODIES, tables.PREPARED)] == [{}] * 4


class TestBlocks:
    def test_a_block_is_decided_by_messages(self, node: Node) -> None:
        tx = transfer(GENESIS, 0)
        block = BlockMaker(GENESIS).make(tx)
        decide(node, block)
        assert node.replica.ledger.tip == Block.decode(block).hash
        (event,) = [event for event in node.events if isinstance(event, Committed)]
        assert (event.height, event.view, event.txids[-1]) == (1, 0, tx.txid)
        (raw,) = node.rows(tables.CERTIFICATES).values()
        certificate = PhaseCertificate.decode(raw)
        assert (certificate.phase, certificate.height, len(certificate.votes)) == (Phase.COMMIT, 1, 3)

    def test_blocks_are_fetched_from_who_has_more(self, node: Node) -> None:
        maker = BlockMaker(GENESIS)
        pages = [maker.next(transfer(GENESIS, coin)) for coin in range(3)]
        node.receive(Kind.STATUS, encode_status(3, maker.ledger.tip))
        assert node.take(Kind.GET_BLOCKS) == [encode_get_blocks(1, params.MAX_PAGE_BLOCKS)]
        node.receive(Kind.BLOCKS, encode_blocks(pages))
        assert (node.replica.ledger.height, node.replica.ledger.commitment()) == (3, maker.ledger.commitment())
        assert node.charges == []

    def test_blocks_that_nobody_asked_for_are_not_looked_at(self, node: Node) -> None:
        node.receive(Kind.BLOCKS, encode_blocks([BlockMaker(GENESIS).next()]))
        assert node.replica.ledger.height == 0

    @pytest.mark.parametrize("fault", ["few", "signature", "prepares", "height", "epoch", "block", "body", "garbage", "invalid"])
    def test_a_page_with_a_fault_is_refused_and_its_sender_pays(self, node: Node, fault: str) -> None:
        maker = BlockMaker(GENESIS)
        block = maker.make(transfer(GENESIS, 0))
        digest = Block.decode(block).hash
        if fault == "invalid":
            block = maker.make(time_ms=WALL - 1000 + 1)
            block = block[:40] + bytes([block[40] ^ 1]) + block[41:]
            digest = Block.decode(block).hash
        commits = phase_certificate(GENESIS, Phase.COMMIT, (1, 2, 3), digest)
        certificate = {
            "few": PhaseCertificate(Phase.COMMIT, 0, 1, 0, digest, commits.votes[:2]),
            "signature": PhaseCertificate(Phase.COMMIT, 0, 1, 0, digest, ((0, bytes(64)), *commits.votes[1:])),
            "prepares": phase_certificate(GENESIS, Phase.PREPARE, (1, 2, 3), digest),
            "height": phase_certificate(GENESIS, Phase.COMMIT, (1, 2, 3), digest, height=2),
            "epoch": phase_certificate(GENESIS, Phase.COMMIT, (1, 2, 3), digest, epoch=1),
            "block": phase_certificate(GENESIS, Phase.COMMIT, (1, 2, 3), bytes(32)),
        }.get(fault, commits)
        raw = b"garbage" if fault == "garbage" else certificate.encode()
        if fault == "body":
            block = block[:-1] + bytes([block[-1] ^ 1])
        fetched(node, [(block, raw)])
        assert node.replica.ledger.height == 0
        assert [(charge.peer, charge.points) for charge in node.charges] == [(PEER, 100)]

    def test_a_body_is_asked_for_and_only_the_right_one_is_taken(self, node: Node) -> None:
        block = BlockMaker(GENESIS).make(transfer(GENESIS, 0))
        digest = Block.decode(block).hash
        for voter in (1, 2, 3):
            node.hear(phase_vote(GENESIS, Phase.COMMIT, voter, digest))
        assert digest in node.take(Kind.GET_BODY)
        poisoned = block[:-1] + bytes([block[-1] ^ 1])  # the same header, so the same hash
        for wrong in (poisoned, BlockMaker(GENESIS).make()):
            try:
                node.receive(Kind.BODY, wrong)
            except ProtocolError:
                continue
            assert node.replica.ledger.height == 0
        node.receive(Kind.BODY, block)
        assert node.replica.ledger.height == 1

    def test_a_proposal_whose_body_is_not_its_hashs_is_a_fault(self, node: Node) -> None:
        block = BlockMaker(GENESIS).make(transfer(GENESIS, 0))
        poisoned = block[:-1] + bytes([block[-1] ^ 1])
        message = signed(GENESIS, Proposal(0, 1, 1, Block.decode(block).hash, poisoned), 1)
        with pytest.raises(ProtocolError, match="not the one of its hash"):
            node.hear(message)
        node.hear(proposal(GENESIS, block))
        assert len(votes(node.signed, Phase.PREPARE)) == 1

    def test_an_invalid_proposal_gets_no_vote_and_the_view_passes(self, node: Node) -> None:
        block = BlockMaker(GENESIS).make(time_ms=WALL + 10**9)  # far ahead of our clock
        node.hear(proposal(GENESIS, block))
        assert votes(node.signed, Phase.PREPARE) == []
        node.tick(GENESIS.heartbeat_ms + GENESIS.view_timeout_ms)
        assert [message.view for message in node.signed if isinstance(message, ViewChange)] == [1]

    def test_a_peer_is_served_what_it_asks_for(self, node: Node) -> None:
        maker = BlockMaker(GENESIS)
        fetched(node, [maker.next(), maker.next(), maker.next()])
        node.receive(Kind.GET_BLOCKS, encode_get_blocks(2, 64))
        assert node.reads == [ReadBlocks(PEER, 2, 2)]
        for beyond in (0, 4, 2**64 - 1):
            node.receive(Kind.GET_BLOCKS, encode_get_blocks(beyond, 64))
        assert len(node.reads) == 1
        block = maker.make()
        node.hear(proposal(GENESIS, block))
        node.receive(Kind.GET_BODY, Block.decode(block).hash)
        assert node.take(Kind.BODY) == [block]
        node.receive(Kind.GET_BODY, bytes(32))
        assert node.take(Kind.BODY) == []

    def test_one_that_lags_learns_where_we_are(self, node: Node) -> None:
        maker = BlockMaker(GENESIS)
        fetched(node, [maker.next(), maker.next()])
        node.take(Kind.STATUS)
        node.hear(signed(GENESIS, ViewChange(0, 1, 1, 3, None), 3))
        assert node.take(Kind.STATUS) == [encode_status(2, maker.ledger.tip)]


class TestOneJob:
    """Verdicts come back together: what an earlier one of a job changed, the later ones find changed."""

    def test_the_last_commit_and_the_fetched_block(self, node: Node) -> None:
        maker = BlockMaker(GENESIS)
        block = maker.make()
        digest = Block.decode(block).hash
        decide(node, block, voters=(1, 2))
        node.hold_jobs = True
        node.receive(Kind.STATUS, encode_status(9, digest))
        node.hear(phase_vote(GENESIS, Phase.PREPARE, 1, digest))  # a job under way
        node.hear(phase_vote(GENESIS, Phase.COMMIT, 3, digest))
        node.receive(Kind.BLOCKS, encode_blocks([maker.commit(block)]))
        node.hold_jobs = False
        node.settle()
        assert len([event for event in node.events if isinstance(event, Committed)]) == 1

    def test_a_block_that_was_to_be_built_and_the_end_of_our_seat(self) -> None:
        """Voter 2 leads height 2; block 1 spends its collateral, block 2 closes the epoch."""
        genesis = make_genesis(epoch_length=2)
        node, maker = Node(genesis, 2), BlockMaker(genesis)
        fetched(node, [maker.next(resignation(genesis, 2))])
        page = maker.next(closes_epoch=True)
        node.hold_jobs = True
        node.receive(Kind.STATUS, encode_status(9, bytes(32)))
        for voter in (1, 3):
            node.hear(phase_vote(genesis, Phase.PREPARE, voter, bytes(32), height=2))
        node.receive(Kind.BLOCKS, encode_blocks([page]))
        first = node.jobs.pop(0)
        node.replica.finish(first, first.run())
        node.now = genesis.heartbeat_ms + 1
        node.replica.clock(node.now, WALL + node.now)
        node.hold_jobs = False
        node.settle()
        assert (node.replica.ledger.height, node.replica.me) == (2, None)
        assert [message for message in node.signed if isinstance(message, Proposal)] == []

    def test_the_last_lock_and_the_end_of_the_epoch(self) -> None:
        genesis = make_genesis(epoch_length=2)
        node, maker = Node(genesis, 0), BlockMaker(genesis)
        fetched(node, [maker.next()])
        page = maker.next(closes_epoch=True)
        tx = transfer(genesis, 0)
        node.pay(tx)  # the epoch drains: no LOCK of ours
        for voter in (1, 2):
            node.hear(batch(genesis, voter, 1, locks=[tx.txid]))
        node.hold_jobs = True
        node.receive(Kind.STATUS, encode_status(9, bytes(32)))
        node.hear(phase_vote(genesis, Phase.PREPARE, 1, bytes(32), height=2))  # a job under way
        node.hear(batch(genesis, 3, 1, locks=[tx.txid]))
        node.receive(Kind.BLOCKS, encode_blocks([page]))
        node.hold_jobs = False
        node.settle()
        assert node.replica.ledger.epoch == 1
        entry = node.replica.pool.get(tx.txid)
        assert entry is not None
        assert entry.state is PoolState.PENDING


class TestLeading:
    """Voter 1 leads height 1."""

    def proposed(self, leader: Node) -> list[Transaction]:
        """The transfers in its proposal."""
        (message,) = [message for message in leader.signed if isinstance(message, Proposal)]
        return [tx for tx in Block.decode(message.block).transactions if not tx.is_coinbase]

    def test_certified_ones_first_and_what_missed_its_votes(self) -> None:
        leader = Node(GENESIS, 1)
        plain, certified = transfer(GENESIS, 0, fee=9 * FEE), transfer(GENESIS, 1)
        leader.pay(plain, certified)
        for voter in (0, 2, 3):
            leader.hear(batch(GENESIS, voter, 1, locks=[certified.txid]))
        leader.tick(GENESIS.block_interval_ms)
        assert self.proposed(leader) == [certified, plain]

    def test_votes_have_a_moment_for_themselves_first(self) -> None:
        leader = Node(GENESIS, 1)
        leader.pay(transfer(GENESIS, 0))
        leader.tick(GENESIS.block_interval_ms - 1)
        late = transfer(GENESIS, 1)
        leader.pay(late)
        leader.tick(GENESIS.block_interval_ms)
        assert late not in self.proposed(leader)

    def test_without_transactions_only_at_the_heartbeat(self) -> None:
        leader = Node(GENESIS, 1)
        leader.tick(GENESIS.heartbeat_ms - 1)
        assert leader.signed == []
        leader.tick(GENESIS.heartbeat_ms)
        assert self.proposed(leader) == []

    def test_of_rivals_the_best_backed_one_after_a_while(self) -> None:
        leader = Node(GENESIS, 1)
        first, second = transfer(GENESIS, 0), transfer(GENESIS, 0, fee=5 * FEE)
        leader.pay(second)
        leader.pay(first)
        for voter in (0, 2):
            leader.hear(batch(GENESIS, voter, 1, locks=[first.txid]))
        leader.tick(GENESIS.block_interval_ms)
        assert self.proposed(leader) == [first]

    def test_r5_in_later_views_certified_ones_only(self) -> None:
        leader = Node(GENESIS, 2)  # of view 1
        plain, certified = transfer(GENESIS, 0, fee=9 * FEE), transfer(GENESIS, 1)
        leader.pay(plain, certified)
        for voter in (0, 1, 3):
            leader.hear(batch(GENESIS, voter, 1, locks=[certified.txid]))
        leader.tick(GENESIS.block_interval_ms * 2)
        for voter in (0, 3):
            leader.hear(signed(GENESIS, ViewChange(0, 1, 1, voter, None), voter))
        (message,) = [message for message in leader.signed if isinstance(message, NewView)]
        assert [tx for tx in Block.decode(message.block).transactions if not tx.is_coinbase] == [certified]

    @pytest.mark.parametrize("certified", [False, True])
    def test_it_closes_the_epoch_when_all_that_is_certified_is_in_the_chain(self, certified: bool) -> None:
        genesis = make_genesis(epoch_length=2, max_block_txs=2)  # one transfer beside the coinbase
        leader, maker = Node(genesis, 2), BlockMaker(genesis)
        pair = [transfer(genesis, coin) for coin in (0, 1)]
        leader.pay(*pair)
        for voter in (0, 1, 3):
            leader.hear(batch(genesis, voter, 1, locks=[tx.txid for tx in pair[: 1 + certified]]))
        fetched(leader, [maker.next()])
        leader.tick(leader.now + genesis.heartbeat_ms)
        (message,) = [message for message in leader.signed if isinstance(message, Proposal)]
        assert Block.decode(message.block).header.closes_epoch == (not certified)

    def test_a_leader_backs_off_after_a_first_view_failed_over_a_contested_coin(self) -> None:
        leader, maker = Node(GENESIS, 1), BlockMaker(GENESIS)
        rivals = [transfer(GENESIS, 0), transfer(GENESIS, 0, fee=5 * FEE)]
        leader.pay(rivals[0])
        leader.pay(rivals[1])
        leader.tick(GENESIS.block_interval_ms)
        assert len(self.proposed(leader)) == 1
        leader.signed.clear()
        fetched(leader, [maker.next() for _ in range(4)])  # another block was decided, and three more
        leader.tick(leader.now + GENESIS.block_interval_ms)
        assert self.proposed(leader) == []


class TestFinality:
    def test_the_word_for_the_wallet(self, node: Node) -> None:
        tx = transfer(GENESIS, 0)
        said = [node.replica.status(tx.txid)]
        node.pay(tx)
        said.append(node.replica.status(tx.txid))
        for voter in (1, 2):
            node.hear(batch(GENESIS, voter, 1, locks=[tx.txid]))
        said.append(node.replica.status(tx.txid))
        for voter in (1, 2):
            node.hear(batch(GENESIS, voter, 2, acks=[tx.txid]))
        said.append(node.replica.status(tx.txid))
        assert node.told(Final) == [tx.txid]
        decide(node, BlockMaker(GENESIS).make(tx))
        said.append(node.replica.status(tx.txid))
        assert said == ["unknown", "pending", "certified", "final", "committed"]

    def test_four_replicas_make_it_final_and_commit_it(self) -> None:
        nodes = [Node(GENESIS, voter) for voter in range(4)]
        connect(nodes)
        tx = transfer(GENESIS, 0)
        nodes[3].call(lambda replica: replica.submit(tx.encoded))
        exchange(nodes)
        assert [node.told(Final) for node in nodes] == [[tx.txid]] * 4
        assert [node.replica.ledger.height for node in nodes] == [0] * 4
        for node in nodes:
            node.tick(GENESIS.block_interval_ms + 1)
        exchange(nodes)
        assert {node.replica.ledger.tip for node in nodes} == {nodes[0].replica.ledger.tip}
        assert [node.replica.status(tx.txid) for node in nodes] == ["committed"] * 4
        assert [node.charges for node in nodes] == [[]] * 4

    def test_what_was_acked_is_told_again_with_its_certificate(self, node: Node) -> None:
        tx = transfer(GENESIS, 0)
        node.pay(tx)
        for voter in (1, 2):
            node.hear(batch(GENESIS, voter, 1, locks=[tx.txid]))
        assert node.voted(VoteKind.ACK) == [tx.txid]
        node.sent.clear()
        node.tick(1000)
        (certificate,) = {VoteCertificate.decode(payload) for payload in node.take(Kind.VOTE_CERTIFICATE)}
        assert (certificate.kind, certificate.txid, len(certificate.proofs)) == (VoteKind.LOCK, tx.txid, 3)
        assert tx.encoded in node.take(Kind.TRANSACTIONS)

    def test_a_new_peer_can_ask_for_the_votes_it_lacks(self, node: Node) -> None:
        tx = transfer(GENESIS, 0)
        node.pay(tx)
        other = batch(GENESIS, 3, 7, locks=[tx.txid])
        node.hear(other)
        node.sent.clear()
        node.call(lambda replica: replica.peer_joined(5))
        (have,) = node.take(Kind.HAVE_VOTES)
        assert decode_ranges(have) == (0, [Ranges(0, ((1, 1),)), Ranges(3, ((7, 7),))])
        newcomer = Node(GENESIS, 1)
        newcomer.receive(Kind.HAVE_VOTES, have)
        (ask,) = newcomer.take(Kind.GET_VOTES)
        node.receive(Kind.GET_VOTES, ask, peer=5)
        for payload in node.take(Kind.VOTE_BATCH):
            newcomer.receive(Kind.VOTE_BATCH, payload)
        assert newcomer.replica.core.fastpath.votes(VoteKind.LOCK, tx.txid) == 2
        newcomer.receive(Kind.HAVE_VOTES, have)
        assert newcomer.take(Kind.GET_VOTES) == []
        assert node.replica.gossip.missing_votes(1, [Ranges(0, ((1, 9),))]) is None  # of another epoch
