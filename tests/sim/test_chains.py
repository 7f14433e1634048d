"""Made chains: valid by every rule, varied enough to be worth replaying, and the same from the same seed."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from timecoin import params
from timecoin._core import ed25519
from timecoin.consensus.certificates import PhaseCertificate, check_commit_signatures
from timecoin.ledger.blocks import Block
from timecoin.ledger.genesis import Genesis
from timecoin.ledger.state import Ledger
from timecoin.sim.chains import MAX_MASTERNODES, MAX_PER_BLOCK, ChainMaker

ROOT = Path(__file__).resolve().parents[2]
DIGEST = """
import hashlib
from timecoin.sim.chains import ChainMaker
digest = hashlib.sha256()
for made in ChainMaker(7, per_block=30).blocks(200):
    digest.update(made.block + made.certificate)
print(digest.hexdigest())
"""


def digest_of(seed: int) -> str:
    digest = hashlib.sha256()
    for made in ChainMaker(seed, per_block=30).blocks(200):
        digest.update(made.block + made.certificate)
    return digest.hexdigest()


def test_a_seed_is_a_chain() -> None:
    assert digest_of(7) != digest_of(8)
    environment = os.environ | {"PYTHONHASHSEED": "5"}
    done = subprocess.run([sys.executable, "-c", DIGEST], cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == digest_of(7)


def test_every_rule_is_obeyed() -> None:
    """Replayed by the plainest code: each block and certificate verified by itself."""
    maker = ChainMaker(1, per_block=40, epoch_length=3)
    ledger = Ledger(Genesis.parse(maker.genesis.to_toml()))
    transfers = 0
    for made in maker.blocks(900):
        operators = [member.operator for member in ledger.masternodes]
        certificate = PhaseCertificate.decode(made.certificate)
        check_commit_signatures(certificate, chain_id=ledger.chain_id, epoch=ledger.epoch, operators=operators)
        check = ledger.check_block(made.block)
        assert (certificate.height, certificate.digest) == (made.height, check.block.hash)
        check.complete(ed25519.verify_many(*check.signatures.rows()))
        ledger.apply(check)
        transfers += made.transfers
        assert made.transfers <= 40
    assert (transfers, ledger.tip) == (900, maker.ledger.tip)
    assert ledger.epoch > 4


def test_there_is_something_to_replay() -> None:
    maker = ChainMaker(2, masternodes=3, per_block=60, epoch_length=3)
    inputs: set[int] = set()
    sets: set[int] = set()
    views: set[int] = set()
    coins: list[int] = []
    chained = 0
    for made in maker.blocks(2_000):
        views.add(PhaseCertificate.decode(made.certificate).view)
        body = Block.decode(made.block).transactions
        inside = {tx.txid for tx in body}
        inputs |= {len(tx.inputs) for tx in body}
        chained += sum(point[:32] in inside for tx in body for point in tx.inputs)
        sets.add(len(maker.ledger.masternodes))
        coins.append(len(maker.ledger.coins))
    assert inputs == {0, 1, 2}
    assert len(Genesis.parse(maker.genesis.to_toml()).allocations) == 1
    assert chained > 50
    assert len(sets) > 2
    assert views == {0, 1}
    assert coins == sorted(coins)


def test_blocks_are_full_but_for_the_last() -> None:
    maker = ChainMaker(3, per_block=10)
    assert [made.transfers for made in maker.blocks(25)] == [1, 10, 10, 4]
    assert list(maker.blocks(0)) == []
    assert maker.block(0).height == 5


def test_many_allocations_are_shared_out_first() -> None:
    """One of which has up to 256 receivers, and a block is asked for fewer than there are."""
    maker = ChainMaker(5, per_block=500)
    assert len(maker.genesis.allocations) == 3
    assert [maker.block(2).transfers, maker.block(500).transfers, maker.block(500).transfers] == [2, 1, 500]
    owners = {output.key for _, output in maker.genesis.coins() if not output.operator}
    assert len(owners) == 3


def test_the_smallest_chain() -> None:
    maker = ChainMaker(4, masternodes=1, per_block=1)
    assert [made.height for made in maker.blocks(40)] == list(range(1, 41))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"masternodes": 0}, "0 masternodes, 1 to 64"),
        ({"masternodes": MAX_MASTERNODES + 1}, "65 masternodes"),
        ({"per_block": 0}, "0 transfers in a block"),
        ({"per_block": MAX_PER_BLOCK + 1}, f"{params.MAX_BLOCK_TXS} transfers in a block"),
    ],
)
def test_bounds(arguments: dict[str, int], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        ChainMaker(0, **arguments)
    with pytest.raises(ValueError, match="11 transfers in a block, 0 to 10"):
        ChainMaker(0, per_block=10).block(11)
