"""A node without I/O: what `node` drives with sockets and LMDB, and `sim` with virtual ones. Read `replica` first."""
