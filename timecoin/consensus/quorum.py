"""How many votes make a quorum, and who leads: the only place where either is computed.

For n voters, f = (n-1)//3 may lie and q = ceil(2n/3) votes are a quorum. For every n >= 1 two quorums share at least
f + 1 voters (2q - n >= f + 1), so an honest one, and the honest voters alone reach a quorum (q <= n - f).
"""

from __future__ import annotations

from typing import NamedTuple

from timecoin import params


class Quorum(NamedTuple):
    """The thresholds of one masternode set."""

    n: int
    f: int
    q: int

    @classmethod
    def of(cls, n: int) -> Quorum:
        """The thresholds for `n` registered voters (never the connected or active ones)."""
        if not 1 <= n <= params.MAX_MASTERNODES:
            raise ValueError(f"{n} voters, from 1 to {params.MAX_MASTERNODES}")
        return cls(n, (n - 1) // 3, -(-2 * n // 3))

    def leader(self, height: int, view: int) -> int:
        """Index of the masternode that proposes at (height, view)."""
        return (height + view) % self.n
