"""Planted bugs of PBFT, quorums, epochs, evidence and the ledger (protocol.md sections 1, 3, 5 and 6)."""

from __future__ import annotations

from timecoin.sim.mutation import Edit, Mutant
from timecoin.sim.scenario import Scenario

_HEIGHT = "timecoin.consensus.pbft:Height"
_QUORUM = "timecoin.consensus.quorum:Quorum.of"
_LEDGER = "timecoin.ledger.state:Ledger"
_CHAIN = "timecoin.replica.chain:Chain"
_RIGHT_QUORUM = "-(-2 * n // 3)"
_COUNTED = "self._counted.setdefault((vote.phase, vote.view, vote.digest), {})"


def _count_connected_peers() -> None:
    from timecoin.consensus.quorum import Quorum
    from timecoin.replica.replica import Replica

    def count(self: Replica) -> None:
        seats = len(self.ledger.masternodes)
        connected = Quorum.of(min(seats, len(self.gossip.peers) + 1))
        seen = Quorum(seats, connected.f, connected.q)
        self.core.quorum = self.core.height._quorum = self.core.fastpath._quorum = seen
        self.core.height._changes._quorum = seen

    joined, left, tick = Replica.peer_joined, Replica.peer_left, Replica.tick

    def peer_joined(self: Replica, peer: int) -> None:
        joined(self, peer)
        count(self)

    def peer_left(self: Replica, peer: int) -> None:
        left(self, peer)
        count(self)

    def ticked(self: Replica) -> None:
        count(self)
        tick(self)

    Replica.peer_joined, Replica.peer_left, Replica.tick = peer_joined, peer_left, ticked  # type: ignore[method-assign]


