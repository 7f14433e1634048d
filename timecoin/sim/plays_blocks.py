"""Plays for blocks, views, epochs and the ledger: each corners one rule of PBFT, of quorums or of the ledger.

Place in the flow: a play sets a `stage.Stage`, on which every invariant watches, and one more: a VIEW-CHANGE is signed only
on the grounds that the protocol names (`ViewGrounds`). Honest code comes to the end of every play; `PLAYS` says which planted
bugs do not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from timecoin.consensus.certificates import Phase, PhaseCertificate, VoteKind
from timecoin.consensus.messages import NewView, PhaseVote, ViewChange
from timecoin.ledger.blocks import Block
from timecoin.ledger.genesis import Genesis
from timecoin.ledger.transactions import Transaction
from timecoin.replica.effects import Equivocated, Event, Send
from timecoin.replica.payloads import encode_blocks, encode_status
from timecoin.replica.wire import Kind
from timecoin.sim.invariants import InvariantError, votes_needed
from timecoin.sim.node import SimNode
from timecoin.sim.stage import Carried, Rule, Stage, between, mentions
from timecoin.sim.strategy import decoded

_SOON_MS = 200.0  # for what a node must do as soon as it hears the reason


class ViewGrounds:
    """Who may ask for which view: a node leaves view v > 0 only after its timer started, or to join f+1 others.

    What a node has heard is what was delivered to it, at any time: no more is asked for than the protocol says.
    """

    def __init__(self) -> None:
        self._asked: dict[tuple[int, int], dict[int, int]] = {}  # node, height -> voter -> the highest view it asks for
        self._opened: dict[tuple[int, int], set[int]] = {}  # node, height -> views with a NEW-VIEW

    def heard(self, node: int, message: ViewChange | NewView) -> None:
        """A message reaches a node, or is its own."""
        asked = self._asked.setdefault((node, message.height), {})
        if isinstance(message, NewView):
            self._opened.setdefault((node, message.height), set()).add(message.view)
        for change in message.view_changes if isinstance(message, NewView) else (message,):
            asked[change.voter] = max(change.view, asked.get(change.voter, 0))

    def judge(self, node: int, message: ViewChange, voters: int) -> None:
        """A correct node asks for a view. Raises InvariantError("views")."""
        asked = self._asked.get((node, message.height), {})
        left = message.view - 1
        timer = sum(view >= left for view in asked.values()) >= votes_needed(voters)
        opened = left in self._opened.get((node, message.height), ())
        others = sum(view >= message.view for voter, view in asked.items() if voter != message.voter)
        if left > 0 and not timer and not opened and others <= (voters - 1) // 3:
            raise InvariantError(
                "views", f"node {node} asks for view {message.view} of height {message.height}; view {left} was never opened"
            )


class BlockStage(Stage):
    """A stage on which the grounds of VIEW-CHANGEs are looked at, too."""

    def __init__(
        self, masternodes: int = 4, liars: Sequence[int] = (), epoch_length: int = 100_000, *, block_txs: int | None = None
    ) -> None:
        """`block_txs`: how many transactions a block may have, with its coinbase."""
        self._block_txs = block_txs
        self._grounds = ViewGrounds()
        self.accusers: set[int] = set()  # nodes that have evidence against somebody
        super().__init__(masternodes, liars, epoch_length)

    def _make_genesis(self) -> Genesis:
        genesis = super()._make_genesis()
        return genesis if self._block_txs is None else replace(genesis, max_block_txs=self._block_txs)

    def transmit(self, node: SimNode, send: Send) -> None:
        message = decoded(send.kind, send.payload)
        if isinstance(message, ViewChange) and node.correct and message.voter == self.seat(node.index, message.epoch):
            self._grounds.judge(node.index, message, len(self.chain.sets[message.epoch]))
            self._grounds.heard(node.index, message)
        super().transmit(node, send)

    def _deliver(self, source: int, receiver: SimNode, kind: Kind, payload: bytes) -> None:
        message = decoded(kind, payload)
        if isinstance(message, (ViewChange, NewView)):
            self._grounds.heard(receiver.index, message)
        super()._deliver(source, receiver, kind, payload)

    def happened(self, node: SimNode, event: Event) -> None:
        if isinstance(event, Equivocated):
            self.accusers.add(node.index)
        super().happened(node, event)

    def finish(self) -> None:
        """And once more when the last block is durable, so that every store is looked at."""
        super().finish()
        self.pause(_SOON_MS)
        self._check_stores()

    # --- what the plays have in common

    def until_all_ask(self, view: int) -> None:
        """Until all correct nodes that are up ask for a view of height 1."""
        nodes = [node.index for node in self.correct if node.alive]
        self.until(f"VIEW-CHANGEs for view {view}", lambda: all(self.view_change(index, 1, view) for index in nodes))

    def until_prepared(self, *nodes: int, view: int = 0, limit: float = 2_000.0) -> None:
        """Until these nodes have sent PREPARE at height 1."""
        self.until(
            f"PREPAREs of nodes {nodes} in view {view}",
            lambda: all(self.phase_vote(index, Phase.PREPARE, 1, view) for index in nodes),
            limit,
        )

    def until_convicted(self, limit: float) -> None:
        """Until a block has all evidence that correct nodes have."""
        self.until("evidence in a block", lambda: self._equivocations.open(self.correct) is None, limit)

    def until_epoch(self, epoch: int) -> None:
        """Until a correct node has seen the epoch before it closed."""
        self.until(f"epoch {epoch}", lambda: self.chain.epoch >= epoch, 60_000.0)

    def leave(self, index: int) -> Transaction:
        """The owner of a founding masternode spends its collateral."""
        key = self.nodes[index].operator
        point = next(point for point, output in self.genesis.coins() if output.operator == key)
        (planned,) = self.clients.exit(self.clock.now, point, self._owners[index])
        return planned.tx

    def split_locks(self, first: Sequence[int], second: Sequence[int]) -> list[Transaction]:
        """Two rivals for one coin, each LOCKed by some nodes, so that neither is certified; then all nodes have both."""
        coin = self.coin()
        rivals = self.rivals([coin], [coin])
        apart = self.hold(of_kind(Kind.TRANSACTIONS))
        locks = [(tx.txid, index) for tx, nodes in zip(rivals, (first, second), strict=True) for index in nodes]
        for tx, nodes in zip(rivals, (first, second), strict=True):
            self.submit(tx, *nodes)
        self.until("their LOCKs", lambda: all(self.voted(index, VoteKind.LOCK, txid) for txid, index in locks))
        apart.release()
        return rivals

    def view_changes(self, *nodes: int) -> tuple[ViewChange, ...]:
        """The VIEW-CHANGEs of these nodes for view 1 of height 1, which they have sent."""
        found = [self.view_change(index, 1, 1) for index in nodes]
        return tuple(change for change in found if change is not None)


def of_view(view: int, *kinds: Kind, to: Sequence[int] | None = None) -> Rule:
    """Messages of these kinds for a view of height 1, on their way to these nodes (None: all)."""

    def applies(carried: Carried) -> bool:
        if carried.kind not in kinds or (to is not None and carried.target not in to):
            return False
        message = carried.message
        return isinstance(message, (PhaseVote, ViewChange, NewView)) and (message.height, message.view) == (1, view)

    return applies


def of_kind(*kinds: Kind, to: Sequence[int] | None = None) -> Rule:
    """Everything of these kinds, on its way to these nodes (None: all)."""
    return lambda carried: carried.kind in kinds and (to is None or carried.target in to)


# --- views


def unheard_commits() -> None:
    """All COMMIT in view 0 and nobody hears it: a quorum exists. View 1 must have that very block, and its leader, who is the
    only one to hear its NEW-VIEW, may not COMMIT with the PREPAREs of view 0."""
    stage = BlockStage()
    stage.submit(stage.pay(stage.coin()))
    commits = stage.hold(of_view(0, Kind.COMMIT))
    opening = stage.hold(of_view(1, Kind.NEW_VIEW))
    stage.until_all_ask(1)
    stage.pause(50)
    opening.release()
    stage.until_height(1)
    commits.lose()
    stage.finish()


def usurper() -> None:
    """All COMMIT in view 0 and nobody hears it. The leader of view 1 lies: it proposes a fresh block with VIEW-CHANGEs that hold
    the certificate. Nobody may PREPARE it."""
    stage = BlockStage(liars=[2])
    stage.submit(stage.pay(stage.coin()))
    commits = stage.hold(of_view(0, Kind.COMMIT))
    stage.until_all_ask(1)
    block = stage.block([], view=1)
    stage.tell(2, NewView(0, 1, 1, 2, stage.view_changes(0, 1, 3), Block.decode(block).hash, block))
    stage.pause(100)
    commits.lose()
    stage.until_height(1)
    stage.finish()


def forger() -> None:
    """All COMMIT in view 0 and nobody hears it. The leader of view 1, who alone hears the VIEW-CHANGEs, cuts the certificates out
    of two of them, adds its own and shows node 3 a NEW-VIEW with a fresh block: two signatures in it are wrong."""
    stage = BlockStage(liars=[2])
    stage.submit(stage.pay(stage.coin()))
    holds = [stage.hold(of_view(0, Kind.COMMIT)), stage.hold(of_kind(Kind.VIEW_CHANGE, to=[0, 1, 3]))]
    stage.until_all_ask(1)
    own = stage.tell(2, ViewChange(0, 1, 1, 2, None), to=[])
    assert isinstance(own, ViewChange)
    zero, one = (replace(change, prepared=None) for change in stage.view_changes(0, 1))
    block = stage.block([], view=1)
    stage.tell(2, NewView(0, 1, 1, 2, (zero, one, own), Block.decode(block).hash, block), to=[3])
    stage.pause(100)
    for hold in holds:
        hold.lose()
    stage.until_height(1)
    stage.finish()


def omitted_certificate() -> None:
    """Node 0 alone hears the PREPAREs of view 0, and nobody hears its VIEW-CHANGE: view 1 begins with a fresh block. The fourth
    masternode falls silent, so node 0 must PREPARE it although it holds a certificate for another one."""
    stage = BlockStage(liars=[1])
    stage.speaking.add(1)
    stage.submit(stage.pay(stage.coin()), 0, 1, 2, 3)
    stage.hold(of_view(0, Kind.PREPARE, to=[1, 2, 3]))
    stage.hold(lambda carried: carried.kind is Kind.VIEW_CHANGE and carried.voter == 0)
    stage.until("NEW-VIEW", lambda: any(isinstance(message, NewView) for message in stage.said(2)))
    assert stage.phase_vote(0, Phase.COMMIT, 1) is not None, "node 0 holds a certificate"
    stage.speaking.clear()
    stage.until_prepared(0, view=1, limit=_SOON_MS)
    stage.until_height(1)
    stage.finish()


def cut_off() -> None:
    """Node 3 hears nothing and is not heard for many timeouts. It asks for view 1 and stays there: the timer of a later view
    starts when a quorum asks for it."""
    stage = BlockStage()
    stage.submit(stage.pay(stage.coin()))
    holds = [stage.hold(between([3], [0, 1, 2])), stage.hold(between([0, 1, 2], [3]))]
    stage.pause(12_000)
    assert any(isinstance(message, ViewChange) for message in stage.said(3)), "it has asked for view 1"
    for hold in holds:
        hold.lose()
    stage.finish()


def joined() -> None:
    """The leader is down, and node 3 has not heard of the payment for which the others want a block: when both of them, f+1,
    ask for view 1, it joins at once, long before its own timer."""
    stage = BlockStage()
    stage.crash(1)
    stage.hold(lambda carried: carried.target == 3 and carried.kind not in (Kind.VIEW_CHANGE, Kind.NEW_VIEW))
    stage.submit(stage.pay(stage.coin()), 0, 2)
    stage.until("VIEW-CHANGEs of nodes 0 and 2", lambda: len(stage.view_changes(0, 2)) == 2)
    stage.until("node 3 to join", lambda: stage.view_change(3, 1, 1) is not None, _SOON_MS)
    stage.finish()


def missing_body() -> None:
    """Node 0 gets the PREPAREs of view 0 and not the block. It may not COMMIT, and when the view fails, its VIEW-CHANGE may not
    carry the certificate."""
    stage = BlockStage()
    stage.submit(stage.pay(stage.coin()))
    body = stage.hold(of_kind(Kind.PROPOSAL, Kind.BODY, to=[0]))
    commits = stage.hold(of_view(0, Kind.COMMIT))
    stage.until_prepared(1, 2, 3)
    stage.until_all_ask(1)
    body.lose()
    commits.lose()
    stage.until_height(1)
    stage.finish()


def late_prepares() -> None:
    """All PREPARE in view 0, and hear of it only when they have asked for view 1: no COMMIT for view 0 may follow."""
    stage = BlockStage()
    stage.submit(stage.pay(stage.coin()))
    prepares = stage.hold(of_view(0, Kind.PREPARE))
    opening = stage.hold(of_view(1, Kind.NEW_VIEW))
    stage.until_all_ask(1)
    prepares.release()
    stage.pause(50)
    opening.release()
    stage.until_height(1)
    stage.finish()


# --- quorums


def halves() -> None:
    """Two and two masternodes lose each other, and know it. Neither half may decide: n is four, whoever is connected."""
    stage = BlockStage()
    stage.submit(stage.pay(stage.coin()))
    stage.pause(20)
    pairs = [(one, other) for one in (0, 1) for other in (2, 3)]
    pairs += [(other, one) for one, other in pairs]
    holds = [stage.hold(between([0, 1], [2, 3])), stage.hold(between([2, 3], [0, 1]))]
    for node, peer in pairs:
        stage.nodes[node].call(lambda replica, peer=peer: replica.peer_left(peer))  # type: ignore[misc]
    stage.pause(4_000)
    for hold in holds:
        hold.lose()
    for node, peer in pairs:
        stage.nodes[node].call(lambda replica, peer=peer: replica.peer_joined(peer))  # type: ignore[misc]
    stage.until_height(1)
    stage.finish()


def two_of_five() -> None:
    """Of five masternodes the leader lies: it shows one block to two and another one to two others, and votes for both of them.
    Three votes for each: if they were a quorum, there would be two blocks of one height."""
    stage = BlockStage(masternodes=5, liars=[1])
    payment = stage.pay(stage.coin())
    stage.submit(payment)
    stage.pause(50)
    holds = [stage.hold(between([0, 2], [3, 4])), stage.hold(between([3, 4], [0, 2]))]
    for block, targets in ((stage.block([]), [0, 2]), (stage.block([payment]), [3, 4])):
        proposal = stage.propose(1, block, targets)
        for phase in Phase:
            stage.phase(1, phase, proposal, targets)
    stage.until_prepared(0, 2, 3, 4)
    stage.pause(100)
    for hold in holds:
        hold.release()
    stage.until_height(1)
    stage.finish()


def two_proposals() -> None:
    """A lying leader proposes one block to node 0 and another one to nodes 2 and 3: three PREPAREs, but not for one block. Both
    proposals get around, the proof gets into a block, and the liar has no seat in the next epoch."""
    stage = BlockStage(liars=[1], epoch_length=4)
    payment = stage.pay(stage.coin())
    stage.submit(payment)
    stage.pause(50)
    stage.propose(1, stage.block([]), to=[0])
    stage.propose(1, stage.block([payment]), to=[2, 3])
    stage.until_prepared(0, 2, 3)
    stage.until("evidence at all correct nodes", lambda: stage.accusers >= {0, 2, 3}, 2_000.0)
    stage.until_convicted(12_000.0)
    stage.until_epoch(1)
    assert stage.seat(1) is None, "the liar has lost its seat"
    stage.finish()


# --- the ledger


def _lying_header(**changes: Any) -> None:
    """The leader of height 1 lies in its header, and PREPAREs and COMMITs that block itself."""
    stage = BlockStage(liars=[1])
    payment = stage.pay(stage.coin())
    stage.submit(payment)
    stage.pause(50)
    honest = Block.decode(stage.block([payment]))
    proposal = stage.propose(1, Block.create(replace(honest.header, **changes), honest.transactions).encoded)
    for phase in Phase:
        stage.phase(1, phase, proposal)
    stage.until_height(1)
    stage.finish()


def wrong_next_set() -> None:
    """A lying leader's header names another set than the one that votes next: nobody may PREPARE it."""
    _lying_header(next_set=bytes(32))


