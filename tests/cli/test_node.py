from pathlib import Path

from tests.support.serving import run


async def test_a_node_that_no_worker_started_says_so_in_a_sentence(tmp_path: Path) -> None:
    for said in ("", "{}\n", "[" * 10 + "\n"):
        code, out, errors = await run(tmp_path / "data", "node", stdin=said)
        assert code == 1
        assert not out
        assert errors.startswith("roomledger: a conference worker starts nodes; nothing did here")
        assert "Traceback" not in errors


async def test_a_node_whose_worker_is_gone_does_not_begin(tmp_path: Path) -> None:
    order = '{"node": "n1", "worker": "c1", "parent": 1, "settings": {}}\n'
    code, _, errors = await run(tmp_path / "data", "node", stdin=order)
    assert code == 1
    assert errors == "the worker of this node has gone already\n"
