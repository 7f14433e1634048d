from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Buffer

def verify(public_key: Buffer, message: Buffer, signature: Buffer) -> bool: ...
def verify_many(
    keys: Buffer | Iterable[Buffer],
    messages: Buffer | Iterable[Buffer],
    signatures: Buffer | Iterable[Buffer],
    threads: int = 1,
) -> bytes: ...
def verify_batch(
    public_keys: Buffer | Iterable[Buffer],
    messages: Buffer | Iterable[Buffer],
    signatures: Buffer | Iterable[Buffer],
    *,
    threads: int = 1,
) -> NDArray[np.bool_]: ...
