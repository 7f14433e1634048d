"""The vectors through timecoin's own doors: what they say is decoded, verified, and made again from its parts.

The files are made without timecoin (layouts.py), so nothing here compares the code with itself.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import timecoin
from tests.vectors.__main__ import FILES, FOLDER, render
from timecoin import params
from timecoin._core import codec, ed25519, hashing, lthash
from timecoin.consensus.certificates import (
    Phase,
    PhaseCertificate,
    VoteCertificate,
    VoteKind,
    check_commit_signatures,
    check_finality_signatures,
)
from timecoin.consensus.evidence import Evidence
from timecoin.consensus.messages import Message, NewView, PbftMessage, PhaseVote, Proposal, ViewChange, VoteBatch, sign
from timecoin.consensus.quorum import Quorum
from timecoin.errors import CertificateError, DecodeError
from timecoin.keys import Keypair, address, load_keystore, parse_address
from timecoin.ledger.blocks import Block, Header
from timecoin.ledger.coins import coin_element, records_of
from timecoin.ledger.genesis import Genesis
from timecoin.ledger.registry import MasternodeSet
from timecoin.ledger.state import Ledger
from timecoin.ledger.transactions import Output, Transaction, outpoint
from timecoin.light.trust import TrustedSet
from timecoin.node.discovery import decode_addresses, encode_addresses
from timecoin.node.framing import FrameReader, encode_frame
from timecoin.node.handshake import Handshake, Reason, decode_goodbye, encode_goodbye
from timecoin.replica import journal, payloads
from timecoin.replica.misconduct import judge
from timecoin.replica.wire import Kind

unhex = bytes.fromhex


def load(name: str) -> Any:
    return json.loads((FOLDER / name).read_text(encoding="utf-8"))


def joined(hexes: list[str]) -> bytes:
    return unhex("".join(hexes))


def keypairs() -> dict[str, Keypair]:
    """By name."""
    return {entry["name"]: Keypair.from_seed(unhex(entry["seed"])) for entry in load("keys.json")["keys"]}


def genesis() -> Genesis:
    return Genesis.parse("\n".join(load("genesis.json")["document"]) + "\n")


# The files themselves


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_what_the_generator_writes(name: str) -> None:
    assert (FOLDER / name).read_text(encoding="utf-8") == render(name)


def test_there_are_no_other_files() -> None:
    assert {path.name for path in FOLDER.glob("*.json")} == set(FILES)


def test_numbers_are_exact_in_every_json_reader() -> None:
    def numbers(value: Any) -> Iterator[int]:
        if isinstance(value, dict | list):
            for item in value.values() if isinstance(value, dict) else value:
                yield from numbers(item)
        elif value is not None and not isinstance(value, str):
            yield value

    found = [number for name in FILES for number in numbers(load(name))]
    assert found
    assert all(type(number) is int and 0 <= number < 2**53 for number in found)


# Keys


def test_keys_and_addresses() -> None:
    for entry in load("keys.json")["keys"]:
        key = Keypair.from_seed(unhex(entry["seed"]))
        assert key.public.hex() == entry["public_key"]
        assert address(key.public) == entry["address"]
        assert parse_address(entry["address"]) == key.public


def test_accepted_and_refused_addresses() -> None:
    addresses = load("keys.json")["addresses"]
    for case in addresses["accepted"]:
        assert parse_address(case["text"], case["hrp"]) == unhex(case["public_key"])
        assert address(unhex(case["public_key"]), case["hrp"]) == case["text"].lower()
    for case in addresses["refused"]:
        with pytest.raises(ValueError, match="address"):
            parse_address(case["text"])


def test_the_keystore_opens(tmp_path: Path) -> None:
    vector = load("keys.json")["keystore"]
    file = tmp_path / "keystore"
    file.write_bytes(unhex(vector["file"]))
    opened = load_keystore(file, vector["passphrase"].encode())
    assert {name: seed.hex() for name, seed in opened.items()} == vector["seeds"]


# The ledger


def test_the_genesis_document() -> None:
    vector, made = load("genesis.json"), genesis()
    assert made.to_toml().splitlines() == vector["document"]
    assert made.encode().hex() == vector["encoding"]
    assert made.chain_id.hex() == vector["chain_id"]
    for (point, output), coin in zip(made.coins(), vector["coins"], strict=True):
        assert point.hex() == coin["outpoint"]
        assert codec.encode_coin(point, output.parts()).hex() == coin["outpoint"] + coin["output"]
    masternodes = MasternodeSet.decode(unhex(vector["masternode_set"]))
    assert masternodes == made.masternode_set()
    assert masternodes.hash().hex() == vector["masternode_set_hash"]
    assert masternodes.operators == joined(vector["operators_in_canonical_order"])
    assert made.header().hex() == vector["header"]
    assert codec.header_hash(made.header()).hex() == vector["block_hash"]


def output_of(view: dict[str, Any]) -> Output:
    names = unhex(view.get("operator", "")), unhex(view.get("address", "")), view.get("port", 0)
    return Output(view["value"], unhex(view["key"]), view["kind"], *names)


def test_transactions() -> None:
    vectors = load("transactions.json")
    assert vectors["transactions"]
    for vector in vectors["transactions"]:
        check_transaction(vector, unhex(vectors["chain_id"]), keypairs())


def check_transaction(vector: Any, chain_id: bytes, keys: dict[str, Keypair]) -> None:
    encoded = unhex(vector["encoding"])
    outputs = [output_of(view) for view in vector["outputs"]]
    tx = Transaction.decode(encoded)
    assert (tx.kind, tx.height, list(tx.outputs)) == (vector["kind"], vector["height"], outputs)
    assert list(tx.inputs) == [outpoint(unhex(item["txid"]), item["index"]) for item in vector["inputs"]]
    assert [witness.hex() for witness in tx.witnesses] == [item["signature"] for item in vector["inputs"]]
    assert (tx.txid.hex(), tx.wtxid.hex()) == (vector["txid"], vector["wtxid"])
    if tx.is_coinbase:
        made = Transaction.coinbase(tx.height, outputs)
    else:
        signers = [keys[item["signer"]] for item in vector["inputs"]]
        assert tx.signing_message(chain_id).hex() == vector["signing_message"]
        messages = [tx.signing_message(chain_id)] * len(signers)
        assert all(ed25519.verify_many([key.public for key in signers], messages, tx.witnesses))
        made = Transaction.create(tx.inputs, outputs).signed(chain_id, signers)
    assert made.encoded == encoded
    assert timecoin.TransactionBatch.decode(encoded).txids == tx.txid


def test_coins_and_their_commitment() -> None:
    vectors = load("coins.json")
    both = lthash.LtHash()
    assert both.digest().hex() == vectors["digest_of_no_coin"]
    for vector in vectors["coins"]:
        point, output = unhex(vector["outpoint"]), output_of(vector["output"])
        encoding = unhex(vector["encoding"])
        assert codec.encode_coin(point, output.parts()) == encoding
        assert codec.decode_coin(encoding) == (point, output.parts())
        ((_, record),) = records_of([(point, output)], vector["height"])
        element = coin_element(point, record)
        assert element.hex() == vector["element"]
        lanes = lthash.blake3(element, 2 * params.LTHASH_LANES)
        assert lanes[:32].hex() == vector["lanes_begin_with"]
        assert hashing.sha256(lanes).hex() == vector["lanes_sha256"]
        alone = timecoin.LtHash()
        alone.add([element])
        assert alone.state() == lanes
        assert alone.digest().hex() == vector["digest_of_this_coin_alone"]
        both.combine(alone)
        alone.remove([element])
        alone.add([coin_element(*coin) for coin in records_of([(point, output)], 2)])
        assert alone.digest().hex() == vector["digest_at_height_2"] != vector["digest_of_this_coin_alone"]
    assert both.digest().hex() == vectors["digest_of_both"]


def test_merkle_trees() -> None:
    vectors = load("merkle.json")
    for tree in vectors["trees"]:
        count, root = tree["count"], unhex(tree["root"])
        leaves = joined(vectors["leaves"][:count])
        assert timecoin.merkle_root(leaves) == root
        for index, siblings in enumerate(tree["branches"]):
            leaf, branch = leaves[32 * index : 32 * index + 32], joined(siblings)
            assert hashing.merkle_branch(leaves, index) == branch
            assert hashing.merkle_check(root, leaf, index, count, branch)
            assert not hashing.merkle_check(root, leaf, index, count + 1, branch)


def test_the_block_follows_genesis() -> None:
    vector, ledger = load("blocks.json"), Ledger(genesis())
    data = unhex(vector["block"])
    fields: list[Any] = [value if type(value) is int else unhex(value) for value in vector["header_fields"].values()]
    assert codec.encode_header(*fields).hex() == vector["header"]
    assert list(codec.decode_header(unhex(vector["header"]))) == fields
    block = Block.decode(data)
    assert block.header == Header.decode(data[: params.HEADER_BYTES])
    assert block.header.hash().hex() == block.hash.hex() == vector["block_hash"]
    assert [tx.wtxid.hex() for tx in block.transactions] == vector["wtxids"]
    for index, siblings in enumerate(vector["branches"]):
        assert block.branch(index) == joined(siblings)
    built = ledger.build_block(block.transactions[1:], proposer=block.header.proposer, time_ms=block.header.time_ms)
    assert built == data
    check = ledger.check_block(data)
    check.complete(timecoin.verify_batch(*check.signatures.rows()))
    assert ledger.apply(check).hash == block.hash
    assert ledger.commitment().hex() == vector["header_fields"]["utxo_commitment"]


# Consensus


def signer_of(operators: list[str], voter: int) -> Keypair:
    return next(key for key in keypairs().values() if key.public.hex() == operators[voter])


def check_signed(message: Message, vectors: Any, vector: Any) -> None:
    """Signed bytes and signatures of a message of the vectors' network."""
    chain_id = unhex(vectors["chain_id"])
    message.inspect(Quorum.of(len(vectors["operators"])))
    assert message.voter == vector["voter"]
    assert message.signed_bytes(chain_id).hex() == vector["signing_message"]
    for check in message.checks(chain_id):
        assert timecoin.verify(unhex(vectors["operators"][check.voter]), check.message, check.signature)
    signer = signer_of(vectors["operators"], message.voter)
    assert sign(message, signer.sign(message.signed_bytes(chain_id))) == message


