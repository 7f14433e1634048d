"""The one small network of all vectors: four masternodes, a block with three transfers, and the votes for them.

Amounts are in units. Every key has a seed of 32 equal bytes, so that everything can be made again.
"""

from __future__ import annotations

import struct

from tests.core.twins import merkle_root, sha256, tagged
from tests.vectors.layouts import (
    Ballot,
    Batch,
    Key,
    Output,
    Transaction,
    block,
    block_hash,
    coin_element,
    commitment,
    evidence,
    header,
    ip,
    lock_evidence,
    masternode_set,
    outpoint,
    tx_root,
)

COIN = 100_000_000
FEE = 1_000

ALICE, BOB, CAROL = (Key(name, byte) for byte, name in enumerate(("alice", "bob", "carol"), 0x01))
OWNERS = [Key(f"owner {place}", 0x11 + place) for place in range(4)]
OPERATORS = [Key(f"operator {place}", 0x21 + place) for place in range(4)]
LATE_OPERATOR = Key("operator of the registration", 0x25)
DIALER, LISTENER = Key("node that dials", 0x31), Key("node that listens", 0x32)
KEYS = [ALICE, BOB, CAROL, *OWNERS, *OPERATORS, LATE_OPERATOR, DIALER, LISTENER]

# The genesis document

NAME = "vectors"
NUMBERS = {
    "time_ms": 1_700_000_000_000,
    "collateral": 1_000 * COIN,
    "subsidy": 1 * COIN,
    "block_interval_ms": 1_000,
    "heartbeat_ms": 10_000,
    "view_timeout_ms": 2_000,
    "view_timeout_cap_ms": 30_000,
    "epoch_length": 100_000,
    "max_block_txs": 5_000,
    "max_block_bytes": 4_194_304,
    "min_masternodes": 4,
}
ALLOCATIONS = [(ALICE, 5_000 * COIN), (BOB, 250_012_345_678)]
HOSTS = ["203.0.113.1", "203.0.113.2", "203.0.113.3", "2001:db8::4"]
PORT = 24_333

GENESIS_ENCODING = b"".join(
    [
        bytes([1, len(NAME)]) + NAME.encode(),
        *(struct.pack("<Q", number) for number in NUMBERS.values()),
        struct.pack("<I", len(ALLOCATIONS)),
        *(key.public + struct.pack("<Q", amount) for key, amount in ALLOCATIONS),
        struct.pack("<H", len(HOSTS)),
        *(
            owner.public + operator.public + ip(host) + struct.pack("<H", PORT)
            for owner, operator, host in zip(OWNERS, OPERATORS, HOSTS, strict=True)
        ),
    ]
)
CHAIN_ID = tagged(b"timecoin/genesis", GENESIS_ENCODING)


def genesis_document() -> str:
    lines = [f'name = "{NAME}"', *(f"{key} = {number}" for key, number in NUMBERS.items())]
    for key, amount in ALLOCATIONS:
        lines += ["", "[[allocation]]", f'address = "{key.address}"', f"amount = {amount}"]
    for owner, operator, host in zip(OWNERS, OPERATORS, HOSTS, strict=True):
        lines += ["", "[[masternode]]", f'owner = "{owner.address}"', f'operator = "{operator.public.hex()}"']
        lines += [f'address = "{host}"', f"port = {PORT}"]
    return "\n".join(lines) + "\n"


_COLLATERALS = [
    Output(NUMBERS["collateral"], owner.public, operator.public, ip(host), PORT)
    for owner, operator, host in zip(OWNERS, OPERATORS, HOSTS, strict=True)
]
GENESIS_COINS = {
    outpoint(CHAIN_ID, index): output
    for index, output in enumerate([*(Output(amount, key.public) for key, amount in ALLOCATIONS), *_COLLATERALS])
}
_MEMBERS = [(point, output) for point, output in GENESIS_COINS.items() if output.operator]
MASTERNODE_SET = masternode_set(_MEMBERS)
VOTERS = sorted(OPERATORS, key=lambda key: key.public)  # canonical order
GENESIS_HEADER = header(
    height=0,
    proposer=0,
    time_ms=NUMBERS["time_ms"],
    parent=CHAIN_ID,
    tx_root=merkle_root([]),
    utxo_commitment=commitment([coin_element(point, output, 0) for point, output in GENESIS_COINS.items()]),
    next_set=MASTERNODE_SET,
)

