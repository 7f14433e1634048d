"""States of nodes: kept as bytes, and told apart by what may still matter.

Two sequences of rounds that lead to the same state have the same future, so only one of them has to be followed. What makes that
pay is to leave out of `key` what can have no consequence any more. Left out, and why:

- what is remembered for evidence (`_first`, `_slots` of batches) and rate limits of relaying: no rule of safety or
  progress reads them;
- the fast path of a node whose coins are all spent in blocks: who hears of its votes has caught up with it, and closed them too;
- of a height, what belongs to views below the current one, except what a certificate may still be made of: nothing is signed for
  them (never look back), and nobody repeats messages of a view that he has left;
- which q voters are in a certificate; prepared certificates below the highest one whose block is held;
- VIEW-CHANGEs for views below the current one;
- absolute times: they count from the node's own clock.

Whatever is not named here is part of the key, with its order.
"""

from __future__ import annotations

import io
import marshal
import pickle
from collections import OrderedDict, deque
from collections.abc import Callable
from enum import Enum
from typing import Any

from timecoin._core import hashing
from timecoin._core.tally import VoteTally
from timecoin.consensus.certificates import Phase, PhaseCertificate
from timecoin.consensus.core import Core
from timecoin.consensus.fastpath import FastPath
from timecoin.consensus.messages import NewView, PhaseVote, Proposal, ViewChange, VoteBatch
from timecoin.consensus.pbft import BlockInfo, Height
from timecoin.consensus.quorum import Quorum
from timecoin.sim.twinnodes import PAYMENTS, VOTERS, Node


def _tally(votes: tuple[tuple[int, bytes], ...]) -> VoteTally:
    quorum = Quorum.of(VOTERS)
    tally = VoteTally(quorum.n, quorum.q)
    for voter, ids in votes:
        tally.add(voter, ids)
    return tally


def _votes(tally: VoteTally) -> tuple[tuple[int, bytes], ...]:
    by_voter: dict[int, bytes] = {}
    for payment in PAYMENTS:
        for voter in tally.voters(payment.txid):
            by_voter[voter] = by_voter.get(voter, b"") + payment.txid
    return tuple(sorted(by_voter.items()))


class _Pickler(pickle.Pickler):
    dispatch_table = {VoteTally: lambda tally: (_tally, (_votes(tally),))}  # noqa: RUF012


def freeze(node: Node) -> bytes:
    """A node as bytes, from which `thaw` makes an equal one."""
    file = io.BytesIO()
    _Pickler(file, pickle.HIGHEST_PROTOCOL).dump(node)
    return file.getvalue()


def thaw(frozen: bytes) -> Node:
    node = pickle.loads(frozen)  # noqa: S301 - from `freeze`
    assert isinstance(node, Node)
    return node


def key(node: Node) -> bytes:
    """32 bytes that two nodes share only if they will do the same from now on, provided that they hear the same."""
    return hashing.sha256(marshal.dumps(_form_object(node, node), 2))