def test_vote_batches() -> None:
    vectors = load("votes.json")
    assert vectors["batches"]
    for vector in vectors["batches"]:
        batch = VoteBatch.decode(unhex(vector["encoding"]))
        assert batch.encode().hex() == vector["encoding"]
        numbers = {name: vector[name] for name in ("epoch", "voter", "sequence", "decided")}
        sealed = VoteBatch.seal(**numbers, locks=joined(vector["locks"]), acks=joined(vector["acks"]))
        assert sign(sealed, unhex(vector["signature"])) == batch
        assert journal.batch_key(batch).hex() == vector["store_key"]
        check_signed(batch, vectors, vector)


def block() -> bytes:
    return unhex(load("blocks.json")["block"])


def pbft_messages(vectors: Any) -> Iterator[tuple[Any, PbftMessage]]:
    """Each vector and what it decodes to."""
    for phase in Phase:
        for vector in vectors[phase.name.lower()]:
            yield vector, PhaseVote.decode(phase, unhex(vector["encoding"]))
    for vector in vectors["view_change"]:
        yield vector, ViewChange.decode(unhex(vector["encoding"]))
    for name, kind in (("pre_prepare", Proposal), ("new_view", NewView)):
        yield vectors[name], kind.decode(unhex(vectors[name]["encoding_before_the_block"]) + block())


