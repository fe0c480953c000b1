"""``harness report --serve``: one page, as new as its stores, for this machine only."""

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner

from harness.cli.main import cli
from harness.contract import HarnessError, Record, StoreError, Trial, UsageError
from harness_results.serving.page import live, live_page, waiting
from harness_results.serving.server import Server
from harness_results.serving.watched import Watched, digest_of
from harness_results.store.store import Store

POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"
)
# a stand-in for the report's page, which needs the libraries of charts
STAND_IN = f"""
import sys, types
POLICY = {POLICY!r}
def page(records, title, stores, per_seed):
    title = title or stores
    row = "<p class='trial'>T = {{}} {{}} points</p>"
    rows = "".join(row.format(r.trial.length, len(r.curves["loss"])) for r in records)
    part = "<article><h3>length {{}}</h3><details><summary>a trial</summary>x</details></article>"
    rows += "".join(part.format(record.trial.length) for record in reversed(records))
    tasks = "<label>task <select id='task'><option>all</option><option>copy</option></select>"
    tasks += "</label>"
    box = "<input type='checkbox' name='T' value='{{}}' aria-label='T'>"
    boxes = "".join(box.format(record.trial.length) for record in records)
    table = "<table aria-label='t'><tr><th><button class='sorted'>T</button></table>"
    buttons = f"<button id='theme' aria-pressed='false'>Dark</button>{{table}}"
    fold = "<details id='fold'><summary>more</summary>more</details>"
    script = (
        "document.getElementById('task').addEventListener('change',"
        " e => {{document.title = e.target.value}});"
        "const theme = document.getElementById('theme'), head = document.querySelector('th');"
        "let clicks = 0; theme.addEventListener('click',"
        " () => theme.setAttribute('aria-pressed', theme.ariaPressed !== 'true'));"
        "head.firstChild.addEventListener('click', () => head.setAttribute('aria-sort',"
        " ['ascending', 'descending'][clicks++]));"
    )
    return (f"<!doctype html><html lang='en'><head><meta charset='utf-8'>"
            f"<meta http-equiv='Content-Security-Policy' "
            f'content="{{POLICY}}"><link rel="icon" href="data:,"><title>{{title}}</title></head>'
            f"<body><main>"
            f"{{tasks}}{{boxes}}{{buttons}}{{fold}}{{rows}}<div style='height:5000px'></div></main>"
            f"<script>{{script}}</script></body></html>")
sys.modules["harness_results.page"] = types.ModuleType("harness_results.page")
sys.modules["harness_results.page.build"] = types.SimpleNamespace(page=page)
sys.modules["harness_results.page.units"] = types.SimpleNamespace(
    Units=object, NetworkUnits=object
)
from harness.__main__ import main
main()
"""


def record(length=20) -> Record:
    trial = Trial(backend="numpy", variant="loop", task="copy", cell="lstm", length=length)
    return Record(trial, "ok", figures={"loss_final": 0.5}, curves={"loss": [2.0, 1.0, 0.5]})


def add(path, *lengths: int):
    with Store.open(path) as store:
        run_id = store.begin_run("harness run")
        for length in lengths:
            store.add(record(length), run_id)
    return path


