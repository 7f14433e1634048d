"""The encodings of docs/formats.md, written from that page: hashlib, struct, blake3 and pynacl, and nothing of timecoin.

The vectors are made with these, and the tests read them with timecoin: what both agree on is not one program's habit.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Sequence
from typing import NamedTuple

import blake3
from nacl.bindings import crypto_secretbox
from nacl.pwhash import argon2id
from nacl.signing import SigningKey

from tests.core.twins import LtHash, merkle_branch, merkle_root, sha256, tagged

# Keys and addresses

_ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATORS = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)


def bech32m(hrp: str, data: bytes, checksum_constant: int = 0x2BC830A3) -> str:
    """BIP-350. With the constant 1 it is the older bech32 of BIP-173, which is no address here."""
    bits = "".join(f"{byte:08b}" for byte in data)
    bits += "0" * (-len(bits) % 5)
    values = [int(bits[at : at + 5], 2) for at in range(0, len(bits), 5)]
    state = 1
    for value in [*(ord(c) >> 5 for c in hrp), 0, *(ord(c) & 31 for c in hrp), *values, *[0] * 6]:
        top, state = state >> 25, (state & 0x1FFFFFF) << 5 ^ value
        for place, generator in enumerate(_GENERATORS):
            state ^= generator if top >> place & 1 else 0
    state ^= checksum_constant
    values += [state >> shift & 31 for shift in (25, 20, 15, 10, 5, 0)]
    return f"{hrp}1" + "".join(_ALPHABET[value] for value in values)


class Key:
    """A keypair with a name, from a seed of 32 equal bytes."""

    def __init__(self, name: str, byte: int) -> None:
        self.name = name
        self.seed = bytes([byte]) * 32
        self._signing_key = SigningKey(self.seed)
        self.public = bytes(self._signing_key.verify_key)
        self.address = bech32m("time", b"\0" + self.public)

    def sign(self, message: bytes) -> bytes:
        return self._signing_key.sign(message).signature


def keystore(seeds: dict[str, bytes], passphrase: bytes, *, passes: int, memory: int, salt: bytes, nonce: bytes) -> bytes:
    entries = [bytes([len(name.encode())]) + name.encode() + seed for name, seed in seeds.items()]
    key = argon2id.kdf(32, passphrase, salt, opslimit=passes, memlimit=memory)
    box: bytes = crypto_secretbox(struct.pack("<H", len(entries)) + b"".join(entries), nonce, key)
    return b"timecoin keystore\n" + struct.pack("<BIQ", 1, passes, memory) + salt + nonce + box


# Transactions, coins, blocks


def outpoint(txid: bytes, index: int) -> bytes:
    return txid + struct.pack("<I", index)


def ip(text: str) -> bytes:
    address = ipaddress.ip_address(text)
    return address.packed if address.version == 6 else bytes(10) + b"\xff\xff" + address.packed


class Output(NamedTuple):
    """A payment, or a collateral when it names an operator key."""

    value: int
    key: bytes
    operator: bytes = b""
    address: bytes = b""
    port: int = 0

    @property
    def kind(self) -> int:
        return 1 if self.operator else 0

    def encode(self) -> bytes:
        payment = struct.pack("<BQ", self.kind, self.value) + self.key
        return payment + self.operator + self.address + struct.pack("<H", self.port) if self.operator else payment


class Transaction:
    """A transfer signed by one key for each input, or the coinbase of a height."""

    def __init__(
        self, chain_id: bytes, inputs: Sequence[tuple[bytes, Key]], outputs: Sequence[Output], *, height: int = 0
    ) -> None:
        self.kind = 0 if inputs else 1
        self.height = height
        self.inputs = [point for point, _ in inputs]
        self.signers = [key for _, key in inputs]
        self.outputs = list(outputs)
        head = struct.pack("<BBHHQ", 1, self.kind, len(inputs), len(outputs), height)
        stripped = head + b"".join(self.inputs) + b"".join(output.encode() for output in outputs)
        self.txid = tagged(b"timecoin/txid", stripped)
        self.message = sha256(b"timecoin/input") + chain_id + self.txid
        self.witnesses = [key.sign(self.message) for key in self.signers]
        self.wtxid = tagged(b"timecoin/wtxid", self.txid + b"".join(self.witnesses))
        self.encoded = stripped + b"".join(self.witnesses)

    def coins(self) -> dict[bytes, Output]:
        return {outpoint(self.txid, index): output for index, output in enumerate(self.outputs)}


def coin_element(point: bytes, output: Output, height: int) -> bytes:
    return point + output.encode() + struct.pack("<Q", height)


def lanes(element: bytes) -> bytes:
    return blake3.blake3(element).digest(length=2048)


def commitment(elements: Sequence[bytes]) -> bytes:
    state = LtHash()
    state.add(elements)
    return state.digest()


def masternode_set(members: Sequence[tuple[bytes, Output]], convicted: Sequence[int] = ()) -> bytes:
    """`members`: collateral coins. Canonical order is that of the operator keys. `convicted`: places in it, rising."""
    ordered = sorted(members, key=lambda member: member[1].operator)
    entries = [point + o.key + o.operator + o.address + struct.pack("<H", o.port) for point, o in ordered]
    marks = b"".join(struct.pack("<H", place) for place in convicted)
    return struct.pack("<H", len(entries)) + b"".join(entries) + struct.pack("<H", len(convicted)) + marks


def header(
    *,
    height: int,
    proposer: int,
    time_ms: int,
    parent: bytes,
    tx_root: bytes,
    utxo_commitment: bytes,
    next_set: bytes,
    epoch: int = 0,
    closes_epoch: int = 0,
) -> bytes:
    head = struct.pack("<BBHQQQ", 1, closes_epoch, proposer, height, epoch, time_ms)
    return head + parent + tx_root + utxo_commitment + tagged(b"timecoin/masternode-set", next_set)


def block_hash(encoded_header: bytes) -> bytes:
    return tagged(b"timecoin/header", encoded_header)


def tx_root(body: Sequence[Transaction], proofs: Sequence[bytes] = ()) -> bytes:
    return merkle_root([tx.wtxid for tx in body] + [tagged(b"timecoin/evidence", proof) for proof in proofs])


def block(encoded_header: bytes, body: Sequence[Transaction], proofs: Sequence[bytes] = ()) -> bytes:
    items = b"".join(struct.pack("<I", len(proof)) + proof for proof in proofs)
    front = encoded_header + bytes([len(proofs)]) + items
    return front + struct.pack("<I", len(body)) + b"".join(tx.encoded for tx in body)


# Consensus


def domain(name: str, chain_id: bytes) -> bytes:
    return sha256(b"timecoin/" + name.encode()) + chain_id


def slot(epoch: int, height: int, view: int, voter: int) -> bytes:
    return struct.pack("<QQIH", epoch, height, view, voter)


class Batch(NamedTuple):
    """A vote batch; `key` is the voter's operator key."""

    chain_id: bytes
    key: Key
    epoch: int
    voter: int
    sequence: int
    decided: int
    locks: list[bytes]
    acks: list[bytes]

    @property
    def header(self) -> bytes:
        head = struct.pack("<QHQQ", self.epoch, self.voter, self.sequence, self.decided)
        return head + merkle_root(self.locks) + merkle_root(self.acks) + struct.pack("<II", len(self.locks), len(self.acks))

    @property
    def message(self) -> bytes:
        return domain("vote-batch", self.chain_id) + self.header

    @property
    def signature(self) -> bytes:
        return self.key.sign(self.message)

    def encode(self) -> bytes:
        return self.header + self.signature + b"".join(self.locks) + b"".join(self.acks)

    def store_key(self) -> bytes:
        return struct.pack(">IQ", self.voter, self.sequence) + sha256(self.header)

    def proof(self, ids: list[bytes], txid: bytes) -> bytes:
        index = ids.index(txid)
        branch = merkle_branch(ids, index)
        return self.header + self.signature + struct.pack("<IB", index, len(branch) // 32) + branch


def vote_certificate(kind: int, txid: bytes, batches: Sequence[Batch]) -> bytes:
    """LOCKs (0) or ACKs (1) of the voters of these batches, who stand by rising index."""
    proofs = [batch.proof(batch.acks if kind else batch.locks, txid) for batch in batches]
    return bytes([kind]) + txid + struct.pack("<H", len(proofs)) + b"".join(proofs)


class Ballot(NamedTuple):
    """What the masternodes of one network sign at one (epoch, height): `keys` are the operator keys in canonical order."""

    chain_id: bytes
    keys: list[Key]
    epoch: int
    height: int

    def phase_message(self, phase: int, view: int, digest: bytes) -> bytes:
        name = "commit" if phase else "prepare"
        return domain(name, self.chain_id) + struct.pack("<QQI", self.epoch, self.height, view) + digest

    def phase_vote(self, phase: int, view: int, voter: int, digest: bytes) -> bytes:
        signature = self.keys[voter].sign(self.phase_message(phase, view, digest))
        return slot(self.epoch, self.height, view, voter) + digest + signature

    def phase_certificate(self, phase: int, view: int, digest: bytes, voters: Sequence[int]) -> bytes:
        message = self.phase_message(phase, view, digest)
        votes = [struct.pack("<H", voter) + self.keys[voter].sign(message) for voter in voters]
        head = bytes([phase]) + struct.pack("<QQI", self.epoch, self.height, view) + digest
        return head + struct.pack("<H", len(votes)) + b"".join(votes)

    def pre_prepare_message(self, voter: int, digest: bytes) -> bytes:
        return domain("pre-prepare", self.chain_id) + slot(self.epoch, self.height, 0, voter) + digest

    def pre_prepare(self, voter: int, digest: bytes) -> bytes:
        """Without the block, which follows."""
        signature = self.keys[voter].sign(self.pre_prepare_message(voter, digest))
        return slot(self.epoch, self.height, 0, voter) + digest + signature

    def view_change_message(self, view: int, voter: int, prepared: tuple[int, bytes] | None) -> bytes:
        """`prepared`: view and digest of the certificate."""
        claim = bytes(37) if prepared is None else struct.pack("<BI", 1, prepared[0]) + prepared[1]
        return domain("view-change", self.chain_id) + slot(self.epoch, self.height, view, voter) + claim

    def view_change(self, view: int, voter: int, prepared: tuple[int, bytes, bytes] | None) -> bytes:
        """`prepared`: view, digest and encoding of the certificate."""
        signature = self.keys[voter].sign(self.view_change_message(view, voter, prepared and prepared[:2]))
        head = slot(self.epoch, self.height, view, voter) + signature
        return head + (b"\0" if prepared is None else b"\1" + prepared[2])

    def new_view_message(self, view: int, voter: int, changes: Sequence[bytes], digest: bytes) -> bytes:
        at = slot(self.epoch, self.height, view, voter)
        return domain("new-view", self.chain_id) + at + digest + sha256(b"".join(changes))

    def new_view(self, view: int, voter: int, changes: Sequence[bytes], digest: bytes) -> bytes:
        """Without the block, which follows."""
        signature = self.keys[voter].sign(self.new_view_message(view, voter, changes, digest))
        head = slot(self.epoch, self.height, view, voter) + digest + signature
        return head + struct.pack("<H", len(changes)) + b"".join(changes)


def evidence(operator: bytes, code: int, *sides: tuple[bytes, bytes]) -> bytes:
    """`sides`: what is signed behind the domain, and the signature; by rising signed bytes."""
    return operator + bytes([code]) + b"".join(signed + signature for signed, signature in sorted(sides))


def lock_evidence(operator: bytes, *locks: tuple[Batch, Transaction]) -> bytes:
    """Code 6, of an earlier LOCK and a later one."""
    sides = [batch.proof(batch.locks, tx.txid) + struct.pack("<I", len(tx.encoded)) + tx.encoded for batch, tx in locks]
    return operator + b"\6" + b"".join(sides)


# Light proofs


def voter_bits(voters: Sequence[int], count: int) -> bytes:
    bits = bytearray((count + 7) // 8)
    for voter in voters:
        bits[voter // 8] |= 1 << voter % 8
    return bytes(bits)


def light_head(kind: int, epoch: int, steps: int) -> bytes:
    return struct.pack("<BBQI", 1, kind, epoch, steps)


def light_block(ballot: Ballot, encoded_header: bytes, view: int, voters: Sequence[int]) -> bytes:
    """A header and the COMMITs for it."""
    message = ballot.phase_message(1, view, block_hash(encoded_header))
    signatures = b"".join(ballot.keys[voter].sign(message) for voter in voters)
    return encoded_header + struct.pack("<I", view) + voter_bits(voters, len(ballot.keys)) + signatures


def light_step(block: bytes, changed: bytes) -> bytes:
    """The end of an epoch. `changed`: the set that votes above the block, or nothing."""
    return block + struct.pack("<I", len(changed)) + changed


def light_leaf(leaves: Sequence[bytes], index: int, transaction: bytes) -> bytes:
    return struct.pack("<II", len(leaves), index) + merkle_branch(list(leaves), index) + transaction


def light_acks(txid: bytes, batches: Sequence[Batch], count: int) -> bytes:
    parts = [txid, voter_bits([batch.voter for batch in batches], count)]
    for batch in batches:
        index = batch.acks.index(txid)
        parts.append(struct.pack("<QQIII", batch.sequence, batch.decided, len(batch.locks), len(batch.acks), index))
        parts.append(merkle_root(batch.locks) if batch.locks else b"")
        parts += [merkle_branch(batch.acks, index), batch.signature]
    return b"".join(parts)


def trusted_set(chain_id: bytes, epoch: int, height: int, masternodes: bytes) -> bytes:
    return bytes([1]) + chain_id + struct.pack("<QQ", epoch, height) + masternodes


# The wire


def frame(kind: int, payload: bytes) -> bytes:
    """Uncompressed."""
    return struct.pack("<IBB", len(payload) + 2, kind, 0) + payload


def vote_ranges(epoch: int, ranges: Sequence[tuple[int, Sequence[tuple[int, int]]]]) -> bytes:
    parts = [struct.pack("<QH", epoch, len(ranges))]
    for voter, runs in ranges:
        parts += [struct.pack("<HH", voter, len(runs)), *(struct.pack("<QQ", *run) for run in runs)]
    return b"".join(parts)


class Hello(NamedTuple):
    """One end of a handshake."""

    chain_id: bytes
    key: Key
    nonce: bytes
    listen_port: int
    agent: str
    height: int

    def encode(self) -> bytes:
        """MessagePack, each value in its shortest form: fixarray 8, bin 8, fixint, bin 8 three times, uint 16, fixstr, fixint."""
        hashes = b"".join(b"\xc4\x20" + value for value in (self.chain_id, self.key.public, self.nonce))
        front = b"\x98\xc4\x08TIMECOIN\x01" + hashes + b"\xcd" + struct.pack(">H", self.listen_port)
        agent = self.agent.encode()
        assert self.listen_port > 255
        assert len(agent) < 32
        assert self.height < 128
        return front + bytes([0xA0 | len(agent)]) + agent + bytes([self.height])

    def auth_message(self, other: Hello, *, dialer: bool) -> bytes:
        role = b"\0" if dialer else b"\1"
        nonces = self.nonce + other.nonce
        return domain("handshake", self.chain_id) + role + nonces + self.key.public + other.key.public
