"""The kinds of message that nodes exchange, with the largest size and the highest rate accepted from one peer.

A frame on a connection is a kind and a payload; what the payload of a kind means is known to the room that handles it:
the kinds below 32 belong to the replica (what every node must agree on), those from 32 on to the connection itself.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from timecoin import params


class Kind(IntEnum):
    TRANSACTIONS = 1  # encoded transactions, back to back
    VOTE_BATCH = 2
    VOTE_CERTIFICATE = 3  # votes of one kind for one transaction, each with its Merkle branch
    PROPOSAL = 4  # PRE-PREPARE with its block
    PREPARE = 5
    COMMIT = 6
    VIEW_CHANGE = 7
    NEW_VIEW = 8
    STATUS = 9  # height and hash of the tip
    GET_BLOCKS = 10
    BLOCKS = 11  # blocks with their commit certificates
    GET_TRANSACTIONS = 12
    HAVE_VOTES = 13  # which vote batches the sender keeps
    GET_VOTES = 14
    GET_BODY = 15  # a proposed block, by its hash
    BODY = 16
    EVIDENCE = 17  # proof that a masternode contradicted itself

    HELLO = 32
    AUTH = 33
    PING = 34
    PONG = 35
    GET_PEERS = 36
    PEERS = 37
    GOODBYE = 38


class Limit(NamedTuple):
    """Largest payload in bytes; messages a second that a peer may send for long; how many at once."""

    max_bytes: int
    rate: float
    burst: int


_BLOCK = params.MAX_BLOCK_BYTES + 1024

LIMITS: dict[Kind, Limit] = {
    Kind.TRANSACTIONS: Limit(1024 * 1024, 2000, 4000),
    Kind.VOTE_BATCH: Limit(2 * 32 * params.MAX_BATCH_VOTES + 1024, 2000, 4000),
    Kind.VOTE_CERTIFICATE: Limit(4 * 1024 * 1024, 500, 2000),
    Kind.PROPOSAL: Limit(_BLOCK, 20, 60),
    Kind.PREPARE: Limit(512, 2000, 10_000),
    Kind.COMMIT: Limit(512, 2000, 10_000),
    Kind.VIEW_CHANGE: Limit(512 * 1024, 500, 10_000),
    Kind.NEW_VIEW: Limit(params.MAX_FRAME_BYTES, 20, 60),
    Kind.STATUS: Limit(64, 50, 200),
    Kind.GET_BLOCKS: Limit(64, 50, 100),
    Kind.BLOCKS: Limit(params.MAX_FRAME_BYTES, 50, 100),
    Kind.GET_TRANSACTIONS: Limit(32 * params.MAX_ASKED_TXS + 64, 200, 1000),
    Kind.HAVE_VOTES: Limit(1024 * 1024, 20, 60),
    Kind.GET_VOTES: Limit(1024 * 1024, 50, 200),
    Kind.GET_BODY: Limit(64, 50, 100),
    Kind.BODY: Limit(_BLOCK, 50, 100),
    Kind.EVIDENCE: Limit(params.MAX_EVIDENCE_BYTES, 20, 300),
    Kind.HELLO: Limit(1024, 1, 2),
    Kind.AUTH: Limit(256, 1, 2),
    Kind.PING: Limit(64, 10, 20),
    Kind.PONG: Limit(64, 10, 20),
    Kind.GET_PEERS: Limit(16, 1, 5),
    Kind.PEERS: Limit(64 * 1024, 2, 10),
    Kind.GOODBYE: Limit(512, 1, 2),
}
