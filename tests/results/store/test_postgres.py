"""A store on a PostgreSQL server: messages, and lost servers, connections and rights."""

import contextlib
import socket
import sys
import threading

import pytest

from harness.contract import Record, StoreError, Trial
from harness.sweep.folders import checkpoint_folder
from harness_results.compare.sides import store_or_run
from harness_results.store.database import base as databases
from harness_results.store.runs import run_id_of
from harness_results.store.store import Store
from harness_results.text.passwords import without_password

TRIAL = Trial(backend="numpy", variant="loop", task="copy", cell="lstm", length=20)


def record(seed: int = 0) -> Record:
    return Record(TRIAL.model_copy(update={"seed": seed}), "ok", curves={"loss": [0.5, 0.25]})


@pytest.fixture
def stored(database):
    """The URL of a store with one record."""
    with Store.open(database) as store:
        store.add(record(), store.begin_run("harness run"))
    return database


def test_without_psycopg_the_fix_is_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(
        StoreError, match=r'needs psycopg.*pip install "rnn-harness\[postgres\]"'
    ) as caught:
        Store.open("postgresql+psycopg://u:secret@127.0.0.1:1/x")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["postgresql+psycopg2://u:secret@h/x", "postgresql+asyncpg://h/x"])
def test_another_driver_is_refused(url):
    with pytest.raises(StoreError, match=r"another driver: write postgresql\+psycopg://") as caught:
        Store.open(url)
    assert "secret" not in str(caught.value)


def test_another_kind_of_database_is_refused():
    with pytest.raises(StoreError, match=r"mysql.*SQLite files and PostgreSQL.*--store"):
        Store.open("mysql://u:secret@h/x")


def test_a_server_that_is_not_there_is_an_error_at_once():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        with pytest.raises(
            StoreError, match=r"cannot be reached: .*refused.*Start the server.*--store"
        ):
            Store.open(
                f"postgresql+psycopg://u@127.0.0.1:{listener.getsockname()[1]}/x?password=secret"
            )


def test_a_wrong_password_is_an_error_that_does_not_show_it(postgres, database):
    wrong = database.replace("s3cret%3Aword", "wr0ng")
    with pytest.raises(
        StoreError, match=r"harness:\*\*\*@.*password authentication failed.*PGPASSWORD"
    ) as caught:
        Store.open(wrong)
    assert "wr0ng" not in str(caught.value)


def test_a_database_that_is_not_there_is_named_with_the_fix(postgres):
    with pytest.raises(StoreError, match=r'"absent" does not exist. Make it \(createdb absent\)'):
        Store.open(postgres.url("absent"))


def test_a_user_who_may_only_read_is_told_before_anything_runs_and_can_read(postgres, stored):
    name = stored.rpartition("/")[2]
    for statement in (
        "DROP ROLE IF EXISTS reader",
        "CREATE ROLE reader LOGIN PASSWORD 'r'",
        "GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader",
    ):
        postgres.execute(statement, name)
    url = postgres.url(name, "reader", "r")
    with pytest.raises(
        StoreError, match=r"cannot be written \(permission denied.*GRANT.*TO reader.*--store"
    ):
        Store.open(url)
    with Store.open(url, create=False) as store:
        assert [record.status for record in store.launches()] == ["ok"]
    postgres.execute("DROP OWNED BY reader", name)


def test_a_database_that_takes_no_writes_is_told_and_can_be_read(postgres, stored):
    postgres.execute(
        f"ALTER DATABASE {stored.rpartition('/')[2]} SET default_transaction_read_only = on"
    )
    with pytest.raises(StoreError, match=r"cannot be written \(.*read-only.*--store"):
        Store.open(stored)
    with Store.open(stored, create=False) as store:
        assert len(store.launches()) == 1


def test_reading_can_change_nothing(stored):
    with Store.open(stored, create=False) as store, pytest.raises(StoreError, match="read-only"):
        store._database.run(lambda c: c.exec_driver_sql("DELETE FROM curves"))


@pytest.mark.parametrize("scheme", ["postgresql", "postgres"])
def test_the_driver_may_be_left_out(stored, scheme):
    with Store.open(stored.replace("postgresql+psycopg", scheme), create=False) as store:
        assert len(store.launches()) == 1