def wrong_commitment() -> None:
    """A lying leader's header commits to other coins than those after the block: nobody may PREPARE it."""
    _lying_header(commitment=bytes(32))


def exit_in_the_last_block() -> None:
    """A masternode's collateral is spent in the very block that closes the epoch, which no block before its nominal last height
    may do: the masternode has no seat in the next one."""
    stage = BlockStage(epoch_length=4)
    stage.submit(stage.pay(stage.coin()))
    stage.until_height(2)
    leaving = stage.leave(3)
    votes = stage.hold(mentions(leaving.txid))  # with a certificate it would be in the block before
    stage.pause(100)
    stage.submit(leaving)
    stage.until_height(3)
    votes.lose()
    stage.until_epoch(1)
    assert stage.chain.committed.get(leaving.txid) == stage.chain.starts[1] == 4, "the exit is in the closing block"
    stage.finish()


def backlog() -> None:
    """Six payments are FINAL and a block has room for one: the epoch may not close at its nominal last height, the fourth, but
    with the sixth. Afterwards every block can be taken back."""
    stage = BlockStage(epoch_length=4, block_txs=2)
    payments = [stage.pay(stage.coin()) for _ in range(6)]
    for payment in payments:
        stage.submit(payment)
    stage.until_epoch(1)
    assert all(payment.txid in stage.chain.committed for payment in payments), "all are in before the epoch ends"
    stage.finish()


