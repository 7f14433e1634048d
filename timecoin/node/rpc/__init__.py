"""JSON-RPC 2.0 for this machine: Bitcoin's method names where they exist, and what a fast path adds to them.

    HTTP request -> server (host, cookie, size) -> dispatch (envelopes, parameters) -> a method -> backend (the node)

`backend` is all that the methods know of a node; `views` says how values look in answers.
"""