def test_a_password_is_never_stored_or_shown(postgres, stored):
    with Store.open(stored) as store:
        store.begin_run(f"harness run --store {stored}")
        (_, run) = store.runs()
        with pytest.raises(Exception, match=r"\*\*\*@.*has no run 9") as caught:
            run_id_of("9", store.runs(), store.name)
        side = store_or_run(f"{stored}@1", "")
    assert run.command == f"harness run --store {without_password(stored)}"
    assert "s3cret" not in run.command + str(caught.value) + side.name + store.name
    assert postgres.url("x", "u", "p").replace(":p@", ":***@") == without_password(
        postgres.url("x", "u", "p")
    )


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a://u:p@ss@h/d b://v:q@h", "a://u:***@h/d b://v:***@h"),
        ("postgresql://h/d?user=u&password=p%20q&x=1", "postgresql://h/d?user=u&password=***&x=1"),
        ("store.db@3 http://h:80/x@y", "store.db@3 http://h:80/x@y"),
    ],
)
def test_passwords_in_urls_are_masked_and_nothing_else(text, shown):
    assert without_password(text) == shown


@pytest.mark.parametrize(
    ("store", "folder"),
    [
        ("postgresql+psycopg://u:p@lab.example:5432/bench", "lab.example-bench.checkpoints"),
        ("postgresql:///bench/../x", "bench_.._x.checkpoints"),
        ("sqlite:///some/file.db", "some/file.db.checkpoints"),
        ("file.db", "file.db.checkpoints"),
    ],
)
def test_checkpoints_of_a_server_are_kept_here_and_of_a_file_beside_it(
    store, folder, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert checkpoint_folder(store) == tmp_path / folder


def seeds(url: str) -> list[int]:
    with Store.open(url, create=False) as store:
        return [record.trial.seed for record in store.launches()]


def test_a_connection_that_was_cut_between_two_records_costs_nothing(postgres, stored):
    with Store.open(stored) as store:
        run_id = store.begin_run("x")
        for seed in (1, 2):
            postgres.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = 'harness'"
            )
            store.add(record(seed), run_id)
    assert seeds(stored) == [0, 1, 2]


def test_a_server_that_starts_again_during_a_run_costs_nothing(postgres, stored):
    with Store.open(stored) as store:
        run_id = store.begin_run("x")
        postgres.ctl("stop", "-m", "immediate")
        again = threading.Timer(1.0, postgres.start)
        again.start()
        try:
            store.add(record(1), run_id)
        finally:
            again.join()
    assert seeds(stored) == [0, 1]


def test_a_server_that_does_not_come_back_is_an_error_that_keeps_what_was_stored(
    postgres, stored, monkeypatch
):
    monkeypatch.setattr(databases, "PAUSE_SECONDS", 0.001)
    with Store.open(stored) as store:
        run_id = store.begin_run("x")
        postgres.ctl("stop", "-m", "immediate")
        try:
            with pytest.raises(StoreError, match=r"cannot be reached.*Start the server"):
                store.add(record(1), run_id)
        finally:
            postgres.start()
    assert seeds(stored) == [0]


class Proxy(threading.Thread):
    """Stands between client and server, and once loses a COMMIT, or the answer to it."""

    def __init__(self, port: int, *, loses: str) -> None:
        super().__init__(daemon=True)
        self.server, self.loses, self.lost = ("127.0.0.1", port), loses, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.armed = False

    def run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(self.server) as server:
            replies = threading.Thread(target=self.forward, args=(server, client), daemon=True)
            replies.start()
            while message := self.receive(client):
                if self.armed and b"COMMIT\0" in message:
                    self.armed, self.lost = False, self.lost + 1
                    self.cut(client, server, replies, message)
                    return
                server.sendall(message)

    def cut(self, client, server, replies, message) -> None:
        self.mute = client if self.loses == "answer" else None
        if self.loses == "answer":
            server.sendall(message)
            server.settimeout(5)
            self.committed.wait(5)
        client.shutdown(socket.SHUT_RDWR)
        server.shutdown(socket.SHUT_RDWR)
        replies.join()

    mute: socket.socket | None = None
    committed: threading.Event

    def forward(self, source: socket.socket, target: socket.socket) -> None:
        while message := self.receive(source):
            if target is self.mute:
                self.committed.set()
            else:
                target.sendall(message)

    @staticmethod
    def receive(source: socket.socket) -> bytes:
        try:
            return source.recv(65536)
        except OSError:
            return b""


@pytest.mark.parametrize("loses", ["question", "answer"])
def test_a_connection_that_is_lost_in_a_commit_neither_loses_nor_doubles_the_record(
    postgres, stored, loses
):
    proxy = Proxy(postgres.port, loses=loses)
    proxy.committed = threading.Event()
    proxy.start()
    with Store.open(stored.replace(f":{postgres.port}/", f":{proxy.port}/")) as store:
        run_id = store.begin_run("x")
        proxy.armed = True
        store.add(record(1), run_id)
        store.add(record(2), run_id)
    proxy.listener.close()
    assert proxy.lost == 1
    assert seeds(stored) == [0, 1, 2]