def _form(value: Any, node: Node) -> Any:
    """The same thing as nested tuples of plain values."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is dict or kind is OrderedDict:
        return tuple([(_form(k, node), _form(v, node)) for k, v in value.items()])
    if kind is list or kind is deque or kind is tuple:
        return tuple([_form(item, node) for item in value])
    if kind is set:
        return tuple(sorted(_form(item, node) for item in value))
    if kind in _SHORT:
        return _SHORT[kind](value)
    if isinstance(value, Enum):
        return value.value
    return _form_object(value, node)


def _form_object(value: Any, node: Node) -> Any:
    rules = _RULES.get(type(value), _NO_RULES)
    parts: list[Any] = []
    for name in value.__dict__ if hasattr(value, "__dict__") else value.__slots__:
        rule = rules.get(name, _WHOLE)
        if rule is _WHOLE:
            parts.append(_form(getattr(value, name), node))
        elif rule is not None:
            parts.append(rule(value, node))
    return tuple(parts)


# --- what stands for values that never change


def _claim(certificate: PhaseCertificate | None) -> Any:
    return None if certificate is None else (certificate.phase.value, certificate.view, certificate.digest)


def _change(message: ViewChange) -> Any:
    return message.height, message.view, message.voter, _claim(message.prepared)


_PLAIN = frozenset({bytes, int, str, bool, type(None)})
_SHORT: dict[type, Callable[[Any], Any]] = {
    BlockInfo: lambda info: info.digest,
    NewView: lambda m: ("new view", m.height, m.view, m.digest, tuple([_change(change) for change in m.view_changes])),
    PhaseCertificate: _claim,
    PhaseVote: lambda m: (m.phase.value, m.height, m.view, m.voter, m.digest),
    Proposal: lambda m: ("proposal", m.height, m.voter, m.digest),
    VoteTally: _votes,
    ViewChange: _change,
    VoteBatch: lambda m: m.digest(),
}

# --- what is left out of objects


def _unless_settled(name: str) -> Callable[[Any, Node], Any]:
    return lambda owner, node: None if node.settled else _form(getattr(owner, name), node)


def _kept_batches(fastpath: FastPath, node: Node) -> Any:
    return tuple(tuple(sorted(kept)) for kept in fastpath._kept)


def _signed(node: Node, _: Node) -> Any:
    view = 10**9 if node.stale else node.core.height.view
    open_slots = [(slot, digest) for slot, digest in node.signed.items() if slot[0] != "batch" and slot[3] >= view]
    batches = [] if node.settled else [(slot, digest) for slot, digest in node.signed.items() if slot[0] == "batch"]
    return tuple(sorted(open_slots) + sorted(batches))


def _since(height: Height, node: Node) -> Any:
    return max(height._since - node.now, -1) if height.view == 0 else None


def _own(height: Height, node: Node) -> Any:
    return tuple([_form(message, node) for message in height.latest()])


def _slots_signed(height: Height, node: Node) -> Any:
    return tuple(sorted(slot for slot in height._signed if slot[1] >= height.view))


def _prepared(height: Height, node: Node) -> Any:
    held = max((view for view, c in height._prepared.items() if height.body(c.digest) is not None), default=-1)
    return tuple(sorted((view, c.digest) for view, c in height._prepared.items() if view >= held))


def _counted(height: Height, node: Node) -> Any:
    """PREPAREs of a view that has its certificate count for nothing more."""
    return tuple(
        sorted(
            (phase.value, view, digest, tuple(sorted(votes)))
            for (phase, view, digest), votes in height._counted.items()
            if phase is Phase.COMMIT or view not in height._prepared
        )
    )


def _changes(height: Height, node: Node) -> Any:
    of = height._changes._of
    return tuple([tuple(sorted((v, _claim(m.prepared)) for v, m in kept.items() if v >= height.view)) for kept in of])


def _candidates(height: Height, node: Node) -> Any:
    return tuple(sorted((digest, c.valid, c.fresh) for digest, c in height._candidates.items()))


def _views(height: Height, node: Node) -> Any:
    return tuple(sorted((view, v.digest, v.justified) for view, v in height._views.items()))


def _sorted(name: str) -> Callable[[Any, Node], Any]:
    return lambda owner, node: tuple(sorted(_form(k, node) for k in getattr(owner, name)))


_WHOLE = object()
_NO_RULES: dict[str, Any] = {}
_RULES: dict[type, dict[str, Any]] = {
    Node: {
        "now": None,
        "seat": None,
        "start": None,
        "decided": None,
        "accused": None,
        "final": _unless_settled("final"),
        "certified": _unless_settled("certified"),
        "signed": _signed,
    },
    Core: {
        "_timing": None,
        "_seat": None,
        "quorum": None,
        "_locks": _unless_settled("_locks"),
        "height": lambda core, node: None if node.stale else _form(core.height, node),
        "fastpath": _unless_settled("fastpath"),
    },
    FastPath: {
        "_quorum": None,
        "_slots": None,
        "_kept": _kept_batches,
        "_kept_bytes": None,
        "dropped": None,
        "_contested": None,  # follows from `_spenders`
        "_height": None,
        "_accused": None,
        "_double_locks": None,
        "_locks": None,
        "_tallies": lambda fastpath, node: tuple([_votes(tally) for tally in fastpath._tallies.values()]),
    },
    Height: {
        "_timing": None,
        "_quorum": None,
        "_votes": None,
        "_first": None,
        "_opening": None,
        "_demand_since": None,
        "_slots": None,
        "_since": _since,
        "_deadline": lambda height, node: height._deadline is not None,
        "_own": _own,
        "_signed": _slots_signed,
        "_prepared": _prepared,
        "_counted": _counted,
        "_changes": _changes,
        "_candidates": _candidates,
        "_views": _views,
        "signed_proposals": _sorted("signed_proposals"),
    },
}
