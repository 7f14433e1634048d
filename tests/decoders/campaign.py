"""Random mutations of good encodings, thrown at every decoder of the table: `./dev fuzz-decoders`.

A round takes a decoder and an encoding, changes it in a few places and checks what the decoder does. What is accepted joins the
encodings that later rounds start from. All follows from the seed, so a failure is found again by its seed and round.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import hypothesis
from hypothesis import HealthCheck, Phase, given, settings

from tests.decoders.table import DECODERS, Decoder, check_memory

MOST_KEPT = 100  # encodings of one decoder
LONGEST = 20_000
SAMPLES = 12
BOUNDARIES = (0, 1, 2, 127, 128, 255, 256, 257, 4_095, 4_096, 4_097, 10_000, 10_001, 65_535, 2**31, 2**32 - 1, 2**63, 2**64 - 1)


class Failed(Exception):
    """A decoder did what none may do; the message has all that is needed to see it again."""


def samples(decoder: Decoder, seed: int, count: int = SAMPLES) -> list[bytes]:
    """Good encodings, the same ones for one seed."""
    found: list[bytes] = []

    @hypothesis.seed(seed)
    @settings(max_examples=count, database=None, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(decoder.encodings)
    def collect(data: bytes) -> None:
        found.append(data)

    collect()
    return found


def mutate(rng: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """One change: a bit, a byte, an integer at its bounds, bytes lost, doubled, or taken from another encoding."""
    at = rng.randrange(len(data) + 1) if rng.random() < 0.5 else min(rng.randrange(32), len(data))
    size = rng.choice((1, 1, 2, 4, 8, 32, 64, rng.randrange(200)))
    kind = rng.randrange(7)
    if kind == 0 and at < len(data):
        return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]
    if kind == 1:
        return data[:at] + rng.randbytes(min(size, 8)) + data[at + min(size, 8) :]
    if kind == 2:
        width = rng.choice((1, 2, 4, 8))
        value = rng.choice(BOUNDARIES) % 256**width
        return data[:at] + value.to_bytes(width, "little") + data[at + width :]
    if kind == 3:
        return data[:at] + data[at + size :]
    if kind == 4:
        return data[: at + size] + data[at:]
    if kind == 5:
        return data[:at]
    other = rng.choice(others)
    start = rng.randrange(len(other) + 1)
    return data[:at] + other[start : start + size] + data[at + rng.choice((0, size)) :]


@dataclass(slots=True)
class Campaign:
    """Rounds of one seed. `accepted` and `refused` count them by decoder."""

    seed: int
    rounds: int = 0
    accepted: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)

    def run(self, more: Callable[[int], bool]) -> None:
        """Rounds while `more(rounds so far)`. Raises Failed."""
        rng = random.Random(self.seed)
        kept = [samples(decoder, self.seed) for decoder in DECODERS]
        while more(self.rounds):
            self.rounds += 1
            place = rng.randrange(len(DECODERS))
            encodings = kept[place]
            data = rng.choice(encodings)
            for _ in range(rng.choice((0, 1, 1, 1, 2, 3))):
                data = mutate(rng, data, rng.choice((encodings, rng.choice(kept))))
            data = data[:LONGEST]
            if self._try(DECODERS[place], data):
                if len(encodings) < MOST_KEPT:
                    encodings.append(data)
                else:
                    encodings[rng.randrange(MOST_KEPT)] = data

    def _try(self, decoder: Decoder, data: bytes) -> bool:
        try:
            accepted = check_memory(decoder, data)
        except Exception as error:
            where = f"seed {self.seed}, round {self.rounds}: {decoder.name}"
            raise Failed(f"{where}: {type(error).__name__}: {error}; the input in hex: {data.hex()}") from error
        (self.accepted if accepted else self.refused)[decoder.name] += 1
        return accepted
