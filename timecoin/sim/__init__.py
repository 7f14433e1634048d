"""A virtual network of real replicas, from one seed: `python -m timecoin.sim --seed N` replays one run."""
