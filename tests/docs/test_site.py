"""The docs site builds without a warning, asks no other host, and its references are true."""

import importlib
import os
import re
import subprocess
import sys

import pytest
from click.testing import CliRunner

import paths
from harness.cli.main import VERBS, cli, command_of
from harness.contract import COLUMNS

ROOT = paths.ROOT
DOCS = ROOT / "docs"
LARGEST_PICTURE_BYTES, LARGEST_FILE_BYTES = 150_000, 1_000_000
NEEDED = ("sphinx", "furo", "myst_parser", "sphinx_copybutton")


@pytest.fixture(scope="module")
def pages():
    """What ``docs/conf.py`` takes its text from."""
    sys.path.insert(0, str(DOCS))
    yield importlib.import_module
    sys.path.remove(str(DOCS))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    for name in NEEDED:
        pytest.importorskip(
            name, reason=f'the docs site needs {name}: pip install "rnn-harness[docs]"'
        )
    folder = tmp_path_factory.mktemp("site")
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-W",
        "--keep-going",
        "-q",
        "-b",
        "html",
        "-d",
        folder / "doctrees",
    ]
    environment = {
        name: value for name, value in os.environ.items() if name != "HARNESS_DOCS_STORE"
    }
    command += [DOCS, folder / "html"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "html"


@pytest.mark.slow
def test_every_page_is_part_of_a_site_that_builds_without_a_warning(site):
    written = {path.relative_to(DOCS).with_suffix(".html") for path in DOCS.rglob("*.md")}
    assert written <= {path.relative_to(site) for path in site.rglob("*.html")}


@pytest.mark.slow
def test_the_site_asks_no_other_host(site):
    for path in (*site.rglob("*.html"), *site.rglob("*.css")):
        text = path.read_text(encoding="utf-8")
        assert not re.findall(
            r"<(?:script|img|iframe|link)\b[^>]*(?:src|href)=[\"']?(?:https?:)?//[^>]*", text
        ), path
        assert not re.findall(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//\S*", text), path


@pytest.mark.slow
def test_no_file_of_the_site_is_large(site):
    assert not [
        path
        for path in site.rglob("*")
        if path.is_file() and path.stat().st_size > LARGEST_FILE_BYTES
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["harness.run", "harness.contract.Backend.trainer", "harness.testing.CellConformance"]
)
def test_the_public_surface_is_described(site, name):
    assert any(f'id="{name}"' in path.read_text(encoding="utf-8") for path in site.glob("*.html"))


def test_pictures_of_the_docs_are_small_and_shown():
    pages = (ROOT / "README.md", *DOCS.rglob("*.md"))
    text = "".join(path.read_text(encoding="utf-8") for path in pages)
    for path in (*DOCS.rglob("*.png"), *DOCS.rglob("*.svg")):
        assert path.stat().st_size < LARGEST_PICTURE_BYTES, path
        assert path.name in text, f"{path} stands in no page"


def test_the_gallery_has_a_picture_of_every_chart(pages):
    pytest.importorskip("altair", reason="needs altair")
    charts = importlib.import_module("harness_results.charts.catalogue").CHARTS
    static = (DOCS / "gallery.md").read_text(encoding="utf-8")
    made = pages("site_pages.pictures").with_gallery(static)
    for name, chart in charts.items():
        line = f"![{chart.title}](pictures/{name}.png)\n"
        assert line in static
        assert line in made


def test_the_gallery_draws_a_part_of_a_store_where_a_chart_has_many_panels(
    pages, tmp_path, monkeypatch
):
    gallery, asked = pages("make_gallery"), []

    def run(command, **_):
        asked.append(command[3:])
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(gallery.subprocess, "run", run)
    assert gallery.pictures("s", tmp_path, ["loss", "gradient-norm"], gallery.PART) == [
        "loss",
        "gradient-norm",
    ]
    assert asked[0][:3] == ["report", "s", "-f"]
    assert asked[1][:8] == ["report", "s", "-t", "adding", "-c", "lstm", "-T", "10,80"]


@pytest.mark.parametrize(
    ("asked", "part"), [([], True), (["--store", "s", "--parts"], True), (["--store", "s"], False)]
)
def test_curves_of_the_gallerys_own_plan_are_drawn_in_part(pages, monkeypatch, asked, part):
    gallery, given = pages("make_gallery"), []
    monkeypatch.setattr(gallery.subprocess, "run", lambda *_, **__: None)
    monkeypatch.setattr(
        gallery, "pictures", lambda *arguments: given.append(arguments[3]) or [*arguments[2]]
    )
    monkeypatch.setattr(sys, "argv", ["make_gallery.py", *asked])
    with pytest.raises(SystemExit, match=r"^0$"):
        gallery.main()
    assert given == [gallery.PART if part else {}]


def helps(command=cli, name=()):
    """Yield the words of each command, and what ``--help`` prints."""
    yield name, CliRunner().invoke(cli, [*name, "--help"], env={"COLUMNS": "200"}).output
    below = list(VERBS) if not name else list(getattr(command, "commands", ()))
    for verb in below:
        words = (*name, verb)
        under = getattr(command, "commands", {}).get(verb) or command_of(verb)
        yield from helps(under, words)


HELPS = list(helps())


def options(told):
    """Return the options that begin a line of ``--help``; a star marks the required ones."""
    return set(re.findall(r"^│ \*?\s*(--[a-z0-9-]+)", told, re.MULTILINE))


@pytest.mark.parametrize(
    ("words", "told"), HELPS, ids=[" ".join(("harness", *words)) for words, _ in HELPS]
)
def test_the_command_reference_holds_every_option_of_help(pages, words, told):
    reference = pages("site_pages.commands").reference()
    heading = f"## `{' '.join(('harness', *words))}`\n"
    chapter = reference.partition(heading)[2].partition("\n##")[0]
    assert options(told) - {"--help"} == set(
        re.findall(r"^\| `(--[a-z0-9-]+)`", chapter, re.MULTILINE)
    )


def test_the_page_of_measuring_lists_every_column(pages):
    filled, source = pages("site_pages.filled"), [(DOCS / "measuring.md").read_text("utf-8")]
    filled.fill(None, "measuring", source)
    assert sorted(re.findall(r"^\| `(\w+)` \|", source[0], re.MULTILINE)) == sorted(COLUMNS)


def test_there_are_many_options_to_compare():
    assert sum(len(options(told)) for _, told in HELPS) > 80


def test_links_lead_to_the_pages_that_stand_for_other_files(pages, tmp_path):
    filled = pages("site_pages.filled")
    text = "[a](../results/measured/README.md) [b](plans.md#x) [c](https://a.b/c) "
    text += "[d](#here) [e](decisions)"
    told = "[a](measured.md) [b](plans.md#x) [c](https://a.b/c) [d](#here) [e](decisions/index.md)"
    assert filled.linked(text, DOCS, DOCS) == told
    assert filled.linked("[a](docs/plans.md)", ROOT, DOCS) == "[a](plans.md)"
    assert filled.linked("[a](profile.txt)", ROOT / "results" / "measured", DOCS) == (
        "[a](../results/measured/profile.txt)"
    )
