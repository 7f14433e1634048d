"""What must hold at every step of a simulation, whatever the faults. A violation raises `InvariantError`."""

from __future__ import annotations

from timecoin.consensus.evidence import statement
from timecoin.consensus.messages import Message
from timecoin.ledger.genesis import Genesis
from timecoin.ledger.state import Ledger
from timecoin.ledger.transactions import Transaction
from timecoin.replica import tables
from timecoin.replica.tables import height_key
from timecoin.sim.disk import VirtualDisk


class InvariantError(AssertionError):
    """The implementation broke a promise of the protocol."""


class Invariants:
    """Watches all correct nodes at once.

    agreement    one block per height
    claim        what is FINAL at a correct node is never contradicted by a block or by another FINAL transaction
    one voice    no correct key signs two digests in one slot, across restarts
    conservation the coins of every node add up to what genesis and the subsidies made
    commitment   at one height all nodes have the same commitment, and it is the commitment of their coins
    """

    def __init__(self, genesis: Genesis) -> None:
        self._genesis = genesis
        self._blocks: dict[int, bytes] = {}
        self._commitments: dict[int, bytes] = {}
        self._final: dict[bytes, bytes] = {}  # outpoint -> FINAL transaction that spends it
        self._spent: dict[bytes, bytes] = {}  # outpoint -> committed transaction that spends it
        self._signed: dict[tuple[object, ...], bytes] = {}
        self.final: set[bytes] = set()
        self.committed: set[bytes] = set()

    @property
    def height(self) -> int:
        """The highest block that a correct node has committed."""
        return max(self._blocks, default=0)

    def on_signed(self, node: int, message: Message) -> None:
        said = statement(message)
        slot, digest = (node, *said.slot), said.content
        if self._signed.setdefault(slot, digest) != digest:
            raise InvariantError(f"one voice: node {node} signed {digest.hex()[:16]} and another digest in {slot}")

    def on_final(self, tx: Transaction) -> None:
        self.final.add(tx.txid)
        for outpoint in tx.inputs:
            for spender in (self._final.setdefault(outpoint, tx.txid), self._spent.get(outpoint, tx.txid)):
                if spender != tx.txid:
                    raise InvariantError(f"claim: {tx.txid.hex()} is FINAL, {spender.hex()} spends the same coin")

    def on_block(self, node: int, ledger: Ledger, transactions: tuple[Transaction, ...]) -> None:
        known = self._blocks.setdefault(ledger.height, ledger.tip)
        if known != ledger.tip:
            raise InvariantError(f"agreement: height {ledger.height} is {known.hex()} and, at node {node}, {ledger.tip.hex()}")
        if self._commitments.setdefault(ledger.height, ledger.commitment()) != ledger.commitment():
            raise InvariantError(f"commitment: node {node} differs at height {ledger.height}")
        for tx in transactions:
            self.committed.add(tx.txid)
            for outpoint in tx.inputs:
                if self._spent.setdefault(outpoint, tx.txid) != tx.txid:
                    raise InvariantError(f"agreement: outpoint {outpoint.hex()} is spent by two committed transactions")
                if self._final.get(outpoint, tx.txid) != tx.txid:
                    raise InvariantError(f"claim: block {ledger.height} spends an input of a FINAL transaction otherwise")

    def on_coins(self, node: int, ledger: Ledger, disk: VirtualDisk) -> None:
        """The expensive ones: every coin of a node is looked at, on its disk where they are not all in memory."""
        from timecoin._core.lthash import LtHash
        from timecoin.ledger.coins import coin_element, output_of

        state = LtHash()
        total = 0
        if ledger.coins.all_in_memory:
            pages = ledger.coins.pages()
        elif disk.get(tables.META, tables.META_TIP) == height_key(ledger.height) + ledger.tip:
            pages = iter([list(disk.items(tables.COINS))])
        else:
            return  # its last block is still on the way to the disk
        for page in pages:
            state.add([coin_element(point, record) for point, record in page])
            total += sum(output_of(record).value for _, record in page)
        if state.digest() != ledger.commitment():
            raise InvariantError(f"commitment: the coins of node {node} are not those of its commitment")
        minted = sum(self._genesis.subsidy_at(height) for height in range(1, ledger.height + 1))
        if total != self._genesis.initial_supply + minted:
            raise InvariantError(f"conservation: node {node} holds {total} units, {self._genesis.initial_supply + minted} exist")
