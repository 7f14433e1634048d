"""One network, several questions: a late joiner, bad transactions, and the commands of a person and an operator."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.processes.conftest import Command
from tests.processes.helpers import WAIT_MS, Purse, assert_same_chain, height, send, states, wait_committed, wait_height
from timecoin import params
from timecoin.cli.network import Network
from timecoin.keys import address
from timecoin.ledger.checks import REASONS
from timecoin.ledger.transactions import Output, Transaction, outpoint
from timecoin.wallet.client import RpcFailure


def test_a_full_node_joins_late(shared: Network, purse: Purse) -> None:
    before = [purse.transfer() for _ in range(10)]
    send(shared.nodes[0], before)
    wait_committed(shared.nodes[:1], before)
    late = shared.add_full_node()
    try:
        late.start()
        late.wait_ready()
        tip = height(shared.nodes[0])
        assert wait_height(late, tip) >= tip
        assert assert_same_chain([*shared.nodes]) >= tip
        with late.client() as client:
            assert client.call("getconsensusinfo")["me"] is None
        # It relays: what is handed to it becomes final, there and everywhere.
        after = [purse.transfer() for _ in range(5)]
        send(late, after)
        assert all(state["final"] for state in states(late, after, WAIT_MS))
        wait_committed([late, shared.nodes[3]], after)
        assert_same_chain(shared.nodes)
    finally:
        late.terminate()
        assert late.wait() == 0
        late.close()
        shared.nodes.remove(late)


def test_bad_transactions_have_their_codes_and_lock_nothing(shared: Network, purse: Purse) -> None:
    coin, key = purse.take()
    receiver = shared.keys[0].public
    chain_id = shared.genesis.chain_id

    def signed(*outputs: Output, inputs: list[bytes] | None = None) -> Transaction:
        tx = Transaction.create(inputs or [coin.outpoint], outputs)
        return tx.signed(chain_id, [key] * len(tx.inputs))

    good = purse.transfer((coin, key))
    stranger = next(other for other in shared.keys if other.public != key.public)
    bad = {
        "bad-signature": Transaction.create([coin.outpoint], good.outputs).signed(chain_id, [stranger]).encoded,
        "missing-input": signed(Output(1, receiver), inputs=[outpoint(b"\7" * 32, 0)]).encoded,
        "value-overflow": signed(Output(2**64 - 1, receiver)).encoded,
        "sum-overflow": signed(Output(params.MAX_MONEY, receiver), Output(params.MAX_MONEY, receiver)).encoded,
        "zero-value": signed(Output(0, receiver)).encoded,
        "duplicate-input": signed(Output(1, receiver), inputs=[coin.outpoint] * 2).encoded,
        "inputs-below-outputs": signed(Output(coin.value + 1, receiver)).encoded,
        "low-fee": signed(Output(coin.value, receiver)).encoded,
        "coinbase-not-allowed": Transaction.coinbase(1, [Output(1, receiver)]).encoded,
        "oversized": good.encoded + bytes(params.MAX_TX_BYTES),
    }
    codes = set()
    with shared.nodes[0].client() as client:
        for reason, encoded in bad.items():
            with pytest.raises(RpcFailure) as caught:
                client.call("sendrawtransaction", encoded.hex())
            assert (caught.value.code, caught.value.reason) == (REASONS[reason][0], reason)
            assert str(caught.value)
            codes.add(caught.value.code)
        assert len(codes) == len(bad)
        with pytest.raises(RpcFailure) as caught:
            client.call("sendrawtransaction", good.encoded.hex()[:-2])
        assert (caught.value.code, caught.value.reason) == (-22, "malformed")
        found = client.call("gettxout", coin.outpoint[:32].hex(), int.from_bytes(coin.outpoint[32:], "little"))
        assert found["locked_by"] is None
        # The coin is as good as before; once it is spent, spending it again is refused.
        client.call("sendrawtransaction", good.encoded.hex())
        assert client.call("gettxfinality", good.txid.hex(), False, WAIT_MS)["final"]
        wait_committed(shared.nodes[:1], [good])
        with pytest.raises(RpcFailure) as caught:
            client.call("sendrawtransaction", purse.transfer((coin, key), receiver=3).encoded.hex())
        assert caught.value.reason == "missing-input"


def test_finality_has_a_certificate_that_anyone_can_check(shared: Network, purse: Purse) -> None:
    from timecoin.consensus.certificates import VoteCertificate, check_finality_signatures

    tx = purse.transfer()
    send(shared.nodes[1], [tx])
    with shared.nodes[1].client() as client:
        state = client.call("gettxfinality", tx.txid.hex(), True, WAIT_MS)
        operators = [bytes.fromhex(item["operator"]) for item in client.call("masternodelist")]
    assert state["certificate"] is not None
    certificate = VoteCertificate.decode(bytes.fromhex(state["certificate"]))
    assert certificate.txid == tx.txid
    check_finality_signatures(certificate, chain_id=shared.genesis.chain_id, epoch=0, operators=operators)


def test_sendtoaddress_and_the_commands(shared: Network, timecoin: Command, tmp_path: Path) -> None:
    node = shared.nodes[2]
    (tmp_path / "passphrase").write_text("correct horse\n")
    mine = ["--keystore", tmp_path / "wallet.keystore", "--passphrase-file", tmp_path / "passphrase"]
    made = timecoin("wallet", "new", *mine)
    assert made.returncode == 0, made.stderr
    owner = made.stdout.strip()
    assert timecoin("wallet", "address", *mine).stdout.strip() == owner

    sent = timecoin("rpc", "--data-dir", node.data_dir, "sendtoaddress", owner, "2.5")
    assert sent.returncode == 0, sent.stderr
    settled = timecoin("rpc", "--data-dir", node.data_dir, "gettxfinality", sent.stdout.strip(), "false", WAIT_MS)
    assert json.loads(settled.stdout)["final"] is True
    assert timecoin("wallet", "balance", "--data-dir", node.data_dir, owner).stdout == "2.50000000\n"

    receiver = address(shared.keys[5].public)
    paid = timecoin("wallet", "send", "--data-dir", node.data_dir, *mine, receiver, "1.25")
    assert paid.returncode == 0, paid.stderr
    fee = params.TX_HEADER_BYTES + 100 + 2 * params.PAYMENT_BYTES
    left = f"1.{25_000_000 - fee:08d}\n"
    assert timecoin("wallet", "balance", "--data-dir", node.data_dir, *mine).stdout == left
    broke = timecoin("wallet", "send", "--data-dir", node.data_dir, *mine, receiver, "1.25")
    assert broke.returncode == 1
    assert "can be spent" in broke.stderr

    status = json.loads(timecoin("node", "status", "--json", "--data-dir", node.data_dir).stdout)
    assert (status["masternodes"], status["quorum"], status["peers"] > 0) == (4, 3, True)


def test_node_stop_and_start_again(shared: Network, timecoin: Command) -> None:
    node = shared.nodes[1]
    done = timecoin("node", "stop", "--data-dir", node.data_dir)
    assert done.returncode == 0, done.stderr
    assert node.wait() == 0
    assert timecoin("rpc", "--data-dir", node.data_dir, "getblockcount").returncode == 3
    node.start()
    node.wait_ready()
    tip = height(shared.nodes[0])
    assert wait_height(node, tip) >= tip
