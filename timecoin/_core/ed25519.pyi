from collections.abc import Iterable, Sequence
from typing import TypeAlias, final

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Buffer

_Items: TypeAlias = Buffer | Iterable[Buffer]
_Integers: TypeAlias = Buffer | Sequence[int]

def backends() -> tuple[str, ...]: ...
def cpu_backend() -> str: ...
def verify(public_key: Buffer, message: Buffer, signature: Buffer) -> bool: ...
def verify_many(keys: _Items, messages: _Items, signatures: _Items, threads: int = 1) -> bytes: ...
def verify_batch(
    public_keys: _Items,
    messages: _Items,
    signatures: _Items,
    *,
    threads: int = 1,
    offsets: _Integers | None = None,
) -> NDArray[np.bool_]: ...

@final
class VerifyingKeys:
    def __init__(self, public_keys: _Items) -> None: ...
    def __len__(self) -> int: ...
    @property
    def valid(self) -> NDArray[np.bool_]: ...
    def verify_batch(
        self,
        key_indices: _Integers,
        messages: _Items,
        signatures: _Items,
        *,
        threads: int = 1,
        offsets: _Integers | None = None,
    ) -> NDArray[np.bool_]: ...

def verify_with(
    keys: _Items | _Integers,
    messages: _Items,
    signatures: _Items,
    *,
    backend: str,
    method: str = "auto",
    threads: int = 1,
    cached: VerifyingKeys | None = None,
) -> tuple[bytes, dict[str, int]]: ...
