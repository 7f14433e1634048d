"""A build of the runner that no one should run: its masternode signs a second PREPARE, for another block, beside every PREPARE.

The arguments are those of the `timecoin` command.
"""

from __future__ import annotations

import sys
from dataclasses import replace

from timecoin._core import hashing
from timecoin.cli.app import run
from timecoin.consensus.certificates import Phase
from timecoin.consensus.messages import PhaseVote
from timecoin.consensus.pbft import Draft
from timecoin.replica.replica import Replica
from timecoin.replica.wire import Kind

_honest = Replica._send_draft


def _send_twice(self: Replica, draft: Draft) -> None:
    _honest(self, draft)
    message = draft.message
    if isinstance(message, PhaseVote) and message.phase is Phase.PREPARE:
        other = self._sign(replace(message, digest=hashing.sha256(message.digest)))
        self.out.send(Kind.PREPARE, other.encode())


if __name__ == "__main__":
    Replica._send_draft = _send_twice  # type: ignore[method-assign]
    sys.exit(run(sys.argv[1:]))
