"""The rules of the ledger, pure: no clock, no disk, no network, no global state.

Read in this order: `transactions` (values), `coins` and `registry` (what there is), `checks` (one transaction), `blocks`
and `state` (the chain's next step), `pool` (what waits for it), `genesis` (where it begins).
"""