@contextmanager
def serving(*arguments: object, program: str = STAND_IN):
    """Start ``harness report --serve`` and give the process and its port."""
    command = [sys.executable, "-c", program, "report", "--serve", *map(str, arguments)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            first = process.stderr.readline()
            match = re.fullmatch(
                r"the report of .+ is at http://127\.0\.0\.1:(\d+)/ until Ctrl-C\n", first
            )
            assert match, first + process.stderr.read()
            yield process, int(match[1])
        finally:
            process.kill()


@pytest.fixture(scope="module")
def stored(tmp_path_factory) -> Path:
    return add(tmp_path_factory.mktemp("served") / "s.db", 20, 30)


@pytest.fixture(scope="module")
def port(stored):
    with serving(stored) as (_, port):
        yield port


def ask(port: int, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(request)
        answer = b""
        while some := connection.recv(65536):
            answer += some
    return answer


def get(port: int, path: str = "/", method: str = "GET", host: str | None = None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request(method, path, headers={} if host is None else {"Host": host})
    answer = connection.getresponse()
    return answer, answer.read().decode()


def test_the_page_of_the_store_is_served(port, stored):
    answer, page = get(port)
    assert answer.status == 200
    assert re.findall(r"T = \d+ \d points", page) == ["T = 20 3 points", "T = 30 3 points"]
    assert "<title>s.db</title>" in page
    assert page.count("connect-src 'self'; default-src 'none'; script-src") == 1
    assert (
        re.search(r'id="live" role="status" data-digest="(\w+)"', page)[1]
        == get(port, "/digest")[1]
    )
    assert dict(answer.headers) == {
        "Server": "harness",
        "Date": answer.headers["Date"],
        "Content-Type": "text/html; charset=utf-8",
        "Content-Length": str(len(page.encode())),
        "Cache-Control": "no-store",
        "Content-Security-Policy": "frame-ancestors 'none'",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }


def test_a_head_has_the_headers_alone(port):
    answer, body = get(port, method="HEAD")
    assert (answer.status, body) == (200, "")
    assert answer.headers["Content-Length"] == get(port)[0].headers["Content-Length"]


@pytest.mark.parametrize(
    "path",
    [
        "/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/..%2f..%2fetc%2fpasswd",
        "//etc/passwd", "/etc/passwd", "/s.db", "/?", "/digest/", "/index.html", "/live.js", "*",
        "http://127.0.0.1/", "/\\..\\..\\etc\\passwd", "/.", "etc/passwd",
    ],
)  # fmt: skip
def test_nothing_else_is_there(port, path):
    answer = ask(port, f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.0 404 ")
    assert answer.endswith(b"\r\n\r\nthere is only /\n")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT"])
def test_other_methods_are_refused(port, method):
    answer, body = get(port, method=method)
    assert answer.status == 501
    assert "T = 20" not in body


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost@evil", "127.0.0.2", "", "[::1]"]
)
def test_another_name_for_this_machine_is_refused(port, host):
    for path in ("/", "/digest"):
        answer, body = get(port, path, host=host)
        assert (answer.status, body) == (403, "only as localhost or 127.0.0.1\n")


def test_no_name_or_two_names_are_refused(port):
    for lines in (b"", b"Host: localhost\r\nHost: evil.example\r\n"):
        assert ask(port, b"GET / HTTP/1.1\r\n" + lines + b"\r\n").startswith(b"HTTP/1.0 403 ")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "127.0.0.1:1"])
def test_this_machine_by_name_is_answered(port, host):
    assert get(port, host=host)[0].status == 200


def test_other_addresses_of_this_machine_refuse(port):
    own = {
        address.address
        for addresses in psutil.net_if_addrs().values()
        for address in addresses
        if address.family == socket.AF_INET
    }
    for address in {"127.0.0.2", *own} - {"127.0.0.1"}:
        with pytest.raises(OSError, match=r"refused|unreachable"):
            socket.create_connection((address, port), timeout=10).close()


def test_a_client_that_says_nothing_or_rubbish_stops_no_other(port):
    with socket.create_connection(("127.0.0.1", port)):
        assert b"400" in ask(port, b"\xff\xfe rubbish \x00\r\n\r\n")
        assert get(port)[0].status == 200


def changed(port: int, before: str) -> str:
    for _ in range(300):
        if (digest := get(port, "/digest")[1]) != before:
            return digest
        time.sleep(0.1)
    raise AssertionError("the digest stays the same")


def test_a_new_record_is_shown_and_the_store_is_not_written(tmp_path):
    stored = add(tmp_path / "s.db", 20)
    with serving(stored) as (_, port):
        content, names = stored.read_bytes(), sorted(tmp_path.iterdir())
        before = get(port, "/digest")[1]
        assert "T = 40" not in get(port)[1]
        assert stored.read_bytes() == content
        assert sorted(tmp_path.iterdir()) == names
        add(stored, 40)
        changed(port, before)
        assert "T = 40" in get(port)[1]


def test_a_sweep_writes_while_the_page_is_asked_for(tmp_path):
    stored = add(tmp_path / "s.db", 20)
    with serving(stored) as (_, port):
        stop = threading.Event()

        def hammer():
            while not stop.is_set():
                get(port)
                get(port, "/digest")

        thread = threading.Thread(target=hammer)
        thread.start()
        try:
            add(stored, *range(100, 130))
        finally:
            stop.set()
            thread.join()
        for _ in range(300):
            if get(port)[1].count("T = ") == 31:
                break
            time.sleep(0.1)
        else:
            raise AssertionError("the page has not all records")


def test_before_the_first_record_the_page_waits(tmp_path):
    stored = tmp_path / "a <b> & c.db"
    with Store.open(stored):
        pass
    with serving(stored) as (_, port):
        page = get(port)[1]
        assert "No trial has ended yet" in page
        assert "<b>" not in page
        before = get(port, "/digest")[1]
        add(stored, 20)
        changed(port, before)
        assert "T = 20" in get(port)[1]


def test_readers_that_leave_before_they_are_answered_do_not_end_it(stored):
    with serving(stored) as (process, port):
        for path in ("/", "/digest") * 20:
            with socket.create_connection(("127.0.0.1", port)) as connection:
                connection.sendall(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
        assert get(port)[0].status == 200
        assert process.poll() is None


def test_a_page_that_cannot_be_shown_says_why_and_asks_again(tmp_path):
    stored = add(tmp_path / "s.db", 20)
    with serving(stored) as (_, port):
        away = stored.rename(tmp_path / "away.db")
        answer, body = get(port)
        assert (answer.status, answer.headers["Content-Type"]) == (503, "text/html; charset=utf-8")
        assert "there is no store " in body
        assert '<meta http-equiv="refresh" content="3">' in body
        away.rename(stored)
        assert get(port)[0].status == 200


def test_a_page_that_breaks_is_an_error_of_that_answer(tmp_path):
    stored = add(tmp_path / "s.db", 20)
    broken = STAND_IN.replace("    rows = ", "    records[1:] and 1 / 0\n    rows = ")
    with serving(stored, program=broken) as (process, port):
        add(stored, 30)
        time.sleep(2.1)  # until a new page may be made
        answer, body = get(port)
        assert answer.status == 500
        assert "internal error: ZeroDivisionError" in body
        assert "Traceback" not in body
        assert get(port, "/digest")[0].status == 200
        process.kill()
        assert "ZeroDivisionError" in process.stderr.read()


def test_a_store_that_cannot_be_read_any_more_is_an_error_of_the_server(tmp_path):
    stored = add(tmp_path / "s.db", 20)
    with serving(stored) as (_, port):
        stored.unlink()
        answer, body = get(port, "/digest")
        assert answer.status == 503
        assert body.startswith("there is no store ")


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_it_well_and_quietly(stored, number):
    with serving(stored) as (process, port):
        with socket.create_connection(("127.0.0.1", port)):  # somebody is there
            get(port)
            process.send_signal(number)
            out, err = process.communicate(timeout=60)
        assert (process.returncode, out, err) == (0, "", "")
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", port)).close()


def test_the_last_run_alone_is_served_and_followed(tmp_path):
    stored = add(tmp_path / "s.db", 20)
    with serving(stored, "--run", "last") as (_, port):
        before = get(port, "/digest")[1]
        add(stored, 50)
        changed(port, before)
        assert re.findall(r"T = (\d+)", get(port)[1]) == ["50"]


def invoke(*arguments):
    result = CliRunner().invoke(cli, ["report", *map(str, arguments)], standalone_mode=False)
    raise result.exception or AssertionError(result.output)


def test_a_port_that_is_taken_is_an_error():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        number = other.getsockname()[1]
        with pytest.raises(
            UsageError, match=rf"port {number} of 127\.0\.0\.1 is in use: choose another --port"
        ):
            Server(Watched(str, str), number)


def test_the_port_can_be_chosen(stored):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number = free.getsockname()[1]
    with serving(stored, "--port", number) as (_, port):
        assert port == number


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--port", "8000"], "--port is the port of --serve"),
        (["--serve", "-f", "csv"], "--serve and --format exclude each other"),
        (["--serve", "-o", "x"], "--serve and --output exclude each other"),
        (["--serve", "--relative", "x"], "--serve and --relative exclude each other"),
        (["--serve", "--run", "first"], "'first' is not a run: write a number, last or last~1"),
        (["--serve", "--port", "0"], "0 is not in the range"),
    ],
)
def test_options_that_say_nothing_are_refused(stored, arguments, message):
    with pytest.raises(Exception, match=message):
        invoke(stored, *arguments)


