"""The commands of the essay and the cells of the notebook run, and their figures are committed."""

import importlib
import json
import re
import sys

import pytest

import paths
from measured import records

DOCS = paths.ROOT / "docs"
LARGEST_NOTEBOOK_BYTES = 300_000


@pytest.fixture(scope="module")
def tool():
    """Import a program of the folder ``docs``."""
    sys.path.insert(0, str(DOCS))
    yield importlib.import_module
    sys.path.remove(str(DOCS))


@pytest.fixture
def essay(tool):
    pytest.importorskip("altair")
    return tool("make_essay")


@pytest.fixture(scope="module")
def page():
    return (DOCS / "essay.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_every_command_of_the_essay_gives_what_the_page_shows(essay, page, tmp_path):
    short = essay.Essay(tmp_path, quick=True).retold(page)
    assert len(essay.OUTPUT.findall(short)) == len(essay.OUTPUT.findall(page))
    assert all(found["output"].strip() for found in essay.OUTPUT.finditer(short))


def test_the_essay_pastes_what_its_commands_print(essay, tmp_path):
    page = "a\n```bash\nharness --version\n```\n\nb\n\n"
    page += "<!-- output: 1 lines -->\n```text\nold\n```\nc\n"
    assert re.search(
        r"```text\nharness, version [\d.]+\n```\nc\n$",
        essay.Essay(tmp_path, quick=True).retold(page),
    )
    assert essay.excerpt("a\nbc \nd\ne", "b", 2) == "...\nbc\nd\n...\n"
    with pytest.raises(SystemExit, match="no line of the output begins with 'x'"):
        essay.excerpt("a", "x", 0)
    with pytest.raises(SystemExit, match=r"ended with .*nupmy"):
        essay.Essay(tmp_path, quick=True).retold("```bash\nharness run -b nupmy\n```\n")


SMALL = """```bash
harness run -t adding -c rnn -T 6 --hidden 4 --batch 2 --steps 8 --fast
```

<!-- seeds small: cell, length: loss_ratio -->
| old |

<!-- picture gradient-flow seed=2 -->
![flow](small.png)
"""


@pytest.mark.slow
def test_the_essay_measures_three_seeds_for_its_tables_and_pictures(essay, tmp_path, monkeypatch):
    monkeypatch.setattr(essay, "MEASURED", tmp_path)
    monkeypatch.setattr(essay, "PAGE", tmp_path / "essay.md")
    page = essay.Essay(tmp_path, seeds=True).retold(SMALL)
    rows = [json.loads(line) for line in (tmp_path / "essay-small.jsonl").read_text().splitlines()]
    assert [row["seed"] for row in rows] == [0, 1, 2]
    figures = ", ".join(f"{row['loss_ratio']:.3g}" for row in rows)
    assert f"| --- | --- | --- |\n| rnn | 6 | {figures} |\n\n" in page
    assert "old" not in page
    assert (tmp_path / "small.png").read_bytes().startswith(b"\x89PNG")


def test_every_block_of_the_essay_is_filled_by_a_command(essay, page):
    assert len(essay.OUTPUT.findall(page)) == page.count("```text") > 2
    assert all(found["output"].strip() for found in essay.OUTPUT.finditer(page))
    assert len(essay.PICTURE.findall(page)) == page.count("![") > 3
    assert "TODO" not in page


def test_the_tables_of_the_essay_are_made_again_from_their_records(essay, page):
    tables = list(essay.TABLE.finditer(page))
    assert len(tables) > 5
    for table in tables:
        trials = records(f"essay-{table['name']}.jsonl")
        axes, figures = (essay.words(table[name]) for name in ("axes", "figures"))
        assert essay.seeds_table(trials, axes, figures) == table["table"]
        assert {record.trial.seed for record in trials} == {0, 1, 2}


@pytest.fixture
def notebook(tool):
    pytest.importorskip("altair")
    pytest.importorskip("pandas")
    return tool("make_notebook")


def shown(notebook):
    """Return the media types of each cell of code."""
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return [
        [sorted(output.get("data", {"stdout": ""})) for output in cell["outputs"]] for cell in code
    ]


@pytest.mark.slow
def test_the_cells_of_the_notebook_run_and_show_what_is_committed(notebook, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    committed = json.loads(notebook.NOTEBOOK.read_text(encoding="utf-8"))
    assert shown(notebook.executed(committed, quick=True)) == shown(committed)
    media = {kind for outputs in shown(committed) for output in outputs for kind in output}
    assert media == {"image/png", "stdout", "text/html", "text/plain"}


def test_the_notebook_is_small_and_names_no_folder_of_its_author(notebook):
    text = notebook.NOTEBOOK.read_text(encoding="utf-8")
    assert len(text.encode()) < LARGEST_NOTEBOOK_BYTES
    assert not re.search(r"/(home|tmp|work|root)/", text)


def test_the_records_of_the_essay_stand_with_its_commands(essay, page):
    listed = (paths.ROOT / "results" / "measured" / "README.md").read_text(encoding="utf-8")
    for part in page.split("```bash\n")[1:]:
        if table := essay.TABLE.search(part):
            command = part.partition("\n")[0]
            row = f"| `essay-{table['name']}.jsonl` | `{command} --seed 0,1,2` |"
            assert row in listed