def test_pbft_messages() -> None:
    vectors = load("pbft.json")
    for vector, message in pbft_messages(vectors):
        slot = (message.epoch, message.height, message.view)
        assert slot == (vectors["epoch"], vectors["height"], vector["view"])
        assert journal.vote_key(message).hex() == vector["store_key"]
        check_signed(message, vectors, vector)
        if isinstance(message, Proposal | NewView):
            assert (message.digest.hex(), message.block) == (vectors["block_hash"], block())
            assert message.encode().hex() == vector["encoding_before_the_block"] + block().hex()
        else:
            assert message.encode().hex() == vector["encoding"]
        if isinstance(message, ViewChange):
            assert (message.prepared and message.prepared.view) == vector["prepared_view"]


def test_the_prepared_certificate() -> None:
    vectors = load("pbft.json")
    vector = vectors["prepared_certificate"]
    certificate = PhaseCertificate.decode(unhex(vector["encoding"]))
    assert certificate.encode().hex() == vector["encoding"]
    assert (certificate.phase, certificate.digest.hex()) == (Phase.PREPARE, vectors["block_hash"])
    assert journal.prepared_key(certificate).hex() == vector["store_key"]
    prepares = {item["voter"]: item["encoding"][-128:] for item in vectors["prepare"]}
    assert {voter: signature.hex() for voter, signature in certificate.votes} == prepares
    with pytest.raises(CertificateError, match="not a commit certificate"):
        check_commit_signatures(certificate, **network(vectors))


