"""The page in a real browser: it opens from a file without a request, and runs no foreign text."""

import re
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest

from chart_records import make
from harness.contract import Record, Trial, UsageError
from harness.measure.runner import Settings, run_trial
from harness.plugins import load_plugins
from harness_results.results import Results
from harness_results.store.store import Store

pytestmark = [pytest.mark.browser, pytest.mark.slow]
pytest.importorskip("jinja2", reason="jinja2 is not installed: pip install 'rnn-harness[report]'")
pytest.importorskip("altair", reason="altair is not installed: pip install 'rnn-harness[report]'")
pytest.importorskip(
    "vl_convert", reason="vl-convert is not installed: pip install 'rnn-harness[report]'"
)

HOSTILE = "</script><img src=x onerror=alert(1)> [bold] \x1b[31m =cmd()"
CELLS, LENGTHS = ("rnn", "lstm", "gru"), (4, 6, 8)
SEEDS, VARIANTS = (0, 1, 2), ("vectorised", "loop")
SCROLL = """figure => {
    figure.scrollIntoView();
    return new Promise(done => {
        requestAnimationFrame(() => requestAnimationFrame(done));
        setTimeout(done, 1000);  // a browser without a window may never draw a frame
    });
}"""
DRAWN = "figure => figure.querySelector('.canvas svg') !== null"
SETTLED = "document.querySelectorAll('.canvas svg').length"


@pytest.fixture(scope="session")
def records(tmp_path_factory) -> Results:
    """At least 100 real trials of two engines, run in this process and kept in a store."""
    path = tmp_path_factory.mktemp("page") / "real.sqlite"
    plugins, calibrated = load_plugins(block=("jax", "torch")), {}
    with Store.open(path) as store:
        run_id = store.begin_run("harness run", {"launches": 1})
        for task, cell, length, seed, variant in product(
            ("copy", "adding"), CELLS, LENGTHS, SEEDS, VARIANTS
        ):
            sizes = {"length": length, "hidden": 4, "batch": 256, "steps": 12, "seed": seed}
            trial = Trial(backend="numpy", variant=variant, task=task, cell=cell, **sizes)
            settings = Settings(isolation="backend", calibrations=calibrated)
            *_, finished = run_trial(trial, settings, plugins=plugins)
            calibrations = finished.record.details.get("calibrations", {})
            calibrated.setdefault(finished.record.environment_id, {}).update(calibrations)
            store.add(finished.record, run_id)
    return Results.from_store(path)


@pytest.fixture(scope="session")
def file(records, tmp_path_factory) -> Path:
    return written(records, tmp_path_factory.mktemp("file"))


def written(records, folder: Path, title: str = "real.sqlite") -> Path:
    from harness_results.page.build import page

    path = folder / "report.html"
    path.write_text(page(records, title, per_seed=True), encoding="utf-8")
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
        if message.type in {"error", "warning"}:
            self.errors.append(message.text)

    def _dialog(self, dialog) -> None:
        self.dialogs.append(dialog.message)
        dialog.dismiss()

    def wait(self, condition: str) -> None:
        """Wait until a condition holds; Playwright's own wait needs eval, which is forbidden."""
        for _ in range(600):
            if self.page.evaluate(condition):
                return
            self.page.wait_for_timeout(100)
        raise AssertionError(f"never: {condition}")

    def draw_all(self) -> int:
        self.page.evaluate(
            "for (const part of document.querySelectorAll('.more')) part.open = true"
        )
        figures = self.page.query_selector_all("figure")
        for _ in range(60):
            for figure in figures:  # a figure moves while those above it are drawn
                if not figure.evaluate(DRAWN):
                    figure.evaluate(SCROLL)
            if all(figure.evaluate(DRAWN) for figure in figures):
                return len(figures)
            self.page.wait_for_timeout(500)
        raise AssertionError("a figure is never drawn")

    def choose(self, axis: str, value: object) -> None:
        self.page.evaluate("document.querySelector('#filter details').open = true")
        self.page.check(f"input[name={axis}][value='{value}']", force=True)

    def rows(self) -> list[list[str]]:
        """The texts of the first table that is shown, without the references."""
        return self.page.evaluate(
            "[...document.querySelector('#main-tables section:not([hidden]) tbody').rows]"
            ".filter(r => r.className !== 'reference')"
            ".map(r => [...r.cells].map(c => c.textContent))"
        )