def contest_after_view_0() -> None:
    """The leader of view 0 is down, and two payments contend for a coin with too few LOCKs each: view 1 must leave both out."""
    stage = BlockStage()
    stage.crash(1)
    rivals = stage.split_locks([0, 2], [3])
    stage.until_height(1)
    assert not any(tx.txid in stage.chain.committed for tx in rivals), "view 1 has settled nothing"
    stage.finish()


def contest_in_view_0() -> None:
    """Two payments contend for a coin, two LOCKs each. A leader of view 0 puts one of them into its block, and the others sign it
    though it is not certified: within a few blocks the coin is settled."""
    stage = BlockStage()
    rivals = stage.split_locks([0, 1], [2, 3])
    stage.until("one of them in a block", lambda: any(tx.txid in stage.chain.committed for tx in rivals), 3_000.0)
    stage.finish()


def counterfeit() -> None:
    """Node 0 has missed two blocks and asks a liar for them, who serves a block of its own, certified by its one COMMIT."""
    stage = BlockStage(liars=[3])
    stage.speaking.add(3)
    stage.submit(stage.pay(stage.coin()))
    deaf = stage.hold(between([1, 2, 3], [0]))
    stage.until_height(2, [1, 2, 3])
    stage.speaking.clear()
    deaf.lose()
    others = stage.hold(between([1, 2], [0]))
    stage.pause(10)
    stage.pass_on(3, Kind.STATUS, encode_status(2, stage.chain.blocks[2]), to=[0])
    stage.pause(10)
    block = stage.block([], parent=0)
    digest = Block.decode(block).hash
    vote = stage.tell(3, PhaseVote(Phase.COMMIT, 0, 1, 0, 3, digest), to=[0])
    assert isinstance(vote, PhaseVote)
    certificate = PhaseCertificate(Phase.COMMIT, 0, 1, 0, digest, ((3, vote.signature),))
    stage.pass_on(3, Kind.BLOCKS, encode_blocks([(block, certificate.encode())]), to=[0])
    stage.pause(50)
    others.lose()
    stage.until_height(2)
    stage.finish()


