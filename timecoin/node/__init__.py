"""All input and output of a node: storage, connections, RPC and the runner that drives the replica with them."""
