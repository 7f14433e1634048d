"""What holds for every decoder of the package, whatever bytes it gets, and that the table of them is complete."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.decoders.campaign import Campaign, mutate, samples
from tests.decoders.table import DECODERS, ELSEWHERE, Decoder, check, check_memory
from tests.tidy.source import module_name, package_files, tree_of
from timecoin.errors import DecodeError

each_decoder = pytest.mark.parametrize("decoder", DECODERS, ids=lambda decoder: decoder.name)
quick = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])

EVERY_VALUE = 16  # leading bytes, where versions, kinds and counts stand, that get every other value
SOME_VALUES = (0x00, 0x01, 0x7F, 0x80, 0xFF)  # for the bytes behind them


def functions(body: list[ast.stmt], prefix: str) -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.ClassDef):
            yield from functions(node.body, f"{prefix}.{node.name}")
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{prefix}.{node.name}"


def test_every_decoder_of_the_package_is_in_the_table() -> None:
    named = re.compile(r"\.decode(_\w+)?$")
    found = {
        name.removeprefix("timecoin.")
        for path in package_files(".py", ".pyi")
        for name in functions(tree_of(path).body, module_name(path))
        if named.search(name)
    }
    listed = {decoder.function for decoder in DECODERS if named.search(decoder.function)}
    assert found == listed | set(ELSEWHERE)
    assert not listed & set(ELSEWHERE)
    assert len({decoder.name for decoder in DECODERS}) == len(DECODERS)


@each_decoder
@given(data=st.data())
@quick
def test_good_encodings_are_accepted(decoder: Decoder, data: st.DataObject) -> None:
    assert check(decoder, data.draw(decoder.encodings))


@each_decoder
@given(data=st.data(), rng=st.randoms(use_true_random=False), changes=st.integers(1, 3))
@quick
def test_changed_encodings_are_refused_or_are_encodings(decoder: Decoder, data: st.DataObject, rng: object, changes: int) -> None:
    encoded = data.draw(decoder.encodings)
    for _ in range(changes):
        encoded = mutate(rng, encoded, [encoded])  # type: ignore[arg-type]
    check(decoder, encoded)


@each_decoder
@given(data=st.binary(max_size=300))
@quick
def test_any_bytes_are_refused_or_are_an_encoding(decoder: Decoder, data: bytes) -> None:
    check(decoder, data)


@each_decoder
@given(data=st.data())
@quick
def test_what_is_cut_off_or_goes_on_is_refused(decoder: Decoder, data: st.DataObject) -> None:
    encoded = data.draw(decoder.encodings)
    shorter = encoded[: data.draw(st.integers(0, max(0, len(encoded) - 1)))]
    longer = encoded + data.draw(st.binary(min_size=1, max_size=3))
    assert (check(decoder, longer), check(decoder, shorter)) == (False, False) or decoder.open_ended


@each_decoder
def test_every_truncation_and_every_change_of_one_byte(decoder: Decoder) -> None:
    encoded = next(data for data in reversed(samples(decoder, seed=5)) if 0 < len(data) < 1500)
    for size in range(len(encoded)):
        assert not check(decoder, encoded[:size]) or decoder.open_ended
    for at in range(len(encoded)):
        for value in range(256) if at < EVERY_VALUE else SOME_VALUES:
            check(decoder, encoded[:at] + bytes([value]) + encoded[at + 1 :])


@each_decoder
def test_a_count_that_lies_takes_no_memory(decoder: Decoder) -> None:
    for filler in (0x00, 0x01, 0x02, 0x40, 0x7F, 0xFF):
        for size in (1, 45, 200, 400):
            check_memory(decoder, bytes([filler]) * size)


def test_a_short_campaign() -> None:
    """`./dev fuzz-decoders` goes on for longer."""
    campaign = Campaign(seed=1)
    campaign.run(lambda rounds: rounds < 3_000)
    names = {decoder.name for decoder in DECODERS}
    assert set(campaign.accepted) == names
    assert set(campaign.refused) == {decoder.name for decoder in DECODERS if decoder.refusals}


def test_a_decoder_that_does_what_it_must_not_is_found() -> None:
    def refuse(offset: int) -> None:
        raise DecodeError("nothing", offset)

    good = st.just(b"xyz")
    accepts_all = Decoder("any", good, bytes, lambda value: value[:2])
    with pytest.raises(AssertionError, match="encodes to other bytes"):
        check(accepts_all, b"xyz")
    with pytest.raises(AssertionError, match="offset 4 of 3 bytes"):
        check(Decoder("far", good, lambda data: refuse(len(data) + 1), None), b"xyz")
    with pytest.raises(AssertionError, match="bytes of memory for 3 bytes of input"):
        check_memory(Decoder("large", good, lambda data: bytes(10**6), lambda value: b"xyz"), b"xyz")
    with pytest.raises(IndexError):
        check(Decoder("crash", good, lambda data: data[9], None), b"xyz")