@pytest.fixture
def visit(browser, request):
    opened = []

    def opening(path: Path | None = None, **options) -> Visit:
        opened.append(Visit(browser, path or request.getfixturevalue("file"), **options))
        return opened[-1]

    yield opening
    for visited in opened:
        visited.page.close()


def test_it_opens_from_a_file_with_no_request_and_no_error_and_draws_every_chart(visit, records):
    assert len(records) >= 100
    seen = visit()
    assert seen.draw_all() >= 8
    assert [url.partition(":")[0] for url in seen.requests] == ["file"]
    assert seen.errors == []


def test_the_policy_allows_no_connection_and_no_eval(file):
    policy = re.search(
        r'http-equiv="Content-Security-Policy" content="([^"]+)"', file.read_text(encoding="utf-8")
    )[1]
    assert policy.replace("&#39;", "'").startswith(
        "default-src 'none'; script-src 'unsafe-inline';"
    )
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
    assert {row[0] for row in seen.rows()} == {"lstm"}
    shown = seen.page.evaluate(
        "[...document.querySelectorAll('section.table:not([hidden]) h3')]"
        ".map(title => title.textContent)"
    )
    assert shown
    assert all(title.startswith("adding") for title in shown)
    assert "18 of 108 trials" in seen.page.text_content("#count")


def test_what_is_said_of_a_chart_follows_the_filter(visit):
    seen = visit()
    seen.draw_all()
    flow = seen.page.locator("#chart-gradient-flow")
    assert "8 of 12 panels are drawn" in flow.locator(".left-out").text_content()
    labels = "document.querySelectorAll('#chart-gradient-flow .role-legend-label text')"
    legend = f"[...{labels}].map(t => t.textContent)"
    assert set(seen.page.evaluate(legend)) == set(CELLS)
    assert seen.page.evaluate("document.querySelector('#main-tables .whole')?.hidden ?? true")
    seen.choose("task", "copy")
    seen.choose("cell", "lstm")
    seen.wait(f"String({legend}) === 'lstm'")
    assert (
        "panels" not in flow.locator(".left-out").text_content()
    )  # there is room for all lengths of one task
    assert "counted over all trials" in flow.locator(".left-out").text_content()
    words = flow.locator(".canvas").text_content()
    assert "theory, per step: lstm 0.5" in words
    assert "rnn" not in words
    assert not seen.page.evaluate(
        "document.querySelector('#main-tables section:not([hidden]) .whole').hidden"
    )
    assert seen.errors == []


def test_a_chart_has_ticks_at_the_lengths_that_are_shown_only_and_no_panel_of_references_alone(
    visit,
):
    seen = visit()
    seen.draw_all()
    labels = "document.querySelectorAll('#chart-throughput .role-axis-label text')"
    ticks = f"[...{labels}].map(t => t.textContent)"
    seen.choose("length", LENGTHS[1])
    seen.choose("length", LENGTHS[2])
    seen.choose("cell", "gru")
    seen.wait(f"!{ticks}.includes('{LENGTHS[0]}')")
    assert {str(LENGTHS[1]), str(LENGTHS[2])} <= set(seen.page.evaluate(ticks))
    words = seen.page.text_content("#chart-throughput .canvas")
    assert "copy · gru" in words
    assert "copy · rnn" not in words


@pytest.mark.parametrize("width", [390, 1440])
def test_room_is_kept_for_charts_that_are_not_drawn_yet(visit, width):
    seen = visit(width=width)
    seen.choose("cell", "lstm")
    seen.page.evaluate("for (const part of document.querySelectorAll('.more')) part.open = true")
    heights = "[...document.querySelectorAll('.canvas')].map(canvas => canvas.offsetHeight)"
    kept = seen.page.evaluate(heights)
    seen.draw_all()
    seen.wait(
        "[...document.querySelectorAll('.canvas')].every(canvas => canvas.style.minHeight === '')"
    )
    drawn = seen.page.evaluate(heights)
    assert all(before > 100 for before in kept)
    assert all(abs(before - after) <= 25 for before, after in zip(kept, drawn, strict=True)), (
        kept,
        drawn,
    )