def test_the_filters_of_a_report_hold_for_the_page_that_is_served(tmp_path):
    stored = add(tmp_path / "s.db", 20, 30)
    with serving(stored, "-T", "30") as (_, port):
        assert re.findall(r"T = (\d+)", get(port)[1]) == ["30"]


def test_a_store_that_is_not_there_is_an_error_at_once(tmp_path):
    with pytest.raises(StoreError, match="there is no store"):
        invoke(tmp_path / "absent.db", "--serve")


def test_a_password_is_not_shown(database):
    add(database, 20)
    command = [sys.executable, "-c", STAND_IN, "report", "--serve", database]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        line = process.stderr.readline()
        page = get(int(re.search(r"127\.0\.0\.1:(\d+)/ until", line)[1]))[1]
        process.kill()
    assert "s3cret" not in line + page
    assert "harness:***@127.0.0.1" in line
    assert "T = 20" in page


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_a_page_is_made_once_for_a_digest_and_not_too_often():
    clock, state, built = Clock(), ["a"], []

    def build(digest):
        built.append(digest)
        clock.now += 1.0
        return digest

    watched = Watched(lambda: state[0], build, clock, clock)
    assert [watched.page(), watched.page(), watched.digest()] == [b"a", b"a", "a"]
    for new, old, ended, pause in (
        ("b", "a", 1, 2),
        ("c", "b", 4.1, 20),
    ):  # each page takes a second
        state[0] = new
        clock.now = ended + pause - 0.1
        assert [watched.digest(), watched.page()] == [old, old.encode()]
        clock.now = ended + pause + 0.1
        assert [watched.digest(), watched.page()] == [new, new.encode()]
    assert built == ["a", "b", "c"]


