"""The compiled core, and the one door to it: `from timecoin._core import hashing`.

One module per noun: `codec`, `coins`, `ed25519`, `hashing`, `lthash`, `pool`, `sodium`, `tally`, `transfers`, `votes`. Each
is loaded when it is first asked for, and none of them loads numpy by being imported.

What they have in common: everything takes a batch. A column of n fixed-width items is one bytes-like object of n times
the width (ids 32, outpoints 36, signatures 64 bytes); what varies in length comes as a sequence of bytes-likes. The
Python objects are read first, and the loop then runs without the GIL over memory that nobody else can change. A wrong
size raises ValueError naming what was found and what was expected.
"""