@pytest.mark.parametrize("width", [390, 1440])
def test_a_panel_has_room_however_many_engines_and_settings_there_are(
    visit, records, tmp_path, width
):
    engines = [f"engine{number}:a-rather-long-variant" for number in range(18)]
    many = []
    for index, record in enumerate(list(records)[::12]):
        for engine in engines:
            backend, variant = engine.split(":")
            changed = {"backend": backend, "variant": variant, "hidden": 2 ** (index % 4 + 2)}
            many.append(replace(record, trial=record.trial.model_copy(update=changed)))
    seen = visit(written(many, tmp_path), width=width)
    seen.draw_all()
    panels = "[...document.querySelectorAll('.canvas svg .role-scope.cell > g > path.background')]"
    widths = seen.page.evaluate(f"{panels}.map(p => p.getBoundingClientRect().width)")
    assert min(widths) >= 120
    assert seen.page.evaluate(
        "[...document.querySelectorAll('.canvas')].every(c => c.scrollWidth <= c.clientWidth)"
    )


def test_a_saved_picture_says_what_its_lines_are_and_what_was_left_out(visit, tmp_path):
    seen = visit()
    with seen.page.expect_download() as download:
        seen.page.locator("#chart-gradient-flow [data-save=svg]").focus()
        seen.page.keyboard.press("Enter")
    download.value.save_as(tmp_path / "flow.svg")
    words = (tmp_path / "flow.svg").read_text(encoding="utf-8")
    assert "dotted: theory" in words
    assert "8 of 12 panels are drawn" in words


def test_a_phone_has_one_column_for_all_labels_that_stays_in_sight(visit):
    seen = visit(width=390)
    first = "document.querySelector('#main-tables tbody tr:not(.reference) th')"
    assert seen.page.evaluate(f"{first}.cellIndex") == 0
    seen.page.evaluate("document.querySelector('#main-tables .scroll').scrollLeft = 300")
    assert 0 <= seen.page.evaluate(f"{first}.getBoundingClientRect().left") < 100
    seen.page.locator("#main-tables thead .all button").first.click()
    assert (
        seen.page.evaluate("document.querySelector('#main-tables thead .all').ariaSort")
        == "ascending"
    )
    assert seen.page.evaluate("document.activeElement.textContent") == "cell"


def test_the_keyboard_reaches_the_filter_and_more_rows(visit, tmp_path, records):
    first = records[0]
    many = [
        replace(first, trial=first.trial.model_copy(update={"seed": seed})) for seed in range(730)
    ]
    seen = visit(written(many, tmp_path))
    seen.page.locator("#main-tables .rest button").focus()
    seen.page.keyboard.press("Enter")
    assert seen.page.evaluate("document.activeElement.textContent").startswith("Show ")
    seen.page.keyboard.press("Enter")
    assert seen.page.evaluate("document.activeElement.className") == "scroll"
    assert len(seen.rows()) == 730


