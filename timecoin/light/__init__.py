"""Proofs for whoever has no chain: that a transaction is committed, or FINAL, by masternodes who are trusted or follow from such.

Pure functions over bytes, without a node and without I/O. `trust` follows the masternode sets from header to header, `proofs`
has the encodings and what verifies them.
"""
