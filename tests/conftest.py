"""Settings and fixtures of all tests.

One thread, two JAX devices and quick compiling are set before any test imports an engine. Workers
inherit them, except for what the harness sets for each trial.
"""

import contextlib
import gc
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.machinery import PathFinder
from itertools import count
from pathlib import Path
from textwrap import dedent
from typing import Any

import psutil
import pytest
from threadpoolctl import threadpool_limits

from harness_native import cpu_digest

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
for _number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(_number) is signal.SIG_IGN:  # in the background of a script, or under nohup
        # A handler is not inherited: processes that tests start receive the signal.
        signal.signal(_number, lambda *_: None)
threadpool_limits(1)  # a plugin of pytest may have loaded a BLAS before this file
os.environ.setdefault("JAX_NUM_CPU_DEVICES", "2")  # for data-parallel trainers in this process
os.environ.setdefault(
    "XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
)

# Programs that JAX has compiled are kept for the other workers of pytest-xdist, for the processes
# that tests start, and for the next session. XLA's programs fit one kind of CPU.
_CACHES = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
PROGRAMS = _CACHES / "rnn-harness-tests" / f"xla-{cpu_digest()[:12]}"
MOST_PROGRAM_BYTES = 2 * 2**30
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(PROGRAMS))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_COMPILATION_CACHE_MAX_SIZE", "-1")

_SERVER_PATH = os.pathsep.join(
    [os.environ["PATH"], *map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin")))]
)
PASSWORD = "s3cret:word"


_FILE = pytest.StashKey[Path]()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Freeze all living objects before each file of tests.

    Every trial collects garbage twice. It would look at thousands of tests and at everything that
    the engines have compiled.
    """
    if item.session.stash.get(_FILE, None) != item.path:
        item.session.stash[_FILE] = item.path
        gc.collect()
        gc.freeze()


FRAMEWORKS = {"torch", "jax", "flax", "haiku", "equinox", "keras", "ray"}
NOT_QUICK = "it starts a Python process or imports a framework"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help=f"skip a test if {NOT_QUICK}")


class Quick:
    """With ``--quick``, whatever starts a Python process or imports a framework is skipped.

    Code of the harness may catch the exception that skips: a test that fails afterwards is skipped
    too, and so are the tests of its file whose fixtures fail.
    """

    def __init__(self) -> None:
        self.refused = False  # in the test of the moment
        self.files: set[Path] = set()  # in which something was refused
        start = subprocess.Popen.__init__

        def start_or_skip(process, command, *arguments, **options):
            program = command if isinstance(command, (str, os.PathLike)) else command[0]
            if Path(program).name.startswith("python"):
                self.refuse()
            start(process, command, *arguments, **options)

        subprocess.Popen.__init__ = start_or_skip
        sys.meta_path.insert(0, self)

    def refuse(self) -> None:
        self.refused = True
        pytest.skip(NOT_QUICK, allow_module_level=True)

    def find_spec(self, name, path=None, target=None):
        """Find a framework, whose loading is refused: it may be asked for, but not imported."""
        if name not in FRAMEWORKS:
            return None
        spec = PathFinder.find_spec(name, path)
        if spec is None:
            self.refused = True  # it is not installed: what fails without it is skipped
        else:
            spec.loader.exec_module = lambda module: self.refuse()
        return spec

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item, call):
        report = yield
        if self.refused:
            self.files.add(item.path)
        refused = item.path in self.files if call.when == "setup" else self.refused
        if report.failed and refused:
            report.outcome, report.longrepr = "skipped", (str(item.path), 0, NOT_QUICK)
        self.refused = self.refused and call.when != "teardown"
        return report


def pytest_configure(config: pytest.Config) -> None:
    controller = bool(getattr(config.option, "numprocesses", None))  # which starts its workers
    if config.getoption("--quick") and not controller:
        config.pluginmanager.register(Quick(), "quick")


def pytest_sessionstart(session: pytest.Session) -> None:
    """Delete the compiled programs of earlier sessions if they have become too many."""
    if "PYTEST_XDIST_WORKER" in os.environ or not PROGRAMS.exists():
        return
    if sum(path.stat().st_size for path in PROGRAMS.iterdir()) > MOST_PROGRAM_BYTES:
        shutil.rmtree(PROGRAMS)


@dataclass
class Server:
    """A PostgreSQL server for this test session only. It listens on loopback."""

    folder: Path
    port: int = 0

    def ctl(self, *arguments: str) -> None:
        data, log = self.folder / "data", self.folder / "log"
        _run_unprivileged("pg_ctl", "-D", str(data), "-w", "-l", str(log), *arguments)

    def start(self) -> None:
        options = f"-h 127.0.0.1 -p {self.port} -k '' -c fsync=off -c max_connections=40"
        self.ctl("start", "-o", options)

    def url(self, database: str, user: str = "harness", password: str = "s3cret%3Aword") -> str:
        return f"postgresql+psycopg://{user}:{password}@127.0.0.1:{self.port}/{database}"

    def execute(self, statement: str, database: str = "postgres") -> list[tuple]:
        import psycopg

        account = {"host": "127.0.0.1", "port": self.port, "user": "harness", "password": PASSWORD}
        with psycopg.connect(dbname=database, autocommit=True, **account) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []


def _run_unprivileged(program: str, *arguments: str) -> None:
    """Run a program of the server as another user: it refuses root."""
    user = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}
    command = [shutil.which(program, path=_SERVER_PATH), *arguments]
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    result = subprocess.run(command, cwd="/", check=False, **output, **user)
    assert result.returncode == 0, f"{program}: {result.stdout}"


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A server for the tests that ask for it. Each worker of pytest-xdist has its own."""
    pytest.importorskip(
        "psycopg", reason="psycopg is not installed: pip install 'rnn-harness[postgres]'"
    )
    if not shutil.which("pg_ctl", path=_SERVER_PATH) or not shutil.which(
        "initdb", path=_SERVER_PATH
    ):
        pytest.skip("no PostgreSQL server is installed: apt-get install postgresql")
    folder = Path(tempfile.mkdtemp(prefix="harness-postgres-"))
    (folder / "password").write_text(PASSWORD, encoding="utf-8")
    if os.geteuid() == 0:
        for path in (folder, folder / "password"):
            shutil.chown(path, "nobody", "nogroup")
    server = Server(folder)
    try:
        account = ["-U", "harness", "--auth=scram-sha-256", f"--pwfile={folder / 'password'}"]
        _run_unprivileged(
            "initdb", "-D", str(folder / "data"), *account, "--no-sync", "-E", "UTF8", "--locale=C"
        )
        server.port = _free_port()
        server.start()
        yield server
    finally:
        with contextlib.suppress(AssertionError):
            server.ctl("stop", "-m", "immediate")
        shutil.rmtree(folder, ignore_errors=True)


_numbers = count(1)


@pytest.fixture
def database(postgres) -> Iterator[str]:
    """The URL of a new, empty database."""
    name = f"store{next(_numbers)}"
    postgres.execute(f"CREATE DATABASE {name}")
    yield postgres.url(name)
    postgres.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=["sqlite", "postgresql"])