# The block at height 1, proposed by the leader of view 0

LEADER = 1
_FIRST, _SECOND = list(GENESIS_COINS)[:2]
_CHANGE = 5_000 * COIN - 120_050_000_000 - FEE
PAYMENT = Transaction(CHAIN_ID, [(_FIRST, ALICE)], [Output(120_050_000_000, BOB.public), Output(_CHANGE, ALICE.public)])
JOINT_PAYMENT = Transaction(
    CHAIN_ID,
    [(outpoint(PAYMENT.txid, 1), ALICE), (_SECOND, BOB)],
    [Output(_CHANGE + ALLOCATIONS[1][1] - 2 * FEE, CAROL.public)],
)
REGISTRATION = Transaction(
    CHAIN_ID,
    [(outpoint(PAYMENT.txid, 0), BOB)],
    [
        Output(NUMBERS["collateral"], CAROL.public, LATE_OPERATOR.public, ip("198.51.100.7"), 24_444),
        Output(120_050_000_000 - NUMBERS["collateral"] - 3 * FEE, BOB.public),
    ],
)
_LEADERS_OWNER = OWNERS[OPERATORS.index(VOTERS[LEADER])]
COINBASE = Transaction(CHAIN_ID, [], [Output(NUMBERS["subsidy"] + 6 * FEE, _LEADERS_OWNER.public)], height=1)
BODY = [COINBASE, PAYMENT, JOINT_PAYMENT, REGISTRATION]

_SPENT = {point for transaction in BODY for point in transaction.inputs}
_ELEMENTS = [coin_element(point, output, 0) for point, output in GENESIS_COINS.items() if point not in _SPENT]
_ELEMENTS += [coin_element(point, output, 1) for tx in BODY for point, output in tx.coins().items() if point not in _SPENT]
HEADER = header(
    height=1,
    proposer=LEADER,
    time_ms=NUMBERS["time_ms"] + 1_000,
    parent=block_hash(GENESIS_HEADER),
    tx_root=tx_root(BODY),
    utxo_commitment=commitment(_ELEMENTS),
    next_set=MASTERNODE_SET,
)
DIGEST = block_hash(HEADER)
BLOCK = block(HEADER, BODY)
OTHER_DIGEST = sha256(b"timecoin vectors: another block")

# Votes: of each masternode one batch of LOCKs and then one of ACKs, with transactions that are not shown among them

OTHERS = [sha256(b"timecoin vectors: another transaction %d" % number) for number in range(4)]
_TXID = PAYMENT.txid


def _batch(voter: int, sequence: int, locks: list[bytes], acks: list[bytes]) -> Batch:
    return Batch(CHAIN_ID, VOTERS[voter], 0, voter, sequence, 0, locks, acks)


LOCK_BATCHES = [
    _batch(0, 1, [_TXID], []),
    _batch(1, 1, [OTHERS[0], _TXID], []),
    _batch(2, 1, [OTHERS[1], OTHERS[0], _TXID], []),
    _batch(3, 1, [OTHERS[0], OTHERS[1], OTHERS[2], _TXID, OTHERS[3]], []),
]
ACK_BATCHES = [
    _batch(0, 2, [], [_TXID]),
    _batch(1, 2, [OTHERS[1]], [_TXID, OTHERS[0]]),
    _batch(2, 2, [OTHERS[2], OTHERS[3]], [OTHERS[0], OTHERS[1], _TXID]),
    _batch(3, 2, [], [_TXID, OTHERS[0], OTHERS[1]]),
]
RIVAL_BATCH = _batch(3, 2, [], [OTHERS[0]])  # what voter 3 must not have signed beside its batch 2

BALLOT = Ballot(CHAIN_ID, VOTERS, 0, 1)

# Evidence against voter 3: two batches, two PREPAREs; and against voter 2 two LOCKs, of a transfer that also spends Bob's coin

LIAR, DOUBLE_LOCKER = 3, 2
EARLIER = Transaction(CHAIN_ID, [(_FIRST, ALICE), (_SECOND, BOB)], [Output(5_000 * COIN + ALLOCATIONS[1][1] - FEE, CAROL.public)])
EARLIER_BATCH = _batch(DOUBLE_LOCKER, 4, [OTHERS[3], EARLIER.txid], [])
LATER_BATCH = _batch(DOUBLE_LOCKER, 5, [_TXID, OTHERS[0], OTHERS[1]], [])

