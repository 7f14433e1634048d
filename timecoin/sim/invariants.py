"""What must hold of blocks, coins and final transactions at every step of a simulation, whatever the faults.

`Chain` is what the correct nodes together have committed, and the measure for everything else; `traffic` judges by it what they
sign. Nothing here asks the code that it watches how many votes are a quorum, or what conflicts with what. A violation raises
`InvariantError` with the invariant's name.

    agreement     one block per height
    commitment    at one height all nodes have the same commitment, and it is the commitment of their coins
    conservation  the coins of every node add up to what genesis and the subsidies made
    claim         what is FINAL is never contradicted by a block, by the end of its epoch, or by another FINAL transaction
    certificate   what a node keeps as proof verifies without a node, and not once a bit of it is changed
"""

from __future__ import annotations

import random
from collections.abc import Callable

from timecoin.consensus.certificates import PhaseCertificate, VoteCertificate, check_commit_signatures, check_finality_signatures
from timecoin.consensus.evidence import Evidence
from timecoin.errors import CertificateError, DecodeError
from timecoin.ledger.blocks import Delta
from timecoin.ledger.genesis import Genesis
from timecoin.ledger.registry import MasternodeSet
from timecoin.ledger.state import Ledger
from timecoin.ledger.transactions import Transaction, outpoint
from timecoin.replica import tables
from timecoin.replica.tables import height_key
from timecoin.sim.disk import VirtualDisk


class InvariantError(AssertionError):
    """The implementation broke a promise of the protocol. `invariant` is the promise's name."""

    def __init__(self, invariant: str, message: str) -> None:
        super().__init__(f"{invariant}: {message}")
        self.invariant = invariant


def votes_needed(voters: int) -> int:
    """ceil(2n/3), in other words than those of `consensus.quorum`."""
    return next(votes for votes in range(1, voters + 1) if 3 * votes >= 2 * voters)


