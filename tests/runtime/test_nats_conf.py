from roomledger.runtime.nats_binary import find_nats_conf
from roomledger.runtime.nats_conf import Names, nats_conf


def test_with_the_default_names_it_is_what_it_is() -> None:
    assert nats_conf(Names()) == find_nats_conf().read_text()


def test_each_name_in_a_permission_is_the_clusters() -> None:
    lines = nats_conf(Names("EAST", "east", "told")).splitlines()
    left = [line.strip() for line in lines if "ROOMLEDGER" in line and not line.strip().startswith("#")]
    # Accounts and the variables of passwords keep their names.
    kept = ("account: ROOMLEDGER,", "ROOMLEDGER {", "$ROOMLEDGER_NATS_")
    assert [line for line in left if not any(each in line for each in kept)] == []
    text = "\n".join(lines)
    for subject in (
        "$JS.API.STREAM.PURGE.OBJ_EAST_SNAPSHOTS",
        "$JS.API.DIRECT.GET.EAST.>",
        "$JS.API.STREAM.MSG.GET.EAST",
        "east.>",
        "told.>",
    ):
        assert f'"{subject}"' in text
    for subject in ("ledger.>", "feed.>"):
        assert f'"{subject}"' not in text
