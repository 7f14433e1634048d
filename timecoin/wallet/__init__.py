"""Clients of a node's RPC, and the keys of a person: nothing here knows the node's insides."""
