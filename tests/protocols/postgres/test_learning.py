"""Which statements prepared before are learned from other connections, and which never."""

from __future__ import annotations

import pytest

from kebpf.protocols.base import Exchange, Mark, Sender
from kebpf.protocols.postgres import POSTGRES
from kebpf.protocols.postgres import messages as m
from kebpf.protocols.postgres.learning import is_telling
from kebpf.protocols.postgres.pairing import PostgresPairer
from kebpf.protocols.postgres.writer import write, write_all

SQL = "SELECT name FROM users WHERE id = $1"
PGX = "stmtcache_0f5a8b6d1c2e9347a6b8c0d2e4f60718293a4b5c6d7e8f90"
READY = write(m.ReadyForQuery("I"))
TEXT, INT8 = 25, 20


@pytest.mark.parametrize(
    "name",
    [PGX, "fetch-user", "q_5f4dcc3b5aa765d61d8327deb882cf99", "insertOrder", "user by id"],
)
def test_what_says_what_it_stands_for(name: str) -> None:
    assert is_telling(name)


@pytest.mark.parametrize(
    "name",
    ["", "_pg3_0", "__asyncpg_stmt_1__", "__asyncpg_stmt_a__", "__asyncpg_stmt_fade__", "S_1", "1",
     "sqlx_s_12", "lrupsc_3_0", "a1", "stmt12", "_auto7", "py:0xab", "00000000000000000000000a"],
)  # fmt: skip
def test_what_may_be_a_counter(name: str) -> None:
    assert not is_telling(name)


class Server:
    """Connections to one server that share what they learn."""

    def __init__(self) -> None:
        self.lore = PostgresPairer().make_lore()

    def connect(self) -> PostgresPairer:
        pairer = POSTGRES.make_pairer(joined=True)
        assert isinstance(pairer, PostgresPairer)
        pairer.learn_from(self.lore)
        return pairer


def talk(pairer: PostgresPairer, asked: list[m.FrontendMessage], answered: bytes) -> list[Exchange]:
    """One exchange, and silence until nothing is held back."""
    given = pairer.receive_data(Sender.CLIENT, write_all(asked), Mark(1))
    given += pairer.receive_data(Sender.SERVER, answered + READY, Mark(2))
    return given + pairer.release_idle(Mark(10_000_000_000))


def prepare(
    pairer: PostgresPairer, name: str = PGX, sql: str = SQL, types: tuple[int, ...] = (INT8,)
) -> None:
    asked: list[m.FrontendMessage] = [m.Parse(name, sql), m.Describe("S", name), m.Sync()]
    described = write(m.ParameterDescription(list(types))) + write(m.NoData())
    talk(pairer, asked, write(m.ParseComplete()) + described)


def ask(pairer: PostgresPairer, name: str = PGX, *parameters: bytes) -> Exchange:
    asked: list[m.FrontendMessage] = [
        m.Bind("", name, [], list(parameters or (b"7",)), []),
        m.Execute(""),
        m.Sync(),
    ]
    (found,) = talk(pairer, asked, write(m.BindComplete()) + write(m.CommandComplete("SELECT 0")))
    return found


def test_another_connection_tells() -> None:
    server = Server()
    old = server.connect()
    assert ask(old).problem == f'statement "{PGX}" was prepared before the recording began'
    prepare(server.connect())
    found = ask(old)
    assert (found.problem, found.request["sql"]) == (None, SQL)
    assert found.request["parameters"] == ["7"]
    assert found.request["parameter_types"] == [INT8]


def test_a_counter_tells_nothing() -> None:
    server = Server()
    prepare(server.connect(), "_pg3_0")
    assert ask(server.connect(), "_pg3_0").problem is not None


def test_connections_that_disagree_tell_nothing() -> None:
    server = Server()
    prepare(server.connect(), "by-id-key")
    old = server.connect()
    assert ask(old, "by-id-key").problem is None
    prepare(server.connect(), "by-id-key", "DELETE FROM users WHERE id = $1")
    assert ask(old, "by-id-key").problem is not None  # though it was learned before
    prepare(server.connect(), "by-id-key")
    assert ask(server.connect(), "by-id-key").problem is not None


def test_other_types_of_parameters_disagree() -> None:
    server = Server()
    prepare(server.connect())
    prepare(server.connect(), types=(TEXT,))
    assert ask(server.connect()).problem is not None


def test_the_parameters_must_fit() -> None:
    server = Server()
    prepare(server.connect())
    assert ask(server.connect(), PGX, b"7", b"8").problem is not None


def test_what_was_closed_here_is_not_learned() -> None:
    server = Server()
    prepare(server.connect())
    one = server.connect()
    assert ask(one).problem is None
    talk(one, [m.Close("S", PGX), m.Sync()], write(m.CloseComplete()))
    assert ask(one).problem is not None


def test_nothing_is_learned_after_bytes_of_the_client_were_lost() -> None:
    server = Server()
    prepare(server.connect())
    one = server.connect()
    assert ask(one).problem is None
    one.receive_gap(Sender.CLIENT, 0, Mark(3))
    one.receive_data(Sender.SERVER, READY, Mark(4))
    assert ask(one).problem is not None