def test_a_page_that_is_loaded_again_has_the_filter_the_order_and_the_rows_as_before(
    browser, records, tmp_path
):
    from harness_results.serving.page import live

    first = records[0]
    settings = [{"seed": seed, "length": 4 + seed % 2} for seed in range(260)]
    many = [replace(first, trial=first.trial.model_copy(update=each)) for each in settings]
    text, digests = written(many, tmp_path).read_text(encoding="utf-8"), ["a"]
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    bodies = {"/": lambda: live(text, digests[-1]), "/digest": lambda: digests[-1]}

    def fulfill(route):
        path = route.request.url.removeprefix("http://report.test")
        route.fulfill(body=bodies[path](), content_type="text/html")

    page.route("http://report.test/**", fulfill)
    page.goto("http://report.test/")
    page.wait_for_selector("tbody tr")
    page.click("#filter summary")
    page.check("input[name=length][value='4']", force=True)
    head = page.locator("#main-tables thead tr").last.locator("button").first
    head.click()
    head.click()
    page.click("#main-tables .rest button")
    state = (
        "[document.querySelector('#main-tables th[aria-sort]')?.ariaSort,"
        " document.querySelector('#count').textContent,"
        " document.querySelector('#main-tables tbody').rows.length,"
        " document.querySelector('#filter details').open]"
    )
    before = page.evaluate(state)
    assert before[0] == "descending"
    assert before[2] > 100
    with page.expect_event("load", timeout=60_000):
        digests.append("b")
    for _ in range(100):
        if page.evaluate(state) == before:
            break
        page.wait_for_timeout(100)
    assert page.evaluate(state) == before
    page.close()


def test_without_scripts_the_headline_and_the_tables_are_there(browser, file):
    around = browser.new_context(java_script_enabled=False)
    page = around.new_page()
    page.goto(file.as_uri())
    texts = page.locator("#results tr").all_inner_texts()
    assert any("lstm" in text and "numpy:loop" in text for text in texts)
    assert page.locator("#headline article").count() == 3
    assert page.locator("#filter").is_hidden()
    around.close()


@pytest.mark.parametrize("mixed", [False, True])
def test_environments_that_are_mixed_are_warned_of(visit, records, tmp_path, mixed):
    ids = ["one", "two"] if mixed else ["one", "one"]
    some = [
        replace(record, environment_id=ids[index % 2])
        for index, record in enumerate(list(records)[:6])
    ]
    seen = visit(written(some, tmp_path))
    for section in ("#headline", "#environments"):
        warnings = seen.page.locator(f"{section} .warning")
        assert ["2 environments" in text for text in warnings.all_text_contents()] == [True] * mixed
        assert all(warning.is_visible() for warning in warnings.all())
    assert seen.page.locator("#environments article").count() == 1 + mixed


def test_a_length_that_is_not_chosen_has_no_column(visit):
    seen = visit()
    seen.choose("length", LENGTHS[1])
    groups = seen.page.evaluate(
        "[...document.querySelectorAll('#main-tables th.group')].map(t => t.textContent)"
    )
    assert set(groups) == {f"T = {LENGTHS[1]}"}


def test_sorting_by_a_column_orders_the_rows_and_says_so(visit):
    seen = visit()
    header = (
        seen.page.locator("#main-tables section")
        .first.locator("thead tr")
        .last.locator("button")
        .nth(3)
    )
    label = header.text_content()
    header.click()
    column = seen.page.evaluate(
        "[...document.querySelector('#main-tables thead').lastElementChild.children]"
        ".findIndex(cell => cell.ariaSort === 'ascending')"
    )
    assert column > 0, label
    shown = [float(row[column].partition(" ")[0]) for row in seen.rows()]
    assert len(set(shown)) > 2
    assert shown == sorted(shown)


def test_a_chart_is_saved_as_png_and_as_svg(visit, tmp_path):
    seen = visit()
    seen.draw_all()  # a chart that is drawn meanwhile moves the button from under the pointer
    for form, start in (("png", b"\x89PNG"), ("svg", b"<svg")):
        with seen.page.expect_download() as download:
            seen.page.click(f"#chart-throughput [data-save={form}]")
        path = tmp_path / download.value.suggested_filename
        download.value.save_as(path)
        assert path.name == f"throughput.{form}"
        assert path.read_bytes().startswith(start)


def test_the_headline_has_three_lines_on_a_wide_screen(visit):
    seen = visit()
    heights = "[...document.querySelectorAll('.found div')].map(line => line.offsetHeight)"
    assert len(seen.page.evaluate(heights)) == 3
    assert max(seen.page.evaluate(heights)) < 40
    assert seen.page.evaluate("document.querySelector('.found').getBoundingClientRect().top") < 300


