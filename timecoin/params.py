"""Every number of the protocol and every limit of the node, written once.

Integers in capitals reach the C kernels too: setup.py turns them into the macros TC_<NAME> of `_core/c/params.h`.
What a genesis document fixes (block interval, subsidy, ...) is not here; what is here is the same on every network.
Sizes are in bytes, times in milliseconds, values in the smallest unit.
"""

# Values
COIN = 100_000_000
MAX_MONEY = 10**18  # the largest value or sum of values: 10 billion TIME, far below 2**63

# Transactions
TX_VERSION = 1
TX_KIND_TRANSFER = 0
TX_KIND_COINBASE = 1
OUTPUT_PAYMENT = 0
OUTPUT_COLLATERAL = 1
MAX_TX_INPUTS = 256
MAX_TX_OUTPUTS = 256
TX_HEADER_BYTES = 14  # version, kind, input count u16, output count u16, height u64
OUTPOINT_BYTES = 36
SIGNATURE_BYTES = 64
PAYMENT_BYTES = 41  # kind, value, key
COLLATERAL_BYTES = 91  # kind, value, owner key, operator key, address (16) and port (2)
# The largest encoding that the counts above allow; every valid transaction is at most this long.
MAX_TX_BYTES = TX_HEADER_BYTES + MAX_TX_INPUTS * (OUTPOINT_BYTES + SIGNATURE_BYTES) + MAX_TX_OUTPUTS * COLLATERAL_BYTES
MIN_TX_BYTES = TX_HEADER_BYTES + PAYMENT_BYTES
MIN_RELAY_FEE_RATE = 1  # units per byte; relay policy, not validity

# Blocks
BLOCK_VERSION = 1
HEADER_BYTES = 156
MAX_BLOCK_TXS = 10_000  # no genesis document may allow more
MAX_BLOCK_BYTES = 4 * 1024 * 1024
MAX_PROPOSAL_DRIFT_MS = 10_000  # how far ahead of a replica's clock a fresh proposal may be
MAX_BLOCK_EVIDENCE = 16  # offences proven in one block
# Two vote headers with signatures and branches, and two transactions; what other offences take is far less.
MAX_EVIDENCE_BYTES = 2 * (MAX_TX_BYTES + 1_024)
FINAL_HEIGHT = 2**32 - 1  # the height of a coin that is final and in no block yet; every block is below it

# The commitment to the UTXO set
LTHASH_LANES = 1_024  # of 16 bits

# The genesis document
MAX_ALLOCATIONS = 1_000_000

# The masternode set
MAX_MASTERNODES = 4_096  # what encodings and the tally have room for
MAX_SEATS = 256  # masternodes of one epoch: a NEW-VIEW with a certificate from each of a quorum still fits a frame

# Fast path
MAX_BATCH_VOTES = 4_096  # LOCKs and, apart from them, ACKs in one vote batch
MAX_BATCH_BRANCH = 12  # nodes in the Merkle branch of a vote: ceil(log2(MAX_BATCH_VOTES))
MAX_TALLIED = 65_536  # ids that one tally of votes counts at once, unless told otherwise
MAX_UNKNOWN_VOTES = 20_000  # ids per voter whose transaction is not here yet; the oldest are forgotten
MAX_BATCHES_PER_SLOT = 4  # conflicting batches of one voter and sequence number that are kept
MAX_KEPT_BATCHES = 20_000  # vote batches of one voter that are kept for open transactions
MAX_KEPT_BATCH_BYTES = 64 * 1024 * 1024  # what they may take together,
MAX_ALL_KEPT_BYTES = 512 * 1024 * 1024  # and what those of all voters may, each an equal share
MAX_LOCKED = 20_000  # transactions whose bodies a masternode keeps because it signed LOCK for them
MAX_LOCKED_BYTES = 600 * 1024 * 1024
MAX_VOTE_RANGES = 256  # runs of sequence numbers per voter in one list of what a node has

# A store made later than this after the genesis document's time may replace a lost one: it carries no votes of its key.
INIT_WINDOW_MS = 600_000

# PBFT
MAX_BUFFERED_PER_VOTER = 64  # messages for later heights and views kept of one voter
MAX_DIGESTS_PER_SLOT = 2  # digests of one voter, height, view and phase that are counted

# The pool
MAX_PENDING = 10_000
MAX_PENDING_BYTES = 300 * 1024 * 1024
MAX_WAITING = 1_000  # transactions whose inputs are not here yet
MAX_WAITING_BYTES = 16 * 1024 * 1024
MAX_CONFLICTS = 8  # uncertified transactions in the pool that spend one outpoint
MAX_PACKAGE_TXS = 64  # a transaction and its ancestors in the pool, whose fees count together; beyond it, parents first
MAX_PACKAGE_INPUTS = 1_024  # of these together
MAX_REJECTED = 50_000
REJECTED_TTL_MS = 600_000

# Peers
PROTOCOL_VERSION = 1
MAX_PEERS = 50
MAX_INBOUND = 34
MAX_OUTBOUND = MAX_PEERS - MAX_INBOUND  # apart, so that who dials in cannot crowd out whom we dial
MAX_FRAME_BYTES = 8 * 1024 * 1024  # a new view: a block, and a quorum of view changes with their certificates
MAX_SEEN = 100_000
MAX_PAGE_BLOCKS = 64
MAX_PAGE_BYTES = 4 * 1024 * 1024
MAX_ASKED_TXS = 1_000
MAX_PEER_ADDRESSES = 1_000
MAX_SEND_QUEUE_BYTES = 32 * 1024 * 1024  # a peer that reads slower than this is dropped

# The RPC
MAX_RPC_BODY_BYTES = 2 * 1024 * 1024
MAX_RPC_BATCH = 100  # calls in one request
MAX_RPC_CALLS = 1_024  # calls that run or wait at the same time; later ones are told to come again
MAX_RPC_WAIT_MS = 30_000
MAX_LISTED_COINS = 10_000  # of one answer

# Light proofs
MAX_PROOF_EPOCHS = 1_024  # epochs that one proof leads over; longer ways take several

# This machine
MAX_VERIFY_THREADS = 64  # that one batch of signatures is spread over

# The keystore: what a file may ask for, so that a hostile one cannot take all memory or time
MAX_KEYSTORE_BYTES = 1024 * 1024
MAX_KEYSTORE_OPS = 4  # argon2id passes
MAX_KEYSTORE_MEMORY = 256 * 1024 * 1024