@pytest.mark.parametrize(("file", "offence"), [("votes.json", "batches"), ("votes.json", "locks"), ("pbft.json", "prepare")])
def test_evidence(file: str, offence: str) -> None:
    vectors = load(file)
    vector = vectors["evidence"][offence]
    evidence = Evidence.decode(unhex(vector["encoding"]))
    assert evidence.encode().hex() == vector["encoding"]
    finding = evidence.verify(unhex(vectors["chain_id"]))
    assert finding.operator.hex() == vectors["operators"][vector["voter"]]
    assert finding.offence.name.lower() == offence
    assert (finding.epoch, finding.decided, [point.hex() for point in finding.unspent]) == (
        vector["epoch"],
        vector["decided"],
        vector["unspent"],
    )
    with pytest.raises(CertificateError, match=r"agree|after the other"):
        replace(evidence, second=evidence.first).verify(unhex(vectors["chain_id"]))


def test_a_block_with_evidence_convicts() -> None:
    vector, ledger = load("blocks.json")["with_evidence"], Ledger(genesis())
    data = unhex(vector["block"])
    block = Block.decode(data)
    assert block.hash.hex() == vector["block_hash"]
    assert [item.hex() for item in block.evidence] == vector["evidence"]
    leaves = joined(vector["leaves"])
    assert codec.body_leaves(block.batch.wtxids, block.evidence) == leaves
    assert hashing.merkle_root(leaves) == block.header.tx_root
    assert (block.leaves, block.branch(0)) == (len(leaves) // 32, hashing.merkle_branch(leaves, 0))
    reader = partial(judge, chain_id=ledger.chain_id)
    check = ledger.check_block(data, judge=reader)
    assert ledger.build_block((), proposer=1, time_ms=block.header.time_ms, evidence=block.evidence, judge=reader) == data
    check.complete(timecoin.verify_batch(*check.signatures.rows()))
    ledger.apply(check)
    assert ledger.masternodes.encode().hex() == vector["next_masternode_set"]
    assert ledger.masternodes.convicted == {ledger.masternodes[place].operator for place in vector["convicted"]}


# Certificates


def network(vectors: Any) -> dict[str, Any]:
    return {
        "chain_id": unhex(vectors["chain_id"]),
        "epoch": vectors["epoch"],
        "operators": [unhex(operator) for operator in vectors["operators"]],
    }


def verify_commit(data: bytes, **network: Any) -> PhaseCertificate:
    certificate = PhaseCertificate.decode(data)
    check_commit_signatures(certificate, **network)
    return certificate


def verify_finality(data: bytes, **network: Any) -> VoteCertificate:
    certificate = VoteCertificate.decode(data)
    check_finality_signatures(certificate, **network)
    return certificate


VERIFIERS: dict[str, Callable[..., Any]] = {"commit": verify_commit, "finality": verify_finality}


def test_the_commit_certificate_commits_the_block() -> None:
    vectors = load("certificates.json")
    vector = vectors["commit"]
    data, header = unhex(vector["encoding"]), Header.decode(unhex(vector["header"]))
    certificate = verify_commit(data, **network(vectors))
    assert certificate.encode() == data
    assert certificate.phase is Phase.COMMIT
    assert [voter for voter, _ in certificate.votes] == vector["voters"]
    assert (certificate.epoch, certificate.height, certificate.digest) == (header.epoch, header.height, header.hash())
    assert genesis().masternode_set().operators == joined(vectors["operators"])
    assert Header.decode(genesis().header()).next_set == genesis().masternode_set().hash()


def test_the_finality_certificate_makes_the_payment_final() -> None:
    vectors = load("certificates.json")
    vector = vectors["finality"]
    data = unhex(vector["encoding"])
    certificate = verify_finality(data, **network(vectors))
    assert certificate.encode() == data
    assert certificate.kind is VoteKind.ACK
    assert certificate.txid.hex() == vector["txid"] == load("transactions.json")["transactions"][0]["txid"]
    assert [proof.header.voter for proof in certificate.proofs] == vector["voters"]
    batches = [VoteBatch.decode(unhex(batch["encoding"])) for batch in load("votes.json")["batches"][4:]]
    assert list(certificate.proofs) == [batches[voter].proof(VoteKind.ACK, certificate.txid) for voter in vector["voters"]]
    assert [len(proof.branch) // 32 for proof in certificate.proofs] == [0, 1, 2]


def test_certified_is_not_final() -> None:
    vectors = load("certificates.json")
    vector = vectors["certified_only"]
    certificate = VoteCertificate.decode(unhex(vector["encoding"]))
    assert certificate.encode().hex() == vector["encoding"]
    assert journal.proof_key(certificate).hex() == vector["store_key"]
    known = network(vectors)
    certificate.check_votes(known["epoch"], Quorum.of(4))
    for check in certificate.signatures(known["chain_id"]):
        assert timecoin.verify(known["operators"][check.voter], check.message, check.signature)
    with pytest.raises(CertificateError, match="LOCK votes"):
        check_finality_signatures(certificate, **known)


@pytest.mark.parametrize("name", VERIFIERS)
def test_a_certificate_with_any_bit_changed_proves_nothing(name: str) -> None:
    vectors = load("certificates.json")
    known, data, verify = network(vectors), bytearray(unhex(vectors[name]["encoding"])), VERIFIERS[name]
    for bit in range(8 * len(data)):
        data[bit // 8] ^= 1 << bit % 8
        with pytest.raises((DecodeError, CertificateError)):
            verify(bytes(data), **known)
        data[bit // 8] ^= 1 << bit % 8
    verify(bytes(data), **known)


@pytest.mark.parametrize("name", VERIFIERS)
def test_a_certificate_is_of_one_network_epoch_and_set(name: str) -> None:
    vectors = load("certificates.json")
    known, data, verify = network(vectors), unhex(vectors[name]["encoding"]), VERIFIERS[name]
    operators = known["operators"]
    for wrong in (
        {"chain_id": bytes(32)},
        {"epoch": 1},
        {"operators": operators[::-1]},
        {"operators": operators[:3]},
        {"operators": [*operators, bytes(32)]},  # of five voters, four are a quorum
    ):
        with pytest.raises(CertificateError):
            verify(data, **known | wrong)
    for changed in (data[:-1], data + b"\0", b""):
        with pytest.raises(DecodeError):
            verify(changed, **known)


# Light proofs


def trusted_sets() -> list[TrustedSet]:
    return [TrustedSet.decode(unhex(vector["encoding"])) for vector in load("light.json")["trusted"]]


def test_trusted_sets() -> None:
    vectors, sets = load("light.json"), trusted_sets()
    assert sets[0] == TrustedSet.of_genesis(genesis())
    for vector, trusted in zip(vectors["trusted"], sets, strict=True):
        assert trusted.encode().hex() == vector["encoding"]
        assert (trusted.epoch, trusted.height, trusted.chain_id.hex()) == (vector["epoch"], vector["height"], vectors["chain_id"])
    vector = vectors["epochs"]
    assert timecoin.verify_epochs(unhex(vector["encoding"]), trusted=sets[vector["from_epoch"]]) == sets[vector["to_epoch"]]


def test_light_proofs() -> None:
    vectors, sets = load("light.json"), trusted_sets()
    assert len(vectors["commit"]) == 3
    for vector in vectors["commit"]:
        found = timecoin.verify_commit(unhex(vector["encoding"]), trusted=sets[vector["from_epoch"]])
        assert (found.txid.hex(), list(found.voters)) == (vector["txid"], vector["voters"])
        assert found.header.encode().hex() == vector["header"]
        assert found.trusted == sets[found.epoch]
    assert len(vectors["finality"]) == 2
    for vector in vectors["finality"]:
        final = timecoin.verify_finality(unhex(vector["encoding"]), trusted=sets[vector["from_epoch"]])
        assert (final.txid.hex(), final.epoch, list(final.voters)) == (vector["txid"], vector["epoch"], vector["voters"])
        assert final.trusted == sets[final.epoch]


# The wire


PAYLOADS: dict[str, Callable[[bytes], bytes]] = {
    "STATUS": lambda data: payloads.encode_status(*payloads.decode_status(data)),
    "GET_BLOCKS": lambda data: payloads.encode_get_blocks(*payloads.decode_get_blocks(data)),
    "BLOCKS": lambda data: payloads.encode_blocks(payloads.decode_blocks(data)),
    "GET_TRANSACTIONS": lambda data: payloads.encode_ids(payloads.decode_ids(data)),
    "HAVE_VOTES": lambda data: payloads.encode_ranges(*payloads.decode_ranges(data)),
    "GET_BODY": bytes,
    "PING": bytes,
    "GET_PEERS": bytes,
    "PEERS": lambda data: encode_addresses(decode_addresses(data)),
    "GOODBYE": lambda data: encode_goodbye(decode_goodbye(data)),
}


def test_payloads_and_frames() -> None:
    vectors = load("wire.json")
    for vector in (*vectors["payloads"], vectors["blocks"]):
        kind, payload = Kind[vector["kind"]], unhex(vector["payload"])
        assert kind == vector["number"]
        assert PAYLOADS[kind.name](payload) == payload
    for vector in vectors["payloads"]:
        frame = unhex(vector["frame"])
        assert encode_frame(Kind[vector["kind"]], unhex(vector["payload"])) == frame
        reader = FrameReader(set(Kind))
        reader.get_buffer()[: len(frame)] = frame
        reader.buffer_updated(len(frame))
        assert reader.next_frame() == (Kind[vector["kind"]], False, unhex(vector["payload"]))


def test_what_the_payloads_say() -> None:
    vectors = load("wire.json")
    said = {vector["kind"]: unhex(vector["payload"]) for vector in (*vectors["payloads"], vectors["blocks"])}
    pbft, txs = load("pbft.json"), load("transactions.json")["transactions"]
    assert payloads.decode_status(said["STATUS"]) == (1, unhex(pbft["block_hash"]))
    assert payloads.decode_get_blocks(said["GET_BLOCKS"]) == (1, 64)
    assert payloads.decode_blocks(said["BLOCKS"]) == [(block(), unhex(load("certificates.json")["commit"]["encoding"]))]
    assert payloads.decode_ids(said["GET_TRANSACTIONS"]) == [unhex(txs[0]["txid"]), unhex(txs[2]["txid"])]
    assert payloads.decode_ranges(said["HAVE_VOTES"]) == (0, [(0, ((1, 2),)), (3, ((1, 1), (5, 9)))])
    assert decode_addresses(said["PEERS"]) == [("203.0.113.1", 24_333)]
    assert decode_goodbye(said["GOODBYE"]) is Reason.SHUTDOWN
    assert said["PING"] == struct.pack("<Q", 7)


def test_the_handshake() -> None:
    vectors, keys, chain_id = load("wire.json")["handshake"], keypairs(), genesis().chain_id
    for role, other in (("dialer", "listener"), ("listener", "dialer")):
        own, theirs = vectors[role], vectors[other]
        fields = {name: own[name] for name in ("listen_port", "agent", "height")}
        key = keys[own["key"]]
        end = Handshake(key, chain_id, dialer=role == "dialer", nonce=unhex(own["nonce"]), **fields)
        assert end.hello().hex() == own["hello"]
        assert end.receive(Kind.HELLO, unhex(theirs["hello"])) == [(Kind.AUTH, unhex(own["auth"]))]
        assert timecoin.verify(key.public, unhex(own["signing_message"]), unhex(own["auth"]))
        end.receive(Kind.AUTH, unhex(theirs["auth"]))
        assert end.done