def test_a_page_that_cannot_be_made_is_tried_again():
    pages = iter([StoreError("locked"), "page"])

    def build(_):
        page = next(pages)
        if isinstance(page, str):
            return page
        raise page

    watched = Watched(lambda: "a", build)
    with pytest.raises(StoreError, match="locked"):
        watched.page()
    assert watched.page() == b"page"


def test_a_digest_changes_with_each_record_and_run(location):
    seen = []
    with Store.open(location) as store:
        seen.append(digest_of([location]))
        run_id = store.begin_run("x")
        seen.append(digest_of([location]))
        for _ in range(2):
            store.add(record(), run_id)
            seen.append(digest_of([location]))
    assert len(set(seen)) == 4
    assert digest_of([location]) == seen[-1]
    assert digest_of([location, location]) not in seen


def test_another_store_with_as_many_records_has_another_digest(tmp_path):
    stored = add(tmp_path / "a.db", 20)
    before = digest_of([stored])
    add(tmp_path / "b.db", 30).replace(stored)
    assert digest_of([stored]) != before


def test_a_page_without_a_policy_or_an_end_is_not_served():
    for page in (
        "<html><head></head><body></body></html>",
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
    ):
        with pytest.raises(HarnessError, match="no content security policy, or no end"):
            live(page, "a")


def test_the_end_of_the_page_is_the_last_one():
    policy = f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
    page = f"{policy}<pre>&lt;</body></pre></body></html>"
    assert live(page, "a").count("data-digest") == 1
    assert live(page, "a").rindex("</pre>") < live(page, "a").index("data-digest")


def test_the_waiting_page_takes_no_markup_from_a_name():
    assert "<img" not in live_page([], "<img src=x>", "a")
    assert "<img" not in waiting("<img src=x>", "<img src=y>")


@pytest.fixture
def browser_page(browser):
    page = browser.new_page(viewport={"width": 1000, "height": 700})
    page.set_default_timeout(120_000)
    yield page
    page.close()


@pytest.mark.browser
def test_a_browser_sees_a_new_trial_where_it_was(tmp_path, browser_page):
    stored = add(tmp_path / "s.db", 30)
    complaints, requests = [], []
    browser_page.on("console", lambda message: complaints.append(message.text))
    browser_page.on("pageerror", lambda error: complaints.append(str(error)))
    browser_page.on("request", lambda request: requests.append(request.url))
    with serving(stored) as (process, port):
        browser_page.goto(f"http://127.0.0.1:{port}/")
        browser_page.select_option("#task", "copy")
        browser_page.check("input[value='30']")
        browser_page.click("#theme")
        browser_page.click("th button", click_count=2)
        browser_page.click("#fold summary")
        browser_page.click("article:has-text('length 30') summary")
        browser_page.focus("th button")
        browser_page.evaluate("scrollTo(0, 1234)")
        assert browser_page.locator(".trial").count() == 1
        add(stored, 20, 40)
        browser_page.locator("text=T = 40").wait_for(state="attached")
        browser_page.wait_for_function("scrollY === 1234 && document.title === 'copy'")
        assert browser_page.input_value("#task") == "copy"
        checked = "[...document.querySelectorAll('input')].map((one) => [one.value, one.checked])"
        assert browser_page.evaluate(checked) == [["30", True], ["20", False], ["40", False]]
        assert browser_page.get_attribute("#theme", "aria-pressed") == "true"
        assert browser_page.get_attribute("th", "aria-sort") == "descending"
        assert browser_page.evaluate("document.getElementById('fold').open")
        articles = "[...document.querySelectorAll('article')]"
        unfolded = f"{articles}.map((each) => [each.innerText, each.lastChild.open])"
        open_ = {text.splitlines()[0]: state for text, state in browser_page.evaluate(unfolded)}
        assert open_ == {"length 40": False, "length 20": False, "length 30": True}
        assert browser_page.evaluate("document.activeElement.textContent") == "T"
        assert browser_page.inner_text("#live") == "live"
        browser_page.evaluate(
            "window.told = 0; new MutationObserver((some) => { window.told += some.length })"
            ".observe(document.getElementById('live'),"
            " { childList: true, characterData: true, subtree: true }); null"
        )
        before = len(requests)
        while len(requests) < before + 2:
            browser_page.wait_for_timeout(100)
        assert browser_page.evaluate("window.told") == 0
        assert complaints == []
        assert set(requests) == {f"http://127.0.0.1:{port}/", f"http://127.0.0.1:{port}/digest"}
        with suppress(subprocess.TimeoutExpired):
            process.send_signal(signal.SIGINT)
            process.wait(60)
        browser_page.locator("text=no answer").wait_for()
