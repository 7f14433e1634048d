"""Consensus without I/O: LOCK/ACK votes that make transactions final, and PBFT that orders blocks.

Read `core` first (the machine that an owner drives), then `fastpath` and `pbft` (the two protocols), `viewchange`, and
`certificates` (what the votes prove to others). Blocks and transactions are ids and outpoints here; no clock, socket, key or
disk is touched.
"""
