"""Words and the keys that follow from them, against the published vectors."""

from __future__ import annotations

import pytest

from timecoin.keys import Keypair
from timecoin.wallet.seeds import WordsError, check_words, derive, key_seeds, new_words

# SLIP-0010, test vector 1 for ed25519: the steps of the path, the private key, the public key.
VECTOR_1 = bytes.fromhex("000102030405060708090a0b0c0d0e0f")
SLIP_0010 = [
    (
        [],
        "2b4be7f19ee27bbf30c667b642d5f4aa69fd169872f8fc3059c08ebae2eb19e7",
        "a4b2856bfec510abab89753fac1ac0e1112364e7d250545963f135f2a33188ed",
    ),
    (
        [0],
        "68e0fe46dfb67e368c75379acec591dad19df3cde26e63b93a8e704f1dade7a3",
        "8c8a13df77a28f3445213a0f432fde644acaa215fc72dcdf300d5efaa85d350c",
    ),
    (
        [0, 1, 2, 2, 1_000_000_000],
        "8f94d394a8e8fd6b1bc2f3f49f5c47e385281d5c17e65324b0f62483e37e8793",
        "3c24da049451555d51a7014a37337aa4e12d41e485abccfa46b47dfb2af54b7a",
    ),
]

ABANDON = "abandon " * 11 + "about"


@pytest.mark.parametrize(("path", "private", "public"), SLIP_0010)
def test_slip_0010_vectors(path: list[int], private: str, public: str) -> None:
    seed = derive(VECTOR_1, path)
    assert seed.hex() == private
    assert Keypair.from_seed(seed).public.hex() == public


def test_words_give_the_seed_of_bip_39() -> None:
    from mnemonic import Mnemonic

    master = Mnemonic.to_seed(ABANDON)
    assert master.hex().startswith("5eb00bbddcf069084889a8ab9155568165f5c453ccb85e70811aaed6f6da5fc1")
    seeds = key_seeds(ABANDON, 3)
    assert list(seeds) == ["m/44'/1'/0'", "m/44'/1'/1'", "m/44'/1'/2'"]
    assert seeds["m/44'/1'/2'"] == derive(master, [44, 1, 2])
    assert len(set(seeds.values())) == 3
    assert key_seeds(ABANDON, 1) == {"m/44'/1'/0'": seeds["m/44'/1'/0'"]}


@pytest.mark.parametrize("count", [12, 24])
def test_new_words_are_checkable_and_new(count: int) -> None:
    words = new_words(count)
    assert len(words.split()) == count
    assert check_words(f"  {words.upper()}\n".replace(" ", "  ")) == words
    assert new_words(count) != words


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "0 words"),
        ("abandon " * 11, "11 words"),
        ("abandon " * 12, "do not belong together"),
        (ABANDON.replace("about", "abuot"), "word 12 is not in the list"),
    ],
)
def test_wrong_words(text: str, complaint: str) -> None:
    with pytest.raises(WordsError, match=complaint) as caught:
        check_words(text)
    assert "abuot" not in str(caught.value)  # words are secrets, mistyped ones nearly so


def test_bounds() -> None:
    for count in (0, 1001):
        with pytest.raises(ValueError, match="addresses"):
            key_seeds(ABANDON, count)
    with pytest.raises(ValueError, match="12 or 24"):
        new_words(13)