BATCH_EVIDENCE = evidence(
    VOTERS[LIAR].public, 0, *((batch.header, batch.signature) for batch in (ACK_BATCHES[LIAR], RIVAL_BATCH))
)
PREPARE_EVIDENCE = evidence(
    VOTERS[LIAR].public,
    2,
    *(
        (message[64:], VOTERS[LIAR].sign(message))
        for message in (BALLOT.phase_message(0, 0, digest) for digest in (DIGEST, OTHER_DIGEST))
    ),
)
LOCK_EVIDENCE = lock_evidence(VOTERS[DOUBLE_LOCKER].public, (EARLIER_BATCH, EARLIER), (LATER_BATCH, PAYMENT))

# Another block at height 1, which convicts both

PROOFS = [LOCK_EVIDENCE, BATCH_EVIDENCE]
ALONE = [Transaction(CHAIN_ID, [], [Output(NUMBERS["subsidy"], _LEADERS_OWNER.public)], height=1)]
MARKED_SET = masternode_set(_MEMBERS, [DOUBLE_LOCKER, LIAR])
_ALONE_ELEMENTS = [coin_element(point, output, 0) for point, output in GENESIS_COINS.items()]
_ALONE_ELEMENTS += [coin_element(point, output, 1) for point, output in ALONE[0].coins().items()]
CONVICTING_HEADER = header(
    height=1,
    proposer=LEADER,
    time_ms=NUMBERS["time_ms"] + 1_000,
    parent=block_hash(GENESIS_HEADER),
    tx_root=tx_root(ALONE, PROOFS),
    utxo_commitment=commitment(_ALONE_ELEMENTS),
    next_set=MARKED_SET,
)
CONVICTING_BLOCK = block(CONVICTING_HEADER, ALONE, PROOFS)
# Epoch 0 is closed at height 2, where the masternode that was registered has its seat; a payment in the block after that

_REGISTERED = {outpoint(REGISTRATION.txid, 0): REGISTRATION.outputs[0]}
NEXT_SET = masternode_set([(point, o) for point, o in (GENESIS_COINS | _REGISTERED).items() if o.operator])
NEXT_VOTERS = sorted([*OPERATORS, LATE_OPERATOR], key=lambda key: key.public)
CLOSING_HEADER = header(
    height=2,
    proposer=2,
    time_ms=NUMBERS["time_ms"] + 2_000,
    parent=DIGEST,
    tx_root=merkle_root([]),
    utxo_commitment=commitment(_ELEMENTS),
    next_set=NEXT_SET,
    closes_epoch=1,
)
LATE_PAYMENT = Transaction(
    CHAIN_ID, [(outpoint(REGISTRATION.txid, 1), BOB)], [Output(REGISTRATION.outputs[1].value - FEE, ALICE.public)]
)
LATE_BODY = [sha256(b"timecoin vectors: wtxid of another transaction %d" % number) for number in range(2)] + [LATE_PAYMENT.wtxid]
LATE_HEADER = header(
    height=3,
    proposer=3,
    time_ms=NUMBERS["time_ms"] + 3_000,
    parent=block_hash(CLOSING_HEADER),
    tx_root=merkle_root(LATE_BODY),
    utxo_commitment=sha256(b"timecoin vectors: another commitment"),
    next_set=NEXT_SET,
    epoch=1,
)
CLOSING_BALLOT, LATE_BALLOT = Ballot(CHAIN_ID, VOTERS, 0, 2), Ballot(CHAIN_ID, NEXT_VOTERS, 1, 3)
_LATE = LATE_PAYMENT.txid
LATE_ACKS = [
    Batch(CHAIN_ID, NEXT_VOTERS[voter], 1, voter, 1 + voter, 2, locks, acks)
    for voter, locks, acks in (
        (0, [], [_LATE]),
        (1, [OTHERS[0]], [OTHERS[1], _LATE]),
        (3, [], [OTHERS[0], OTHERS[1], _LATE]),
        (4, [OTHERS[2], OTHERS[3]], [OTHERS[0], _LATE, OTHERS[1], OTHERS[2]]),
    )
]