PLAYS: Mapping[str, Callable[[], None]] = {
    "view-change-omits-certificate": unheard_commits,
    "new-view-picks-fresh-block": unheard_commits,
    "votes-of-two-views": unheard_commits,
    "new-view-not-recomputed": usurper,
    "new-view-signatures-unchecked": forger,
    "new-view-refused-for-own-certificate": omitted_certificate,
    "timer-starts-on-own-view-change": cut_off,
    "no-join-rule": joined,
    "commit-without-body": missing_body,
    "commit-without-durable-certificate": unheard_commits,
    "view-change-without-body": missing_body,
    "looks-back": late_prepares,
    "n-of-connected-peers": halves,
    "quorum-floor": two_of_five,
    "quorum-2f+1": two_of_five,
    "quorum-majority": two_of_five,
    "votes-without-digest": two_proposals,
    "evidence-stays-out-of-blocks": two_proposals,
    "convicted-keep-their-seat": two_proposals,
    "header-names-own-voters": wrong_next_set,
    "commitment-unchecked": wrong_commitment,
    "set-of-parent-state": exit_in_the_last_block,
    "closes-early": exit_in_the_last_block,
    "closes-without-certified": backlog,
    "commitment-not-updated-on-undo": backlog,
    "no-r5": contest_after_view_0,
    "replica-refuses-uncertified": contest_in_view_0,
    "certificates-unchecked-when-fetched": counterfeit,
}