class Chain:
    """The blocks of the correct nodes, and what follows from them."""

    def __init__(self, genesis: Genesis, transactions: dict[bytes, Transaction]) -> None:
        """`transactions`: all that anybody made, by id; it grows while the simulation runs."""
        self._genesis = genesis
        self._transactions = transactions
        self._commitments: dict[int, bytes] = {}
        self.blocks: dict[int, bytes] = {}
        self.views: dict[int, int] = {}  # height -> the view in which a node first saw it decided
        self.committed: dict[bytes, int] = {}  # txid -> height
        self.spent: dict[bytes, tuple[bytes, int]] = {}  # outpoint -> the transaction that spends it, height
        self.final: dict[bytes, int] = {}  # txid -> epoch
        self._final_spends: dict[bytes, bytes] = {}
        self.starts = {0: 0}  # epoch -> the height that closed the one before it
        self.sets: dict[int, tuple[bytes, ...]] = {0: _operators(genesis.masternode_set())}
        self._collaterals = {point: output.operator for point, output in genesis.coins() if output.operator}
        self._convicted: set[bytes] = set()  # operators, by a block of the open epoch

    @property
    def height(self) -> int:
        """The highest block that a correct node has committed."""
        return max(self.blocks, default=0)

    @property
    def epoch(self) -> int:
        """The open epoch at that height."""
        return max(self.starts)

    def epoch_of(self, height: int) -> int:
        """The epoch whose masternodes decide a height."""
        return max(epoch for epoch, start in self.starts.items() if start < height)

    def nominal_last(self, epoch: int) -> int:
        return self.starts[epoch] + self._genesis.epoch_length

    def void_since(self, txid: bytes) -> int | None:
        """The height of the block that spends an input of a transaction otherwise, or None."""
        tx = self._transactions.get(txid)
        spends = [self.spent[point] for point in tx.inputs if point in self.spent] if tx is not None else []
        return min((height for spender, height in spends if spender != txid), default=None)

    def is_pending(self, txid: bytes, height: int) -> bool:
        """Whether a transaction is in no block up to `height` and not void there."""
        void = self.void_since(txid)
        return self.committed.get(txid, height + 1) > height and (void is None or void > height)

    def conflict(self, one: bytes, other: bytes) -> bool:
        """Whether two transactions spend a coin that is the same."""
        if one == other or one not in self._transactions or other not in self._transactions:
            return False
        return not set(self._transactions[one].inputs).isdisjoint(self._transactions[other].inputs)

    # --- what happens

    def add_final(self, txid: bytes, epoch: int) -> None:
        """A quorum acknowledged a transaction."""
        tx = self._transactions.get(txid)
        if tx is None or txid in self.final:
            return
        if txid not in self.committed and epoch < self.epoch:
            raise InvariantError("claim", f"{txid.hex()[:12]} is FINAL in epoch {epoch}, which is closed without it")
        self.final[txid] = epoch
        for point in tx.inputs:
            rivals = [self._final_spends.setdefault(point, txid)]
            rivals += [self.spent[point][0]] if point in self.spent else []
            for rival in rivals:
                if rival != txid:
                    raise InvariantError("claim", f"{txid.hex()[:12]} is FINAL, {rival.hex()[:12]} spends the same coin")

    def add_block(self, node: int, delta: Delta, view: int) -> bool:
        """A correct node made a block part of its chain. True when it is the first one to do so at this height."""
        height, digest, commitment = delta.height, delta.hash, delta.header.commitment
        known = self.blocks.setdefault(height, digest)
        if known != digest:
            raise InvariantError("agreement", f"height {height} is {known.hex()[:12]} and, at node {node}, {digest.hex()[:12]}")
        if self._commitments.setdefault(height, commitment) != commitment:
            raise InvariantError("commitment", f"node {node} differs at height {height}")
        if _operators(delta.masternodes) != self.sets.setdefault(delta.epoch, _operators(delta.masternodes)):
            raise InvariantError("agreement", f"node {node} has another masternode set in epoch {delta.epoch}")
        if delta.header.next_set != delta.masternodes.hash():
            raise InvariantError("agreement", f"block {height} names another set than the one that votes next")
        if height in self.views:
            return False
        self.views[height] = view
        self._convicted.update(Evidence.decode(item).operator for item in delta.block.evidence)
        for txid in delta.txids:
            self._add_transaction(txid, height)
        if delta.epoch not in self.starts:
            self._close(delta.epoch, height)
            self._check_set(delta.epoch)
        return True

    def _add_transaction(self, txid: bytes, height: int) -> None:
        if txid in self.committed:
            raise InvariantError("agreement", f"{txid.hex()[:12]} is in block {self.committed[txid]} and in block {height}")
        self.committed[txid] = height
        tx = self._transactions.get(txid)
        for number, output in enumerate(tx.outputs if tx is not None else ()):
            if output.operator:
                self._collaterals[outpoint(txid, number)] = output.operator
        for point in tx.inputs if tx is not None else ():
            if self.spent.setdefault(point, (txid, height))[0] != txid:
                raise InvariantError("agreement", f"outpoint {point.hex()} is spent by two committed transactions")
            if self._final_spends.get(point, txid) != txid:
                raise InvariantError("claim", f"block {height} spends an input of a FINAL transaction otherwise")

    def _check_set(self, epoch: int) -> None:
        """The set of an epoch is that of the collateral coins as it begins, but for those who were convicted in the last one."""
        registered = {operator for point, operator in self._collaterals.items() if point not in self.spent}
        entitled, seats = registered - self._convicted, set(self.sets[epoch])
        self._convicted = set()
        if entitled and seats != entitled:
            raise InvariantError("seats", f"epoch {epoch} begins with {len(seats)} masternodes, {len(entitled)} are entitled")

    def _close(self, epoch: int, height: int) -> None:
        self.starts[epoch] = height
        if height < self.nominal_last(epoch - 1):
            raise InvariantError("claim", f"epoch {epoch - 1} ends at {height}, before its nominal last height")
        for txid, made in self.final.items():
            if made < epoch and txid not in self.committed:
                raise InvariantError("claim", f"block {height} closes epoch {epoch - 1} without FINAL {txid.hex()[:12]}")

    # --- looked at now and then

    def check_coins(self, node: int, ledger: Ledger, disk: VirtualDisk) -> None:
        """Every coin of a node is looked at, on its disk where they are not all in memory."""
        from timecoin._core.lthash import LtHash
        from timecoin.ledger.coins import coin_element, output_of

        if ledger.coins.all_in_memory:
            pages = ledger.coins.pages()
        elif disk.get(tables.META, tables.META_TIP) == height_key(ledger.height) + ledger.tip:
            pages = iter([list(disk.items(tables.COINS))])
        else:
            return  # its last block is still on the way to the disk
        state, total = LtHash(), 0
        for page in pages:
            state.add([coin_element(point, record) for point, record in page])
            total += sum(output_of(record).value for _, record in page)
        named = self._commitments.get(ledger.height, ledger.commitment())
        if not state.digest() == ledger.commitment() == named:
            raise InvariantError("commitment", f"the coins of node {node} are not those of its commitment")
        minted = sum(self._genesis.subsidy_at(height) for height in range(1, ledger.height + 1))
        if total != self._genesis.initial_supply + minted:
            raise InvariantError(
                "conservation", f"node {node} holds {total} units, {self._genesis.initial_supply + minted} exist"
            )

    def check_commit(self, node: int, height: int, encoded: bytes, rng: random.Random) -> None:
        """A commit certificate as a node keeps it."""
        epoch = self.epoch_of(height)

        def verify(data: bytes) -> None:
            certificate = PhaseCertificate.decode(data)
            check_commit_signatures(certificate, chain_id=self._genesis.chain_id, epoch=epoch, operators=self.sets[epoch])
            if (certificate.height, certificate.digest) != (height, self.blocks[height]):
                raise CertificateError("wrong-block", f"of block {certificate.digest.hex()} at height {certificate.height}")

        _check_certificate(f"the commit certificate of height {height} at node {node}", encoded, verify, rng)

    def check_finality(self, node: int, txid: bytes, encoded: bytes, rng: random.Random) -> None:
        """A finality certificate as a node hands it out."""
        epoch = VoteCertificate.decode(encoded).proofs[0].header.epoch

        def verify(data: bytes) -> None:
            certificate = VoteCertificate.decode(data)
            check_finality_signatures(certificate, chain_id=self._genesis.chain_id, epoch=epoch, operators=self.sets[epoch])
            if certificate.txid != txid:
                raise CertificateError("wrong-transaction", certificate.txid.hex())

        _check_certificate(f"the finality certificate of {txid.hex()[:12]} at node {node}", encoded, verify, rng)


def _check_certificate(what: str, encoded: bytes, verify: Callable[[bytes], None], rng: random.Random) -> None:
    try:
        verify(encoded)
    except (CertificateError, DecodeError) as error:
        raise InvariantError("certificate", f"{what} does not verify: {error}") from error
    bit = rng.randrange(8 * len(encoded))
    spoilt = bytearray(encoded)
    spoilt[bit // 8] ^= 1 << bit % 8
    try:
        verify(bytes(spoilt))
    except (CertificateError, DecodeError):
        return
    raise InvariantError("certificate", f"{what} verifies with bit {bit} changed")


def _operators(masternodes: MasternodeSet) -> tuple[bytes, ...]:
    return tuple(member.operator for member in masternodes)
