"""`./dev fuzz-decoders [--seed N] [--seconds S] [--rounds R]`; `--corpus DIR` writes encodings for `./dev fuzz-codec`."""

from __future__ import annotations

import argparse
import faulthandler
import hashlib
import resource
import sys
import time
import tracemalloc
from pathlib import Path

from tests.decoders.campaign import Campaign, Failed, samples
from tests.decoders.table import DECODERS

# The first byte of an input of tests/fuzz/codec.c says which decoder it is for; an item stands behind half its length.
NATIVE = {
    "_core.codec.TransactionBatch.decode": 0,
    "_core.codec.transaction_ids": 1,
    "_core.codec.decode_header": 2,
    "_core.votes.VoteBatches.decode": 3,
    "consensus.messages.VoteBatch.decode": 4,
}
ITEMS = (1, 4)
MOST_MEMORY = 2 * 1024**3  # of the process, C included


def write_corpus(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for decoder in DECODERS:
        if decoder.name in NATIVE:
            for data in samples(decoder, seed=1, count=40):
                target = NATIVE[decoder.name]
                length = bytes([min(255, (len(data) + 1) // 2)]) if target in ITEMS else b""
                content = bytes([target]) + length + data
                (folder / hashlib.sha256(content).hexdigest()).write_bytes(content)


def main() -> int:
    parser = argparse.ArgumentParser(prog="./dev fuzz-decoders", description="Throw mutated encodings at every decoder.")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 2**32, help="of all that is random (default: the clock)")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long it goes on (default: 60)")
    parser.add_argument("--rounds", type=int, help="stop after so many rounds instead; with a failure's seed it finds it again")
    parser.add_argument(
        "--corpus", type=Path, help="only write good encodings into this folder, as tests/fuzz/codec.c reads them"
    )
    options = parser.parse_args()
    if options.corpus is not None:
        write_corpus(options.corpus)
        return 0
    faulthandler.enable()
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    print(f"seed {options.seed}", flush=True)
    campaign = Campaign(options.seed)
    deadline = time.monotonic() + options.seconds
    tracemalloc.start()
    try:
        if options.rounds is not None:
            campaign.run(lambda rounds: rounds < options.rounds)
        else:
            campaign.run(lambda _: time.monotonic() < deadline)
    except Failed as failed:
        print(failed, file=sys.stderr)
        return 1
    for decoder in DECODERS:
        accepted, refused = campaign.accepted[decoder.name], campaign.refused[decoder.name]
        print(f"{decoder.name:60} {accepted:8} accepted {refused:8} refused")
    print(f"{campaign.rounds} rounds, no failure")
    return 0


sys.exit(main())
