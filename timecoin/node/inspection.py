"""A look at the store of a node that does not run: what is in it, what it takes, and what is wrong with it.

Nothing is written. The pages of the file are checked first, byte by byte and without LMDB, which trusts them: with a damaged
page it may take the process down. Only a file whose pages are sound is read on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from timecoin._core import lthash
from timecoin.consensus.certificates import PhaseCertificate, check_commit_signatures
from timecoin.errors import CertificateError, DecodeError, StorageError
from timecoin.node.lmdbfile import DATA_NAME, ReadOnlyStore, page_problems, share_lock
from timecoin.node.storage import FORMAT_VERSION
from timecoin.replica import audit, deep_audit, layout, tables
from timecoin.replica.audit import Progress, Standing
from timecoin.replica.tables import META, TABLES, height_key

# Told the name of a stage; what comes back is told how far the stage is.
Stages = Callable[[str], Progress]

_MOST_PROBLEMS = 100


class Inspection:
    """One look. `report` has what was found, ready for JSON; `problems` what is wrong, a line each."""

    def __init__(self, directory: Path, *, deep: bool, stages: Stages) -> None:
        self.report: dict[str, Any] = {"directory": str(directory), "deep": deep}
        self.problems: list[str] = []
        self._directory = directory
        self._deep = deep
        self._stages = stages
        self._look()
        self.report["problems"] = self.problems

    def _look(self) -> None:
        if not self._check_pages():
            return
        try:
            store = ReadOnlyStore.open(self._directory)
        except StorageError as error:
            self._note(str(error))
            return
        try:
            self._look_inside(store)
        except StorageError as error:
            self._note(str(error))
        finally:
            store.close()

    def _note(self, problem: str) -> None:
        """Remember a problem; beyond a bound only that there are more."""
        if len(self.problems) < _MOST_PROBLEMS:
            self.problems.append(problem)
        elif len(self.problems) == _MOST_PROBLEMS:
            self.problems.append("there are more problems")

    def _note_all(self, problems: Iterator[str]) -> None:
        for problem in problems:
            self._note(problem)
            if len(self.problems) > _MOST_PROBLEMS:
                return

    # The file

    def _check_pages(self) -> bool:
        """Whether the file can be read through LMDB. StorageError when there is none; DirectoryInUse."""
        path = self._directory / DATA_NAME
        stage = self._stages("pages of the file")
        with share_lock(self._directory):
            stage(0, 1)
            found = page_problems(path)
            self.report["file"] = {"bytes": path.stat().st_size}
            stage(1, 1)
        for problem in found:
            self._note(f"{path.name}: {problem}")
        if found:
            self._note(f"{path.name} is damaged: nothing else is read, since LMDB trusts its pages")
        return not found

    # The tables

    def _look_inside(self, store: ReadOnlyStore) -> None:
        self._measure(store)
        version = store.version()
        self.report["format_version"] = version
        if version != FORMAT_VERSION:
            self._note(f"format version {version}, this program reads {FORMAT_VERSION}")
            return
        for table in TABLES:
            if not store.has(table):
                self._note(f"the table {table} is missing")
        self._read_meta(store)
        try:
            at = audit.standing(store)
        except StorageError as error:
            self._note(str(error))
            self._scan_coins(store, None)
            return
        self._tell_standing(at)
        self._note_all(audit.quick_problems(store, at))
        self._note_all(_signature_problems(store, at))
        self._scan_coins(store, at)
        if self._deep:
            self._note_all(deep_audit.deep_problems(store, at, self._stages("blocks")))

    def _measure(self, store: ReadOnlyStore) -> None:
        size = store.file_size()
        self.report["file"] |= {
            "page_bytes": size.page_bytes,
            "pages": size.pages,
            "free_pages": size.free_pages,
            "map_bytes": size.map_bytes,
            "map_used": round(size.pages * size.page_bytes / size.map_bytes, 4),
        }
        self.report["tables"] = {
            table: {"rows": rows, "depth": depth, "pages": pages, "bytes": pages * size.page_bytes}
            for table in TABLES
            for rows, depth, pages in (store.table_size(table),)
        }

    def _read_meta(self, store: ReadOnlyStore) -> None:
        chain_id, voter = store.get(META, tables.META_CHAIN_ID), store.get(META, tables.META_VOTER)
        marker = store.get(META, tables.META_REINDEX)
        self.report |= {
            "chain_id": None if chain_id is None else chain_id.hex(),
            "carries_votes_of": None if voter is None else voter.hex(),
            "indexes": list(tables.decode_indexes(store.get(META, tables.META_INDEXES))),
            "reindex": None if marker is None else int.from_bytes(marker, "big"),
        }
        if chain_id is None:
            self._note("the store is of no chain: it has not been initialised")
        if store.get(META, tables.META_IMPORT) is not None:
            self._note("the import of a snapshot was interrupted: run `timecoin snapshot import` again")
        if marker is not None:
            self._note("a rebuilding was interrupted: run `timecoin reindex` again")

    def _tell_standing(self, at: Standing) -> None:
        self.report |= {
            "height": at.height,
            "tip": at.tip.hex(),
            "time_ms": at.header.time_ms,
            "epoch": at.epoch,
            "epoch_start": at.epoch_start,
            "masternodes": len(at.masternodes),
            "first_block": at.first_block,
        }

    def _scan_coins(self, store: ReadOnlyStore, at: Standing | None) -> None:
        coins: dict[str, Any] = {"stored_count": None if at is None else at.coins}
        commitment = (
            {} if at is None else {"header": at.header.commitment.hex(), "stored": lthash.LtHash(at.lthash).digest().hex()}
        )
        self.report |= {"coins": coins, "commitment": commitment}
        try:
            scan = deep_audit.scan_coins(store, self._stages("coins"))
        except DecodeError as error:
            self._note(f"the table coins is damaged: {error}")
            return
        coins |= {"count": scan.coins, "value_units": scan.value}
        commitment["recomputed"] = scan.commitment.hex()
        if at is not None and scan.commitment != at.header.commitment:
            given, wanted = scan.commitment.hex(), at.header.commitment.hex()
            self._note(f"{scan.coins} coins give the commitment {given}, the tip's header has {wanted}")


def _signature_problems(store: ReadOnlyStore, at: Standing) -> Iterator[str]:
    """The certificate of the tip proves it by the masternode set of its epoch."""
    encoded = store.get(tables.CERTIFICATES, height_key(at.height))
    row = store.get(tables.EPOCHS, layout.epoch_key(at.header.epoch))
    if encoded is None or row is None:
        return
    try:
        certificate = PhaseCertificate.decode(encoded)
        operators = [member.operator for member in layout.decode_epoch(row)[1]]
        chain_id = store.get(META, tables.META_CHAIN_ID) or b""
        check_commit_signatures(certificate, chain_id=chain_id, epoch=at.header.epoch, operators=operators)
    except (DecodeError, CertificateError) as error:
        yield f"the certificate of block {at.height} proves nothing: {error}"
