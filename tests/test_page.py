"""The page in a real browser: it opens from a file without a request, and nobody's text becomes code."""

import re
import shutil
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest

from harness.contract import Record, Trial, UsageError
from harness.measure.runner import Settings, run_trial
from harness.plugins import load_plugins
from harness_results.results import Results
from harness_results.store import Store

pytestmark = [pytest.mark.browser, pytest.mark.slow]
pytest.importorskip("jinja2", reason="jinja2 is not installed: pip install 'rnn-harness[report]'")
pytest.importorskip("altair", reason="altair is not installed: pip install 'rnn-harness[report]'")
pytest.importorskip("vl_convert", reason="vl-convert is not installed: pip install 'rnn-harness[report]'")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")

CHROMIUM = shutil.which("chromium")
HOSTILE = "</script><img src=x onerror=alert(1)> [bold] \x1b[31m =cmd()"
CELLS, LENGTHS, SEEDS, VARIANTS = ("rnn", "lstm", "gru"), (4, 6, 8), (0, 1, 2), ("vectorised", "loop")
SETTLED = "document.querySelectorAll('.canvas svg').length"


@pytest.fixture(scope="session")
def browser():
    if CHROMIUM is None:
        pytest.skip("no chromium is installed: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        flags = ["--no-sandbox", "--disable-background-networking"]
        found = driver.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield found
        found.close()


@pytest.fixture(scope="session")
def records(tmp_path_factory) -> Results:
    """At least 100 real trials of two engines, run in this process and kept in a store."""
    path = tmp_path_factory.mktemp("page") / "real.sqlite"
    plugins, known = load_plugins(block=("jax", "torch")), {}
    with Store.open(path) as store:
        run_id = store.begin_run("harness run", {"launches": 1})
        for task, cell, length, seed, variant in product(("copy", "adding"), CELLS, LENGTHS, SEEDS, VARIANTS):
            sizes = {"length": length, "hidden": 4, "batch": 256, "steps": 12, "seed": seed}
            trial = Trial(backend="numpy", variant=variant, task=task, cell=cell, **sizes)
            settings = Settings(isolation="backend", calibrations=known)
            *_, finished = run_trial(trial, settings, plugins=plugins)
            calibrations = finished.record.details.get("calibrations", {})
            known.setdefault(finished.record.environment_id, {}).update(calibrations)
            store.add(finished.record, run_id)
    return Results.from_store(path)


@pytest.fixture(scope="session")
def file(records, tmp_path_factory) -> Path:
    return written(records, tmp_path_factory.mktemp("file"))


def written(records, folder: Path, title: str = "real.sqlite") -> Path:
    from harness_results.page.build import page

    path = folder / "report.html"
    path.write_text(page(records, title), encoding="utf-8")
    return path


class Visit:
    """A page that is open, and everything that it asked for or complained of."""

    def __init__(self, browser, path: Path, width: int = 1440, scheme: str = "light") -> None:
        self.page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        self.page.set_default_timeout(60_000)
        self.requests, self.errors, self.dialogs = [], [], []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", self._console)
        self.page.on("dialog", self._dialog)
        self.page.goto(path.as_uri())
        self.page.wait_for_selector("tbody tr")

    def _console(self, message) -> None:
        if message.type == "error":
            self.errors.append(message.text)

    def _dialog(self, dialog) -> None:
        self.dialogs.append(dialog.message)
        dialog.dismiss()

    def wait(self, condition: str) -> None:
        """Wait until a condition holds; what Playwright waits with is an eval, which the policy forbids."""
        for _ in range(600):
            if self.page.evaluate(condition):
                return
            self.page.wait_for_timeout(100)
        raise AssertionError(f"never: {condition}")

    def draw_all(self) -> int:
        figures = self.page.query_selector_all("figure")
        for figure in figures:
            figure.scroll_into_view_if_needed()
        self.wait(f"{SETTLED} >= {len(figures)}")
        return len(figures)

    def choose(self, axis: str, value: object) -> None:
        self.page.evaluate("document.querySelector('#filter details').open = true")
        self.page.check(f"input[name={axis}][value='{value}']", force=True)

    def rows(self) -> list[list[str]]:
        """The texts of the first table, without the references."""
        return self.page.evaluate(
            "[...document.querySelector('#main-tables tbody').rows].filter(r => r.className !== 'reference')"
            ".map(r => [...r.cells].map(c => c.textContent))"
        )


@pytest.fixture
def visit(browser, file):
    opened = []

    def opening(path: Path = file, **options) -> Visit:
        opened.append(Visit(browser, path, **options))
        return opened[-1]

    yield opening
    for one in opened:
        one.page.close()


def test_it_opens_from_a_file_with_no_request_and_no_error_and_draws_every_chart(visit, records):
    assert len(records) >= 100
    seen = visit()
    assert seen.draw_all() >= 8
    assert [url.partition(":")[0] for url in seen.requests] == ["file"]
    assert seen.errors == []


def test_the_policy_allows_no_connection_and_no_eval(file):
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', file.read_text(encoding="utf-8"))[1]
    assert policy.replace("&#39;", "'").startswith("default-src 'none'; script-src 'unsafe-inline';")
    assert "eval" not in policy
    assert "http" not in policy


def test_the_filter_changes_tables_charts_and_the_count(visit):
    seen = visit()
    seen.page.locator("#chart-throughput").scroll_into_view_if_needed()
    seen.page.wait_for_selector("#chart-throughput svg")
    panels = "document.querySelectorAll('#chart-throughput svg .role-scope.cell > g').length"
    before = seen.page.evaluate(panels)
    seen.choose("task", "adding")
    seen.choose("cell", "lstm")
    seen.wait(f"{panels} < {before}")
    assert {row[0] for row in seen.rows()} <= {"lstm", "rnn", "gru"}
    shown = seen.page.evaluate(
        "[...document.querySelectorAll('section.table:not([hidden]) h3')].map(title => title.textContent)"
    )
    assert shown
    assert all(title.startswith("adding") for title in shown)
    assert "18 of 108 trials" in seen.page.text_content("#count")


def test_a_length_that_is_not_chosen_has_no_column(visit):
    seen = visit()
    seen.choose("length", LENGTHS[1])
    groups = seen.page.evaluate("[...document.querySelectorAll('#main-tables th.group')].map(t => t.textContent)")
    assert set(groups) == {f"T = {LENGTHS[1]}"}


def test_sorting_by_a_column_orders_the_rows_and_says_so(visit):
    seen = visit()
    header = seen.page.locator("#main-tables section").first.locator("thead tr").last.locator("button").nth(3)
    label = header.text_content()
    header.click()
    place = seen.page.evaluate(
        "[...document.querySelector('#main-tables thead').lastElementChild.children]"
        ".findIndex(cell => cell.ariaSort === 'ascending')"
    )
    assert place > 0, label
    shown = [float(row[place].partition(" ")[0]) for row in seen.rows()]
    assert len(set(shown)) > 2
    assert shown == sorted(shown)


def test_a_chart_is_saved_as_png_and_as_svg(visit, tmp_path):
    seen = visit()
    for form, start in (("png", b"\x89PNG"), ("svg", b"<svg")):
        with seen.page.expect_download() as download:
            seen.page.click(f"#chart-throughput [data-save={form}]")
        path = tmp_path / download.value.suggested_filename
        download.value.save_as(path)
        assert path.name == f"throughput.{form}"
        assert path.read_bytes().startswith(start)


@pytest.mark.parametrize("width", [390, 1440])
def test_it_fits_the_width(visit, width):
    seen = visit(width=width)
    seen.draw_all()
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_wrong(visit, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
    seen = visit(scheme=scheme)
    seen.draw_all()
    found = axe.Axe().run(seen.page).response["violations"]
    assert [(one["id"], [node["html"][:200] for node in one["nodes"][:3]]) for one in found] == []


def test_all_charts_are_drawn_in_light_for_the_printer(visit):
    seen = visit(scheme="dark")
    seen.page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    seen.wait(f"{SETTLED} >= {len(seen.page.query_selector_all('figure'))}")
    assert seen.page.evaluate("document.documentElement.dataset.theme") == "light"
    seen.page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert seen.page.evaluate("document.documentElement.dataset.theme") == "dark"


def hostile_records() -> list[Record]:
    trial = Trial(backend="numpy", variant="loop", task="char", cell="lstm", length=8)
    found = []
    for seed, option in enumerate((HOSTILE, "tame")):
        asked = trial.model_copy(update={"seed": seed, "task_options": {"corpus": option}})
        figures = {"loss_validation": 1.0, "tokens_per_second": 5.0, "gradient_norm_median": 1.0, "gradient_horizon": 3}
        details = {"samples": [{"temperature": 0.5, "text": HOSTILE}], "flags": [HOSTILE]}
        environment = {"cpu": {"model": HOSTILE}, "libraries": {HOSTILE: HOSTILE}}
        ok = Record(asked, "ok", figures=figures, details=details, environment=environment, environment_id=f"e{seed}",
                    curves={"loss": [2.0, 1.0]})  # fmt: skip
        failed = replace(ok, trial=asked.model_copy(update={"length": 9}), status="failed", reason=HOSTILE, figures={})
        found += [ok, replace(failed, details={"traceback": HOSTILE})]
    return found


def test_hostile_texts_are_shown_and_never_run(visit, tmp_path):
    seen = visit(written(hostile_records(), tmp_path, HOSTILE))
    seen.draw_all()
    seen.page.evaluate("for (const part of document.querySelectorAll('details')) part.open = true")
    for mark in seen.page.query_selector_all("figure svg path[aria-roledescription]")[:4]:
        mark.hover(force=True)
    assert seen.dialogs == []
    assert seen.page.query_selector_all("img") == []
    assert seen.errors == []
    assert "\x1b" not in seen.page.content()
    for place in ("h1", "#results", "#samples", "#failures", "#environments"):
        assert "</script><img src=x onerror=alert(1)>" in seen.page.text_content(place), place


def test_a_long_table_shows_its_first_rows_and_more_when_asked(visit, tmp_path, records):
    first = records[0]
    many = [replace(first, trial=first.trial.model_copy(update={"seed": seed})) for seed in range(130)]
    seen = visit(written(many, tmp_path))
    assert len(seen.rows()) < 130
    assert "of 13" in seen.page.text_content("#main-tables .rest")
    seen.page.click("#main-tables .rest button")
    assert len(seen.rows()) == 130


def test_the_figures_are_those_of_the_report(visit, records):
    from harness_results.pivot import by_task, pivot

    texts = {shown.text for row in pivot(by_task(records)[0]).rows for some in row.entries.values() for shown in some}
    shown = {text.strip() for row in visit().rows() for text in row}
    for text in list(texts)[:50]:
        assert any(one.startswith(text) for one in shown) or not text or "(1.00x)" in text or "(0x)" in text, text


def test_harness_says_where_a_page_goes(tmp_path, monkeypatch):
    from harness.cli.pages import check_page

    assert check_page("html", tmp_path / "x.html")
    assert not check_page("table", None)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    with pytest.raises(UsageError, match=r"--output report\.html"):
        check_page("html", None)