def location(request, tmp_path) -> str:
    """The location of a new store: a file, then a database."""
    if request.param == "sqlite":
        return str(tmp_path / "store.db")
    return request.getfixturevalue("database")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Debian's Chromium, driven by Playwright, which can start only once in a process."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: pip install playwright"
    )
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium is installed: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        flags = ["--no-sandbox", "--disable-background-networking"]
        chrome = driver.chromium.launch(executable_path=chromium, args=flags)
        yield chrome
        chrome.close()


@pytest.fixture
def children() -> Callable[[], list[psutil.Process]]:
    """Return a function that lists the living descendants which began after the test did."""

    def living() -> list[psutil.Process]:
        descendants = psutil.Process().children(recursive=True)
        return [child for child in descendants if child.status() != psutil.STATUS_ZOMBIE]

    before = living()  # the ranks of torch stay
    return lambda: [child for child in living() if child not in before]


@pytest.fixture
def install(tmp_path, monkeypatch):
    """A function that installs a distribution of one module for this test, as pip would."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)

    def install(module, source, *, entry_point=None, distribution=None):
        distribution = distribution or module.replace("_", "-")
        (tmp_path / f"{module}.py").write_text(dedent(source), encoding="utf-8")
        metadata = tmp_path / f"{distribution.replace('-', '_')}-1.0.dist-info"
        metadata.mkdir()
        metadata.joinpath("METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n", encoding="utf-8"
        )
        metadata.joinpath("entry_points.txt").write_text(
            f"[harness]\n{entry_point or module} = {module}\n", encoding="utf-8"
        )

    yield install
    for name in set(sys.modules) - before:
        if name.startswith("fake_"):
            del sys.modules[name]