def test_what_is_folded_is_unfolded_for_the_printer(visit, tmp_path):
    seen = visit(written(small(), tmp_path))
    folded = "document.querySelectorAll('main details:not([open])').length"
    before = seen.page.evaluate(folded)
    assert before > 5
    seen.page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert seen.page.evaluate(folded) == 0
    seen.page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert seen.page.evaluate(folded) == before


def test_every_length_of_a_wide_table_and_every_panel_is_on_paper(visit, tmp_path):
    lengths = [10 * 2**power for power in range(8)]
    records = [make("numpy:loop", cell, n) for n in lengths for cell in ("rnn", "lstm")]
    seen = visit(written(records, tmp_path))
    tables = "[...document.querySelectorAll('#main-tables table')]"
    assert seen.page.evaluate(f"{tables}.length") == 1
    titles = "[...document.querySelectorAll('#main-tables .group')].map(head => head.textContent)"
    assert seen.page.evaluate(titles) == [f"T = {n}" for n in lengths]
    seen.page.set_viewport_size({"width": 703, "height": 1000})  # A4 without its margins
    seen.page.emulate_media(media="print")
    seen.page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    seen.wait(f"{SETTLED} >= {len(seen.page.query_selector_all('figure'))}")
    width = seen.page.evaluate("document.body.clientWidth")
    widths = seen.page.evaluate(f"{tables}.map(table => table.offsetWidth)")
    assert len(widths) > 1
    assert max(widths) <= width
    assert seen.page.evaluate("document.documentElement.scrollWidth") == width
    assert seen.page.evaluate(titles) == [f"T = {n}" for n in lengths]
    seen.page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert seen.page.evaluate(f"{tables}.length") == 1


def test_the_panels_of_a_task_have_the_same_range(visit, tmp_path):
    records = [make("numpy:loop", "lstm", n, loss_validation=n / 10) for n in (10, 20)]
    seen = visit(written([*records, make("numpy:loop", "rnn", 20)], tmp_path))
    seen.draw_all()
    ticks = seen.page.evaluate(
        "[...document.querySelectorAll('#chart-loss-curves svg .role-scope.cell > g')]"
        ".map(panel => [...panel.querySelectorAll('.role-axis:last-of-type .role-axis-label text')]"
        ".map(t => t.textContent).join())"
    )
    assert len(ticks) == 2
    assert len(set(ticks)) == 1


@pytest.mark.parametrize("width", [390, 1440])
def test_it_fits_the_width(visit, width):
    seen = visit(width=width)
    seen.draw_all()
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_wrong(visit, scheme):
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="axe is not installed"
    )
    seen = visit(scheme=scheme)
    seen.draw_all()
    violations = axe.Axe().run(seen.page).response["violations"]
    assert [
        (violation["id"], [node["html"][:200] for node in violation["nodes"][:3]])
        for violation in violations
    ] == []


def test_all_charts_are_drawn_in_light_for_the_printer(visit):
    seen = visit(scheme="dark")
    seen.page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    seen.wait(f"{SETTLED} >= {len(seen.page.query_selector_all('figure'))}")
    assert seen.page.evaluate("document.documentElement.dataset.theme") == "light"
    seen.page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert seen.page.evaluate("document.documentElement.dataset.theme") == "dark"


def hostile_records() -> list[Record]:
    trial = Trial(backend="numpy", variant="loop", task="char", cell="lstm", length=8)
    records = []
    for seed, option in enumerate((HOSTILE, "tame")):
        changed = trial.model_copy(update={"seed": seed, "task_options": {"corpus": option}})
        figures = {
            "loss_validation": 1.0,
            "tokens_per_second": 5.0,
            "gradient_norm_median": 1.0,
            "gradient_horizon": 3,
        }
        details = {"samples": [{"temperature": 0.5, "text": HOSTILE}], "flags": [HOSTILE]}
        environment = {"cpu": {"model": HOSTILE}, "libraries": {HOSTILE: HOSTILE}}
        ok = Record(
            changed,
            "ok",
            figures=figures,
            details=details,
            environment=environment,
            environment_id=f"e{seed}",
            curves={"loss": [2.0, 1.0]},
        )
        failed = replace(
            ok,
            trial=changed.model_copy(update={"length": 9}),
            status="failed",
            reason=HOSTILE,
            figures={},
        )
        records += [ok, replace(failed, details={"traceback": HOSTILE})]
    return records


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
    for selector in ("h1", "#results", "#samples", "#failures", "#environments"):
        text = seen.page.text_content(selector)
        assert "</script><img src=x onerror=alert(1)>" in text, selector


