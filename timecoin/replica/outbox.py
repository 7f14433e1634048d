"""Where the parts of a replica put what they want done, until the driver takes it."""

from __future__ import annotations

from collections.abc import Sequence

from timecoin.consensus.messages import Message
from timecoin.ledger.blocks import Delta
from timecoin.replica.effects import Charge, Commit, Effects, Event, Lane, ReadBlocks, Send, SignatureJob
from timecoin.replica.tables import Change, Write
from timecoin.replica.wire import Kind

# Signatures in one job: enough to keep two cores busy, few enough that nothing urgent waits long behind one.
_MOST_PER_JOB = 512


class Outbox:
    """The effects collected since the driver last took them, and the two lanes of signature checks.

    Votes and blocks have a lane of their own, so that a flood of transactions does not delay consensus.
    """

    def __init__(self) -> None:
        self.urgent = Lane(_MOST_PER_JOB)
        self.bulk = Lane(_MOST_PER_JOB)
        self._jobs: dict[SignatureJob, Lane] = {}
        self._effects = Effects()
        self._writes: list[Change] = []
        self._after: list[Send] = []
        self._messages: list[Message] = []
        self._applied: list[Delta] = []

    def send(self, kind: Kind, payload: bytes, *, to: int | None = None, exclude: int | None = None) -> None:
        """Send at once: nothing of ours has to be durable first."""
        self._effects.sends.append(Send(kind, payload, to, exclude))

    def write(self, table: str, key: bytes, value: bytes | None) -> None:
        self._writes.append(Write(table, key, value))

    def record(self, delta: Delta, changes: Sequence[Change]) -> None:
        """What an applied block changes."""
        self._applied.append(delta)
        self._writes += changes

    def vote(self, message: Message, kind: Kind, payload: bytes) -> None:
        """A signed message of ours: sent, and counted, when everything written so far is durable."""
        self._after.append(Send(kind, payload))
        self._messages.append(message)

    def charge(self, peer: int | None, points: int, why: str) -> None:
        if peer is not None:
            self._effects.charges.append(Charge(peer, points, why))

    def event(self, event: Event) -> None:
        self._effects.events.append(event)

    def read_blocks(self, peer: int, first: int, count: int) -> None:
        self._effects.reads.append(ReadBlocks(peer, first, count))

    def finish(self, job: SignatureJob, verdicts: bytes) -> None:
        self._jobs.pop(job).finish(job, verdicts)

    def take(self) -> Effects:
        for lane in (self.urgent, self.bulk):
            job = lane.job()
            if job is not None:
                self._jobs[job] = lane
                self._effects.jobs.append(job)
        if self._writes or self._after:
            self._effects.commit = Commit(self._writes, self._after, self._messages, self._applied)
            self._writes, self._after, self._messages, self._applied = [], [], [], []
        effects, self._effects = self._effects, Effects()
        return effects
