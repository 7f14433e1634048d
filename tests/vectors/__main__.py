"""Makes the test vectors: `python -m tests.vectors` writes the JSON files of this folder anew.

Bytes are lower-case hex, integers are JSON numbers below 2**53. What each field means stands in docs/formats.md.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.core.twins import merkle_branch, merkle_root, sha256, tagged
from tests.vectors import network as net
from tests.vectors.layouts import (
    Batch,
    Hello,
    Key,
    Output,
    Transaction,
    bech32m,
    block_hash,
    coin_element,
    commitment,
    frame,
    keystore,
    lanes,
    light_acks,
    light_block,
    light_head,
    light_leaf,
    light_step,
    outpoint,
    trusted_set,
    vote_certificate,
    vote_ranges,
)

FOLDER = Path(__file__).parent
View = dict[str, object]

PREPARE, COMMIT = 0, 1
LOCK, ACK = 0, 1


def keys_file() -> View:
    seeds = {"operator": net.VOTERS[0].seed, "m/44'/1'/0'": net.ALICE.seed}
    sealed = keystore(seeds, b"passphrase", passes=1, memory=8192, salt=bytes(range(16)), nonce=bytes(range(24)))
    return {
        "keys": [
            {"name": key.name, "seed": key.seed.hex(), "public_key": key.public.hex(), "address": key.address} for key in net.KEYS
        ],
        "addresses": {"accepted": accepted_addresses(net.ALICE), "refused": refused_addresses(net.ALICE)},
        "keystore": {
            "passphrase": "passphrase",
            "seeds": {name: seed.hex() for name, seed in seeds.items()},
            "file": sealed.hex(),
        },
    }


def accepted_addresses(key: Key) -> list[View]:
    other = bech32m("test", b"\0" + key.public)
    texts = (("time", key.address), ("time", key.address.upper()), ("test", other))
    return [{"hrp": hrp, "text": text, "public_key": key.public.hex()} for hrp, text in texts]


def refused_addresses(key: Key) -> list[View]:
    text = key.address
    swapped = text[:10] + text[11] + text[10] + text[12:]
    cases = {
        "bech32 instead of bech32m": bech32m("time", b"\0" + key.public, 1),
        "two characters exchanged": swapped,
        "capitals and small letters": text[:-1] + text[-1].upper() if text[-1].isalpha() else text.capitalize(),
        "another network's human-readable part": bech32m("test", b"\0" + key.public),
        "version 1": bech32m("time", b"\1" + key.public),
        "a key of 31 bytes": bech32m("time", b"\0" + key.public[:31]),
        "no separator": text.replace("1", "", 1),
        "cut short": text[:-1],
        "empty": "",
    }
    assert swapped != text
    return [{"why": why, "text": case} for why, case in cases.items()]


def genesis_file() -> View:
    return {
        "document": net.genesis_document().splitlines(),
        "encoding": net.GENESIS_ENCODING.hex(),
        "chain_id": net.CHAIN_ID.hex(),
        "coins": [{"outpoint": point.hex(), "output": output.encode().hex()} for point, output in net.GENESIS_COINS.items()],
        "masternode_set": net.MASTERNODE_SET.hex(),
        "masternode_set_hash": tagged(b"timecoin/masternode-set", net.MASTERNODE_SET).hex(),
        "operators_in_canonical_order": [key.public.hex() for key in net.VOTERS],
        "header": net.GENESIS_HEADER.hex(),
        "block_hash": block_hash(net.GENESIS_HEADER).hex(),
    }


def transaction_view(name: str, tx: Transaction) -> View:
    inputs = [
        {"txid": point[:32].hex(), "index": struct.unpack("<I", point[32:])[0], "signer": key.name, "signature": witness.hex()}
        for point, key, witness in zip(tx.inputs, tx.signers, tx.witnesses, strict=True)
    ]
    view: View = {"name": name, "kind": tx.kind, "height": tx.height, "inputs": inputs}
    view["outputs"] = [output_view(output) for output in tx.outputs]
    view["encoding"] = tx.encoded.hex()
    view["txid"] = tx.txid.hex()
    view["wtxid"] = tx.wtxid.hex()
    return view | ({"signing_message": tx.message.hex()} if tx.inputs else {})


def output_view(output: Output) -> View:
    view: View = {"kind": output.kind, "value": output.value, "key": output.key.hex()}
    if output.operator:
        view |= {"operator": output.operator.hex(), "address": output.address.hex(), "port": output.port}
    return view


def transactions_file() -> View:
    named = {
        "a payment with change": net.PAYMENT,
        "two inputs with an owner each": net.JOINT_PAYMENT,
        "the registration of a masternode": net.REGISTRATION,
        "a coinbase": net.COINBASE,
    }
    return {
        "chain_id": net.CHAIN_ID.hex(),
        "transactions": [transaction_view(name, tx) for name, tx in named.items()],
    }


def coins_file() -> View:
    coins = net.PAYMENT.coins() | net.REGISTRATION.coins()
    chosen = [outpoint(net.PAYMENT.txid, 0), outpoint(net.REGISTRATION.txid, 0)]
    views = []
    for point in chosen:
        element = coin_element(point, coins[point], 1)
        views.append(
            {
                "outpoint": point.hex(),
                "output": output_view(coins[point]),
                "encoding": (point + coins[point].encode()).hex(),
                "height": 1,
                "element": element.hex(),
                "lanes_begin_with": lanes(element)[:32].hex(),
                "lanes_sha256": sha256(lanes(element)).hex(),
                "digest_of_this_coin_alone": commitment([element]).hex(),
                "digest_at_height_2": commitment([coin_element(point, coins[point], 2)]).hex(),
            }
        )
    both = [coin_element(point, coins[point], 1) for point in chosen]
    return {"coins": views, "digest_of_no_coin": commitment([]).hex(), "digest_of_both": commitment(both).hex()}


def merkle_file() -> View:
    leaves = [sha256(b"leaf %d" % number) for number in range(5)]
    return {
        "leaves": [leaf.hex() for leaf in leaves],
        "trees": [
            {
                "count": count,
                "root": merkle_root(leaves[:count]).hex(),
                "branches": [split(merkle_branch(leaves[:count], index)) for index in range(count)],
            }
            for count in range(len(leaves) + 1)
        ],
    }


def split(column: bytes) -> list[str]:
    return [column[at : at + 32].hex() for at in range(0, len(column), 32)]


def blocks_file() -> View:
    wtxids = [tx.wtxid for tx in net.BODY]
    return {
        "header_fields": {
            "version": 1,
            "closes_epoch": 0,
            "proposer": net.LEADER,
            "height": 1,
            "epoch": 0,
            "time_ms": net.NUMBERS["time_ms"] + 1_000,
            "parent": block_hash(net.GENESIS_HEADER).hex(),
            "tx_root": merkle_root(wtxids).hex(),
            "utxo_commitment": net.HEADER[92:124].hex(),
            "next_set_hash": tagged(b"timecoin/masternode-set", net.MASTERNODE_SET).hex(),
        },
        "header": net.HEADER.hex(),
        "block_hash": net.DIGEST.hex(),
        "block": net.BLOCK.hex(),
        "wtxids": [wtxid.hex() for wtxid in wtxids],
        "branches": [split(merkle_branch(wtxids, index)) for index in range(len(wtxids))],
        "with_evidence": {
            "block_hash": block_hash(net.CONVICTING_HEADER).hex(),
            "block": net.CONVICTING_BLOCK.hex(),
            "evidence": [proof.hex() for proof in net.PROOFS],
            "leaves": [leaf.hex() for leaf in leaves_with_evidence()],
            "convicted": [net.DOUBLE_LOCKER, net.LIAR],
            "next_masternode_set": net.MARKED_SET.hex(),
        },
    }


def leaves_with_evidence() -> list[bytes]:
    return [tx.wtxid for tx in net.ALONE] + [tagged(b"timecoin/evidence", proof) for proof in net.PROOFS]


def evidence_view(proof: bytes, voter: int, **finding: object) -> View:
    """`finding`: what it rests on."""
    return {"voter": voter, "epoch": 0, "decided": 0, "unspent": []} | finding | {"encoding": proof.hex()}


def batch_view(batch: Batch) -> View:
    return {
        "epoch": batch.epoch,
        "voter": batch.voter,
        "sequence": batch.sequence,
        "decided": batch.decided,
        "locks": [txid.hex() for txid in batch.locks],
        "acks": [txid.hex() for txid in batch.acks],
        "signing_message": batch.message.hex(),
        "signature": batch.signature.hex(),
        "encoding": batch.encode().hex(),
        "store_key": batch.store_key().hex(),
    }


def votes_file() -> View:
    return {
        "chain_id": net.CHAIN_ID.hex(),
        "operators": [key.public.hex() for key in net.VOTERS],
        "batches": [batch_view(batch) for batch in (*net.LOCK_BATCHES, *net.ACK_BATCHES)],
        "evidence": {
            "batches": evidence_view(net.BATCH_EVIDENCE, net.LIAR),
            "locks": evidence_view(net.LOCK_EVIDENCE, net.DOUBLE_LOCKER, unspent=[net.EARLIER.inputs[1].hex()]),
        },
    }


def pbft_file() -> View:
    ballot, digest, leader = net.BALLOT, net.DIGEST, net.LEADER
    prepared = ballot.phase_certificate(PREPARE, 0, digest, [1, 2, 3])
    claim = (0, digest, prepared)
    changes = [ballot.view_change(1, 0, None), ballot.view_change(1, 2, claim), ballot.view_change(1, 3, claim)]
    return {
        "chain_id": net.CHAIN_ID.hex(),
        "operators": [key.public.hex() for key in net.VOTERS],
        "epoch": ballot.epoch,
        "height": ballot.height,
        "block_hash": digest.hex(),
        "pre_prepare": {
            "view": 0,
            "voter": leader,
            "signing_message": ballot.pre_prepare_message(leader, digest).hex(),
            "encoding_before_the_block": ballot.pre_prepare(leader, digest).hex(),
            "store_key": store_key(0, 0),
        },
        "prepare": [phase_view(PREPARE, voter) for voter in (1, 2, 3)],
        "commit": [phase_view(COMMIT, voter) for voter in (0, 2, 3)],
        "prepared_certificate": {"voters": [1, 2, 3], "encoding": prepared.hex(), "store_key": store_key(0)},
        "view_change": [
            {
                "view": 1,
                "voter": voter,
                "prepared_view": None if held is None else held[0],
                "signing_message": ballot.view_change_message(1, voter, held and held[:2]).hex(),
                "encoding": change.hex(),
                "store_key": store_key(1, 3),
            }
            for voter, held, change in zip((0, 2, 3), (None, claim, claim), changes, strict=True)
        ],
        "new_view": {
            "view": 1,
            "voter": 2,
            "signing_message": ballot.new_view_message(1, 2, changes, digest).hex(),
            "encoding_before_the_block": ballot.new_view(1, 2, changes, digest).hex(),
            "store_key": store_key(1, 4),
        },
        "evidence": {"prepare": evidence_view(net.PREPARE_EVIDENCE, net.LIAR)},
    }


def phase_view(phase: int, voter: int) -> View:
    return {
        "view": 0,
        "voter": voter,
        "signing_message": net.BALLOT.phase_message(phase, 0, net.DIGEST).hex(),
        "encoding": net.BALLOT.phase_vote(phase, 0, voter, net.DIGEST).hex(),
        "store_key": store_key(0, 1 + phase),
    }


def store_key(view: int, code: int | None = None) -> str:
    """Of the table votes, or without a code of the table prepared."""
    return (struct.pack(">QI", net.BALLOT.height, view) + (b"" if code is None else bytes([code]))).hex()


def certificates_file() -> View:
    ballot, txid = net.BALLOT, net.PAYMENT.txid
    certified = vote_certificate(LOCK, txid, net.LOCK_BATCHES[:3])
    final = vote_certificate(ACK, txid, [net.ACK_BATCHES[voter] for voter in (0, 2, 3)])
    return {
        "chain_id": net.CHAIN_ID.hex(),
        "operators": [key.public.hex() for key in net.VOTERS],
        "epoch": 0,
        "commit": {
            "header": net.HEADER.hex(),
            "voters": [0, 2, 3],
            "encoding": ballot.phase_certificate(COMMIT, 0, net.DIGEST, [0, 2, 3]).hex(),
        },
        "finality": {"txid": txid.hex(), "voters": [0, 2, 3], "encoding": final.hex()},
        "certified_only": {
            "txid": txid.hex(),
            "voters": [0, 1, 2],
            "encoding": certified.hex(),
            "store_key": (bytes([LOCK]) + txid).hex(),
        },
    }


def light_file() -> View:
    closing = light_block(net.CLOSING_BALLOT, net.CLOSING_HEADER, 1, [0, 1, 3])
    step = light_step(closing, net.NEXT_SET)
    late = light_block(net.LATE_BALLOT, net.LATE_HEADER, 0, [0, 2, 3, 4])
    leaf = light_leaf(net.LATE_BODY, 2, net.LATE_PAYMENT.encoded)
    acks = light_acks(net.LATE_PAYMENT.txid, net.LATE_ACKS, len(net.NEXT_VOTERS))
    first = light_leaf([tx.wtxid for tx in net.BODY], 1, net.PAYMENT.encoded)
    return {
        "chain_id": net.CHAIN_ID.hex(),
        "trusted": [
            {"epoch": 0, "height": 0, "encoding": trusted_set(net.CHAIN_ID, 0, 0, net.MASTERNODE_SET).hex()},
            {"epoch": 1, "height": 2, "encoding": trusted_set(net.CHAIN_ID, 1, 2, net.NEXT_SET).hex()},
        ],
        "epochs": {"from_epoch": 0, "to_epoch": 1, "encoding": (light_head(1, 0, 1) + step).hex()},
        "commit": [
            {
                "from_epoch": 0,
                "header": net.HEADER.hex(),
                "txid": net.PAYMENT.txid.hex(),
                "voters": [0, 2, 3],
                "encoding": (light_head(2, 0, 0) + light_block(net.BALLOT, net.HEADER, 0, [0, 2, 3]) + first).hex(),
            },
            *(
                {
                    "from_epoch": epoch,
                    "header": net.LATE_HEADER.hex(),
                    "txid": net.LATE_PAYMENT.txid.hex(),
                    "voters": [0, 2, 3, 4],
                    "encoding": (light_head(2, epoch, 1 - epoch) + before + late + leaf).hex(),
                }
                for epoch, before in ((0, step), (1, b""))
            ),
        ],
        "finality": [
            {
                "from_epoch": epoch,
                "epoch": 1,
                "txid": net.LATE_PAYMENT.txid.hex(),
                "voters": [0, 1, 3, 4],
                "encoding": (light_head(3, epoch, 1 - epoch) + before + acks).hex(),
            }
            for epoch, before in ((0, step), (1, b""))
        ],
    }


def wire_file() -> View:
    dials = Hello(net.CHAIN_ID, net.DIALER, bytes([0x41]) * 32, 24_333, "vectors/1", 5)
    listens = Hello(net.CHAIN_ID, net.LISTENER, bytes([0x42]) * 32, 24_334, "", 0)
    certificate = net.BALLOT.phase_certificate(COMMIT, 0, net.DIGEST, [0, 2, 3])
    page = b"".join(struct.pack("<I", len(part)) + part for part in (net.BLOCK, certificate))
    payloads = {
        "STATUS": (9, struct.pack("<Q", 1) + net.DIGEST),
        "GET_BLOCKS": (10, struct.pack("<QH", 1, 64)),
        "GET_TRANSACTIONS": (12, net.PAYMENT.txid + net.REGISTRATION.txid),
        "HAVE_VOTES": (13, vote_ranges(0, [(0, [(1, 2)]), (3, [(1, 1), (5, 9)])])),
        "GET_BODY": (15, net.DIGEST),
        "PING": (34, struct.pack("<Q", 7)),
        "GET_PEERS": (36, b""),
        "PEERS": (37, bytes(10) + b"\xff\xff\xcb\x00\x71\x01" + struct.pack(">H", net.PORT)),
        "GOODBYE": (38, b"shutdown"),
    }
    return {
        "payloads": [
            {"kind": kind, "number": number, "payload": payload.hex(), "frame": frame(number, payload).hex()}
            for kind, (number, payload) in payloads.items()
        ],
        "blocks": {"kind": "BLOCKS", "number": 11, "payload": (struct.pack("<H", 1) + page).hex()},
        "handshake": {
            "dialer": hello_view(dials, listens, dialer=True),
            "listener": hello_view(listens, dials, dialer=False),
        },
    }


def hello_view(own: Hello, other: Hello, *, dialer: bool) -> View:
    message = own.auth_message(other, dialer=dialer)
    return {
        "key": own.key.name,
        "nonce": own.nonce.hex(),
        "listen_port": own.listen_port,
        "agent": own.agent,
        "height": own.height,
        "hello": own.encode().hex(),
        "signing_message": message.hex(),
        "auth": own.key.sign(message).hex(),
    }


FILES: Mapping[str, Callable[[], View]] = {
    "keys.json": keys_file,
    "genesis.json": genesis_file,
    "transactions.json": transactions_file,
    "coins.json": coins_file,
    "merkle.json": merkle_file,
    "blocks.json": blocks_file,
    "votes.json": votes_file,
    "pbft.json": pbft_file,
    "certificates.json": certificates_file,
    "light.json": light_file,
    "wire.json": wire_file,
}


def render(name: str) -> str:
    """The text of one file."""
    return json.dumps(FILES[name](), indent=2) + "\n"


def main(names: Sequence[str] = tuple(FILES)) -> None:
    for name in names:
        (FOLDER / name).write_text(render(name), encoding="utf-8")
        print(f"wrote {name}")


if __name__ == "__main__":
    main()