def test_a_long_table_shows_its_first_rows_and_more_when_asked(visit, tmp_path, records):
    first = records[0]
    many = [
        replace(first, trial=first.trial.model_copy(update={"seed": seed})) for seed in range(130)
    ]
    seen = visit(written(many, tmp_path))
    assert len(seen.rows()) < 130
    assert "of 13" in seen.page.text_content("#main-tables .rest")
    seen.page.click("#main-tables .rest button")
    assert len(seen.rows()) == 130


def small() -> list[Record]:
    """Made records of two tasks, one of which failed."""
    axes = product(("numpy:loop", "torch:library"), ("lstm", "gru"), (10, 20), ("adding", "copy"))
    ok = [make(*values) for values in axes]
    return [*ok, make("numpy:loop", "gru", 40, "copy", status="failed")]


def test_the_print_control_waits_for_every_chart_and_prints_in_light(visit, tmp_path):
    seen = visit(written(small(), tmp_path), scheme="dark")
    figures = len(seen.page.query_selector_all("figure"))
    assert seen.page.evaluate(SETTLED) < figures
    seen.page.evaluate(
        f"window.print = () => {{"
        f" window.printed = [{SETTLED}, document.documentElement.dataset.theme];"
        " for (const name of ['beforeprint', 'afterprint'])"
        " window.dispatchEvent(new Event(name)); }; null"
    )
    seen.page.locator("#print").focus()
    seen.page.keyboard.press("Enter")
    seen.wait("Boolean(window.printed)")
    assert seen.page.evaluate("window.printed") == [figures, "light"]
    assert seen.page.evaluate("document.documentElement.dataset.theme") == "dark"
    seen.page.emulate_media(media="print")
    assert seen.page.locator("#print").is_hidden()


def test_a_chart_that_could_not_be_drawn_is_drawn_the_next_time(visit, tmp_path):
    seen = visit(written(small(), tmp_path))
    seen.draw_all()
    seen.page.evaluate(
        "window.kept = window.vegaEmbed;"
        " window.vegaEmbed = () => { throw new Error('once'); }; null"
    )
    seen.choose("cell", "lstm")
    seen.page.wait_for_timeout(500)
    seen.page.evaluate("window.vegaEmbed = window.kept; null")
    seen.choose("task", "adding")
    words = "document.querySelector('#chart-throughput .canvas').textContent"
    seen.wait(f"{words}.includes('lstm') && !{words}.includes('gru')")


def test_themes_and_filters_in_quick_succession_leave_the_last(visit, tmp_path):
    seen = visit(written(small(), tmp_path))
    seen.draw_all()
    seen.page.evaluate("""
        for (const box of document.querySelectorAll('input[name=cell]')) box.click();
        for (let turn = 0; turn < 3; turn += 1) document.getElementById('theme').click();
        document.querySelector('input[name=cell][value=gru]').click()
    """)
    words = "document.querySelector('#chart-throughput .canvas').textContent"
    seen.wait(f"{words}.includes('lstm') && !{words}.includes('gru')")
    seen.page.wait_for_timeout(500)
    assert not seen.page.evaluate(f"{words}.includes('gru')")
    colour = (
        "getComputedStyle(document.querySelector('#chart-throughput .role-axis-label text')).fill"
    )
    ink = [int(part) for part in re.findall(r"\d+", seen.page.evaluate(colour))]
    assert seen.page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert min(ink[:3]) > 100
    assert seen.errors == []