MUTANTS = (
    Mutant(
        "pre-prepare-exempt",
        "PRE-PREPARE binds its sender under R1 and R2",
        (
            Edit(f"{_HEIGHT}.built", "if self._votes.excluded_ack(", "if False and self._votes.excluded_ack("),
            Edit(f"{_HEIGHT}.built", "self.signed_proposals[info.digest] = info\n", "pass\n"),
            Edit(
                f"{_CHAIN}.build",
                "exclude = self._too_early(fastpath, now)",
                "exclude = {entry.tx.txid for entry in self._pool if entry.state is not PoolState.PENDING}",
            ),
        ),
        profiles=("contested", "liars"),
        scenario=Scenario(contested=40, crossed=4),
    ),
    Mutant(
        "votes-of-two-views",
        "votes of two views never meet in one certificate",
        (Edit(f"{_HEIGHT}._count", _COUNTED, _COUNTED.replace("vote.view", "0")),),
        profiles=("views", "liars"),
    ),
    Mutant(
        "votes-without-digest",
        "votes are counted per digest",
        (Edit(f"{_HEIGHT}._count", _COUNTED, _COUNTED.replace(", vote.digest", "")),),
        profiles=("liars",),
    ),
    Mutant(
        "looks-back",
        "nothing is signed for a view below the current one",
        (
            Edit(
                f"{_HEIGHT}._try_commit",
                "certificate = self._prepared.get(self.view)",
                "certificate = max(self._prepared.values(), key=lambda held: held.view, default=None)",
            ),
            Edit(
                f"{_HEIGHT}._try_commit",
                "PhaseVote(Phase.COMMIT, self.epoch, self.height, self.view,",
                "PhaseVote(Phase.COMMIT, self.epoch, self.height, certificate.view,",
            ),
        ),
        profiles=("views", "liars"),
    ),
    Mutant(
        "view-change-omits-certificate",
        "a VIEW-CHANGE carries the highest prepared certificate",
        (Edit(f"{_HEIGHT}._move_to", "view, self._me, highest)", "view, self._me, None)"),),
        profiles=("views", "liars"),
    ),
    Mutant(
        "view-change-without-body",
        "a VIEW-CHANGE reports a certificate only with the body at hand",
        (
            Edit(f"{_HEIGHT}._move_to", " and c.digest in self._candidates]", "]"),
            Edit(
                f"{_HEIGHT}._move_to",
                "self._candidates[highest.digest].block if highest else None",
                "self._candidates[highest.digest].block if highest and highest.digest in self._candidates else None",
            ),
        ),
        profiles=("views", "network"),
        scenario=Scenario(isolations=6, deaf_spells=6, loss=0.1, duration=12_000),
    ),
    Mutant(
        "new-view-picks-fresh-block",
        "NEW-VIEW proposes the block of the highest certificate",
        (Edit(f"{_HEIGHT}._try_open_view", "if highest is None:", "if True:"),),
        profiles=("views",),
    ),
    Mutant(
        "new-view-not-recomputed",
        "every replica recomputes what a NEW-VIEW must propose",
        (
            Edit(
                "timecoin.consensus.messages:NewView.inspect",
                "if highest is not None and highest.digest != self.digest:",
                "if False:",
            ),
        ),
        profiles=("liars", "views"),
        scenario=Scenario(liars=("usurper",), isolations=8, deaf_spells=3, duration=14_000),
    ),
    Mutant(
        "new-view-signatures-unchecked",
        "every replica checks every signature inside a NEW-VIEW",
        (Edit("timecoin.replica.replica:Replica._verify", "self._check(checks[1:], then)", "then(verdicts)"),),
        profiles=("liars", "views"),
        scenario=Scenario(liars=("usurper",), isolations=8, deaf_spells=3, duration=14_000),
    ),
    Mutant(
        "new-view-refused-for-own-certificate",
        "a valid NEW-VIEW is accepted by one who holds a higher certificate that it omits",
        (
            Edit(
                f"{_HEIGHT}._new_view",
                "    if message.view in self._views:\n",
                "    highest = message.highest()\n"
                "    if self._prepared and max(self._prepared) > (-1 if highest is None else highest.view):\n"
                "        return\n"
                "    if message.view in self._views:\n",
            ),
        ),
        profiles=("views", "liars"),
        scenario=Scenario(isolations=8, transfers=4, duration=14_000),
    ),
    Mutant(
        "timer-starts-on-own-view-change",
        "the timer of view v > 0 starts on q VIEW-CHANGEs, not on one's own",
        (
            Edit(
                f"{_HEIGHT}._advance",
                "if self.view > 0 and self._deadline is None and self._changes.starts_timer(self.view):",
                "if self.view > 0 and self._deadline is None:",
            ),
        ),
        profiles=("views", "network"),
        scenario=Scenario(partitions=4, deaf_spells=2),
    ),
    Mutant(
        "no-join-rule",
        "f+1 others asking for higher views are joined",
        (Edit(f"{_HEIGHT}._advance", "joined = self._changes.joined(self.view, self._me)", "joined = None"),),
        profiles=("views", "network"),
        scenario=Scenario(partitions=4, deaf_spells=2),
    ),
    Mutant(
        "quorum-floor",
        "q = ceil(2n/3), not floor",
        (Edit(_QUORUM, _RIGHT_QUORUM, "2 * n // 3"),),
        profiles=("liars", "network", "contested"),
    ),
    Mutant(
        "quorum-2f+1",
        "q = ceil(2n/3), not 2f+1 where n is not 3f+1",
        (Edit(_QUORUM, _RIGHT_QUORUM, "2 * ((n - 1) // 3) + 1"),),
        profiles=("contested", "liars"),
        scenario=Scenario(masternodes=5, contested=4),
    ),
    Mutant(
        "quorum-majority",
        "q = ceil(2n/3), not a majority",
        (Edit(_QUORUM, _RIGHT_QUORUM, "n // 2 + 1"),),
        profiles=("contested", "liars"),
        scenario=Scenario(masternodes=5, contested=4),
    ),
    Mutant(
        "n-of-connected-peers",
        "n is the registered set, never the connected peers",
        patch=_count_connected_peers,
        profiles=("network",),
        scenario=Scenario(crashes=8, contested=4),
    ),
    Mutant(
        "commit-without-body",
        "COMMIT takes the block's body",
        (
            Edit(
                f"{_HEIGHT}._try_commit",
                "self._out.wanted_body = certificate.digest\n",
                "self._draft(\n"
                "            PhaseVote(Phase.COMMIT, self.epoch, self.height, self.view, self._me, certificate.digest),\n"
                "            None,\n            certificate,\n"
                "        )\n",
            ),
        ),
        profiles=("network", "views"),
    ),
    Mutant(
        "commit-without-durable-certificate",
        "a COMMIT is durable together with its prepared certificate",
        (Edit("timecoin.replica.replica:Replica._send_draft", "if draft.certificate is not None:", "if False:"),),
        profiles=("crashes",),
    ),
    Mutant(
        "replica-refuses-uncertified",
        "R5 binds the leader: a replica never refuses for a certificate that it lacks",
        (
            Edit(
                f"{_HEIGHT}._try_prepare",
                "    self.signed_proposals[info.digest] = info\n",
                "    if any(self._votes.is_pending(txid) and not self._votes.is_certified(txid) for txid in info.txids):\n"
                "        return\n"
                "    self.signed_proposals[info.digest] = info\n",
            ),
        ),
        profiles=("contested", "network"),
        scenario=Scenario(contested=10, crossed=2),
    ),
    Mutant(
        "no-r5",
        "R5: in views > 0 a leader's fresh proposal has certified transactions only",
        (Edit(f"{_CHAIN}.build", "certified_only=certified_only or request.certified_only", "certified_only=certified_only"),),
        profiles=("contested", "views"),
        scenario=Scenario(contested=10, deaf_spells=8),
    ),
    Mutant(
        "closes-early",
        "an epoch closes at its nominal last height or after it",
        (
            Edit(
                f"{_CHAIN}.build",
                "request.height >= self.ledger.nominal_last and ",
                "request.height >= self.ledger.nominal_last - 1 and ",
            ),
            Edit(f"{_LEDGER}._check_header", "if header.closes_epoch and height < self.nominal_last:", "if False:"),
        ),
        profiles=("epochs",),
        scenario=Scenario(epoch_length=4),
    ),
    Mutant(
        "closes-without-certified",
        "a leader closes only when all certified pending transactions are in the chain or the block",
        (
            Edit(f"{_CHAIN}._may_close", "if not all(txid in chosen for txid in fastpath.acked()):", "if False:"),
            Edit(
                f"{_CHAIN}._may_close",
                "return all(entry.tx.txid in chosen for entry in self._pool if entry.state is not PoolState.PENDING)",
                "return True",
            ),
            Edit(f"{_HEIGHT}.built", "if self._votes.excluded_ack(", "if False and self._votes.excluded_ack("),
        ),
        profiles=("epochs",),
        scenario=Scenario(epoch_length=3, transfers=60, block_txs=2),
    ),
    Mutant(
        "header-names-own-voters",
        "the header commits to the set that votes at the next height, and every replica checks it",
        (Edit(f"{_LEDGER}.check_block", "if next_set.hash() != header.next_set:", "if False:"),),
        profiles=("liars",),
        scenario=Scenario(liars=("spoiler",), transfers=40, duration=14_000),
    ),
    Mutant(
        "set-of-parent-state",
        "the new set is read from the state at the closing block",
        (Edit(f"{_LEDGER}._set_after", "self._change_registry(registry, height, spent, effects)", "pass"),),
        profiles=("epochs",),
        scenario=Scenario(epoch_length=4, joins=2),
    ),
    Mutant(
        "convicted-keep-their-seat",
        "proven equivocators are left out of the next epoch's set",
        (Edit(f"{_LEDGER}._set_after", "registry.masternode_set(exclude=voters.convicted)", "registry.masternode_set()"),),
        profiles=("liars", "epochs"),
        scenario=Scenario(liars=("double-locker",), contested=8, epoch_length=4),
    ),
    Mutant(
        "evidence-stays-out-of-blocks",
        "evidence is put into a block",
        (Edit("timecoin.replica.misconduct:Misconduct.for_block", "for evidence in self.provable():", "for evidence in ():"),),
        profiles=("liars", "epochs"),
        scenario=Scenario(liars=("double-locker",), contested=8),
    ),
    Mutant(
        "commitment-unchecked",
        "the header commits to the coins after the block",
        (Edit(f"{_LEDGER}.check_block", "if commitment.digest() != header.commitment:", "if False:"),),
        profiles=("liars",),
        scenario=Scenario(liars=("spoiler",), transfers=40, duration=14_000),
    ),
    Mutant(
        "commitment-not-updated-on-undo",
        "taking a block back takes its commitment back",
        (
            Edit(
                "timecoin.replica.deep_audit:take_back",
                "state.add([coin_element(*coin) for coin in layout.decode_undo(undo)])",
                "pass",
            ),
        ),
        profiles=("contested",),
        scenario=Scenario(contested=2),
    ),
    Mutant(
        "certificates-unchecked-when-fetched",
        "a fetched block comes with a commit certificate of the epoch's set",
        (
            Edit(
                "timecoin.replica.catchup:CatchUp._check",
                "certificate.check_commit(self._ledger.epoch, height, digest, Quorum.of(len(masternodes)))",
                "pass",
            ),
        ),
        profiles=("liars", "network"),
        scenario=Scenario(liars=("counterfeiter",), crashes=20, duration=14_000),
    ),
)