def test_labels_that_are_numbers_are_sorted_by_size(visit, tmp_path):
    rates = (0.01, 1e-05, 0.0005, 0.001)
    seen = visit(written([make(trial={"learning_rate": rate}) for rate in rates], tmp_path))
    seen.page.locator("#main-tables thead button", has_text="learning rate").click()
    heads = "[...document.querySelectorAll('#main-tables thead tr:last-child > *')]"
    index = seen.page.evaluate(f"{heads}.findIndex(c => c.ariaSort)")
    assert [float(row[index]) for row in seen.rows()] == sorted(rates)


def test_a_section_link_lands_below_the_filter(visit, tmp_path):
    seen = visit(written(small(), tmp_path))
    seen.draw_all()
    seen.page.evaluate("document.querySelector('#filter details').open = true")
    seen.page.click("nav a[href='#charts']")
    seen.wait("scrollY > 100")
    below = "document.querySelector('#charts').getBoundingClientRect().top"
    assert seen.page.evaluate(below) >= seen.page.evaluate(
        "document.querySelector('#filter').getBoundingClientRect().bottom"
    )


def test_what_is_counted_is_told_beside_the_control_that_unfolds(visit, tmp_path):
    seen = visit(written(small(), tmp_path))
    assert seen.page.locator("summary [role=status]").count() == 0
    assert seen.page.locator("#count[role=status]").is_visible()
    seen.page.click("#filter summary")
    assert seen.page.locator("#count").is_visible()
    count, title = (
        seen.page.locator(f"#filter {part}").bounding_box() for part in ("#count", ".title")
    )
    assert count["x"] >= title["x"] + title["width"]


def test_every_row_has_a_header(visit, tmp_path):
    seen = visit(written(small(), tmp_path))
    rows = "[...document.querySelectorAll('section.table tbody tr')]"
    assert seen.page.evaluate(f"{rows}.filter(row => row.className === 'reference').length") > 0
    assert (
        seen.page.evaluate(
            f"{rows}.filter(row => !row.querySelector('th')).map(row => row.textContent)"
        )
        == []
    )


def test_what_is_chosen_can_be_seen_in_forced_colours(visit, tmp_path):
    seen = visit(written(small(), tmp_path))
    seen.choose("cell", "lstm")
    seen.page.emulate_media(forced_colors="active")
    colour = (
        "[...document.querySelectorAll({!r})].map(part => getComputedStyle(part).backgroundColor)"
    )
    for marked, plain in (
        ("input:checked + span", "input[name=cell]:not(:checked) + span"),
        (".picker [aria-pressed=true]", ".picker [aria-pressed=false]"),
    ):
        with_mark, without = (
            set(seen.page.evaluate(colour.format(selector))) for selector in (marked, plain)
        )
        assert with_mark
        assert without
        assert not with_mark & without


def test_a_section_that_the_filter_empties_says_so(visit, tmp_path):
    seen = visit(written(small(), tmp_path))
    nothing = seen.page.locator("#failures > .nothing")
    assert nothing.is_hidden()
    seen.choose("cell", "lstm")
    assert nothing.is_visible()
    assert nothing.text_content() == "The filter leaves nothing here."
    assert seen.page.locator("#results > .nothing").is_hidden()
    seen.page.click("#filter button[type=reset]")
    seen.wait("document.querySelector('#failures > .nothing').hidden")


def test_a_failure_has_one_whole_command(visit, tmp_path):
    failed = [make("numpy:loop", "gru", length, "copy", status="failed") for length in (40, 80)]
    seen = visit(written([*small(), *failed[1:]], tmp_path))
    shown = seen.page.locator("#failures .trials").first
    ids = [record.trial.trial_id for record in failed]
    assert shown.locator("code").first.text_content() == f"harness show {ids[0]} --store STORE"
    assert [identity in shown.text_content() for identity in ids] == [True, True]
    assert shown.text_content().count("harness show") == 1


def test_harness_says_where_a_page_goes(tmp_path, monkeypatch):
    from harness.cli.output.pages import check_page

    assert check_page("html", tmp_path / "x.html", "a title")
    assert not check_page("table", None)
    with pytest.raises(UsageError, match="--title is the title of the page: add --format html"):
        check_page("table", None, "a title")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    with pytest.raises(UsageError, match=r"--output report\.html"):
        check_page("html", None)
