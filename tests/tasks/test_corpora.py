import hashlib
import re
import sys
import threading
import zipfile
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from itertools import pairwise

import numpy as np
import pytest

from harness.contract import CorpusError, UnavailableError, UnknownNameError
from harness_tasks import Char
from harness_tasks.texts import corpora, downloads, grammar, text

SEED = np.random.SeedSequence(0)


def read(path, *, as_bytes=False, limit=None):
    return text.read_text(str(path), path, as_bytes=as_bytes, limit=limit)


def decoded(found):
    return found.vocabulary.decode(np.asarray(found.tokens, dtype=np.int32))


@pytest.fixture
def written(tmp_path):
    def write(content):
        path = tmp_path / "corpus.txt"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


# Texts and their faults


@pytest.mark.parametrize(
    "content", ["hello world", "naïve 😀 text", "a\r\nb\nc\r", "\ttab", "中文字"]
)
def test_characters_are_kept_as_they_are(written, content):
    found = read(written(content))
    assert decoded(found) == content
    assert found.vocabulary.symbols == "".join(sorted(set(content)))
    assert found.distinct == len(set(content))
    assert found.digest == hashlib.sha256(content.encode()).hexdigest()


def test_a_byte_order_mark_is_dropped_from_characters_and_kept_in_bytes(written):
    path = written(b"\xef\xbb\xbfab")
    assert decoded(read(path)) == "ab"
    assert read(path, as_bytes=True).tokens.tolist() == [0xEF, 0xBB, 0xBF, 97, 98]


@pytest.mark.parametrize("limit", [1, 2, 3, 4])
def test_a_limit_counts_characters_and_reads_no_further(written, limit):
    path = written("é😀".encode() * 10 + b"\xff")
    if limit == 1:
        with pytest.raises(CorpusError, match="only one distinct character, 'é'"):
            read(path, limit=limit)
    else:
        assert decoded(read(path, limit=limit)) == "é😀é😀"[:limit]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\xef\xbb\xbf", "is empty"),
        (b"aaaa", "only one distinct character, 'a'"),
        (b"abc\xe9def", "not UTF-8: byte 0xe9 at byte 3; .*-t char --set .*=bytes"),
        (b"\xef\xbb\xbfab\xff", "byte 0xff at byte 5"),
        (b"ab\xc3", "byte 0xc3 at byte 2"),
        ("ab".encode("utf-16"), "iconv -f UTF-16 -t UTF-8"),
        ("é\0b".encode(), "a NUL at byte 2; train on its bytes"),
        (b"\xef\xbb\xbfa\0", "a NUL at byte 4"),
    ],
)
def test_a_text_that_cannot_be_used_names_the_place_and_the_fix(written, content, message):
    with pytest.raises(CorpusError, match=message):
        read(written(content))


@pytest.mark.parametrize("content", [b"abc\xe9def", b"a\0b", "ab".encode("utf-16")])
def test_the_bytes_vocabulary_is_a_way_out(written, content):
    assert bytes(read(written(content), as_bytes=True).tokens) == content


@pytest.mark.slow
def test_a_file_too_large_to_decode_is_refused_at_once_but_not_as_bytes(tmp_path):
    path = tmp_path / "sparse.txt"
    with path.open("wb") as file:  # a hole: takes no room on the disk
        file.write(b"ab")
        file.truncate(text.LARGEST_CHARACTER_FILE_BYTES + 1)
    with pytest.raises(
        CorpusError, match=r"268,435,457 bytes are more than 268,435,456 to decode; use a part"
    ):
        read(path)
    assert decoded(read(path, limit=2)) == "ab"
    found = read(path, as_bytes=True)
    assert isinstance(found.tokens, np.memmap)
    assert found.distinct == 3


def test_a_vocabulary_of_thousands_of_characters_is_encoded(written):
    content = "".join(map(chr, range(0x4E00, 0x4E00 + 5000))) * 2
    found = read(written(content))
    assert found.vocabulary.size == 5000
    assert decoded(found) == content


# Names


def test_an_unknown_name_lists_the_nearest(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnknownNameError, match=r"'grammer'. Did you mean grammar"):
        corpora.locate("grammer")


@pytest.mark.parametrize("name", ["corpus.txt", "./corpus.txt", "folder/../corpus.txt", "plain"])
def test_an_existing_file_is_found_by_relative_path(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    for file in ("corpus.txt", "plain"):
        (tmp_path / file).write_text("abc")
    assert corpora.locate(name).path.samefile(name)


def test_a_known_name_is_never_taken_for_a_file_in_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "grammar").write_text("abc")
    assert isinstance(corpora.locate("grammar"), corpora.Grammar)
    assert isinstance(corpora.locate("./grammar"), corpora.File)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.txt", "no such file .looked for /"),
        ("a/b", "no such file"),
        (".", "is a directory"),
        ("/dev/null", "not a regular file"),
        ("x" * 300, "cannot be read: .*name too long"),
    ],
)
def test_a_path_that_is_no_file_says_why(tmp_path, monkeypatch, name, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CorpusError, match=message):
        corpora.locate(name)


@pytest.mark.parametrize(("content", "message"), [("", "is empty"), ("ab", "too short")])
def test_a_file_that_cannot_do_is_found_before_any_trial_runs(written, content, message):
    with pytest.raises(CorpusError, match=message):
        Char(Char.Options(corpus=str(written(content))), 5).check()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"abc\xe9def" * 9, "not UTF-8: byte 0xe9 at byte 3"),
        ("abcdefgh".encode("utf-16"), "iconv -f UTF-16 -t UTF-8"),
        (b"abcdefgh\0" * 9, "a NUL at byte 8"),
        (b"a" * 99, "only one distinct character, 'a'"),
    ],
)
def test_a_text_that_cannot_be_used_is_found_before_any_trial_runs(written, content, message):
    with pytest.raises(CorpusError, match=message):
        Char(Char.Options(corpus=str(written(content))), 5).check()


@pytest.mark.parametrize("chunk", [1, 2, 3, 5, 1 << 22])
@pytest.mark.parametrize("content", ["naïve 😀 text 中文字", "\ufeffé😀é"])
@pytest.mark.parametrize("limit", [None, 3])
def test_a_text_is_the_same_in_pieces_of_any_size(written, monkeypatch, chunk, content, limit):
    monkeypatch.setattr(text, "_CHUNK", chunk)
    path = written(content)
    expected = content.removeprefix("\ufeff")[:limit]
    assert decoded(read(path, limit=limit)) == expected
    assert text.check_text("x", path, as_bytes=False, limit=limit) == len(expected)


@pytest.mark.parametrize("chunk", [1, 2, 3, 5])
@pytest.mark.parametrize(
    ("content", "at"), [("é😀".encode() + b"\xff!", 6), ("é😀\0".encode(), 6), (b"ab\xc3", 2)]
)
def test_a_fault_is_at_the_same_byte_in_pieces_of_any_size(
    written, monkeypatch, chunk, content, at
):
    monkeypatch.setattr(text, "_CHUNK", chunk)
    with pytest.raises(CorpusError, match=f"at byte {at};"):
        read(written(content))


# Python's own library


def test_pydoc_is_prose_without_repetition():
    text = corpora.locate("pydoc").read(SEED, None).decode("ascii")
    paragraphs = text.split("\n\n")
    assert len(text) > 150_000
    assert len(set(paragraphs)) == len(paragraphs)
    assert (
        min(sum(c.isalpha() or c.isspace() for c in each) / len(each) for each in paragraphs) > 0.7
    )
    assert set(corpora.locate("pydoc").facts()) == {"python"}


def test_stdlib_is_real_code_in_a_small_vocabulary():
    found = text.read_text(
        "stdlib", corpora.locate("stdlib").read(SEED, None), as_bytes=False, limit=None
    )
    assert 500_000 < len(found.tokens) < 2_000_000
    assert 90 <= found.distinct <= 100
    assert "def insort_right(a, x, lo=0, hi=None" in decoded(found)


def test_a_python_without_its_source_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(corpora.sysconfig, "get_path", lambda name: str(tmp_path))
    with pytest.raises(CorpusError, match=r"no source of its library .*set the option corpus"):
        corpora.locate("stdlib").read(SEED, None)


# The grammar


def test_no_token_of_the_grammar_begins_another_and_probabilities_sum_to_one():
    for offered in grammar.chain().offers.values():
        tokens = sorted(choice.token for choice in offered)
        assert not any(after.startswith(before) for before, after in pairwise(tokens))
        assert sum(choice.probability for choice in offered) == pytest.approx(1, abs=1e-12)


def test_brackets_quotes_and_indentation_are_matched():
    lines = grammar.generate(np.random.default_rng(1), 100_000).split("\n")[:-1]
    for before, line in pairwise(lines):
        depth = len(line) - len(line.lstrip(" "))
        before_depth = len(before) - len(before.lstrip(" "))
        statement = re.sub(r"^ *(if|while|return) |:$", "", re.sub(r"\d+", "1", line))
        compile(statement.strip(), "line", "exec")  # brackets and quotes match as Python's do
        assert depth == before_depth + 2 if before.endswith(":") else depth <= before_depth


def character_log_probability(written):
    """Return ln p of a text by following the tokens that are possible, character by character."""
    state, prefix, total = grammar.START, "", 0.0
    for character in written:
        possible = [c for c in grammar.chain().offers[state] if c.token.startswith(prefix)]
        agreeing = [c for c in possible if c.token.startswith(prefix + character)]
        total += np.log(sum(c.probability for c in agreeing) / sum(c.probability for c in possible))
        prefix += character
        if agreeing[0].token == prefix:
            state, prefix = agreeing[0].state, ""
    return total


def test_the_entropy_rate_is_the_surprise_per_character_of_a_long_text():
    rates = []
    for seed in range(8):
        written = grammar.generate(np.random.default_rng(seed), 10_000)
        rates.append(-character_log_probability(written) / len(written))
    error = np.std(rates, ddof=1) / np.sqrt(8)
    assert error < 0.01
    assert np.mean(rates) == pytest.approx(grammar.entropy_rate(), abs=4 * error)


def test_equal_generators_write_equal_texts_and_longer_ones_begin_alike():
    short, long = (grammar.generate(np.random.default_rng(3), size) for size in (1000, 5000))
    assert len(short) == 1000
    assert long.startswith(short)


# Downloads

CONTENT = b"some text that is downloaded " * 100


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.requests.append(self.path)
        if self.path == "/gone.txt":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[: len(CONTENT) // 2] if self.path == "/half.txt" else CONTENT)

    def log_message(self, *arguments): ...


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.requests = []
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def offered(server, tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    url = f"http://127.0.0.1:{server.server_port}/whole.txt"
    return downloads.Download("sometext", "some.txt", url, hashlib.sha256(CONTENT).hexdigest())


def test_a_download_is_fetched_once_and_checked(offered, server, tmp_path):
    pytest.importorskip("pooch", reason="pooch is not installed")
    path = downloads.fetch(offered)
    assert path == tmp_path / "cache" / "some.txt"
    assert path.read_bytes() == CONTENT
    assert downloads.fetch(offered) == path
    assert server.requests == ["/whole.txt"]


@pytest.mark.parametrize("path", ["gone.txt", "half.txt"])
def test_a_download_that_fails_leaves_nothing_and_says_where_to_put_it_by_hand(
    offered, tmp_path, path
):
    pytest.importorskip("pooch", reason="pooch is not installed")
    broken = replace(offered, url=offered.url.replace("whole.txt", path))
    with pytest.raises(
        CorpusError, match=rf"{path}.*by hand and put it at {tmp_path}/cache/some.txt"
    ):
        downloads.fetch(broken)
    assert list((tmp_path / "cache").iterdir()) == []


def test_no_connection_says_where_to_put_the_file_by_hand(offered):
    pytest.importorskip("pooch", reason="pooch is not installed")
    nowhere = replace(offered, url="http://127.0.0.1:9/some.txt")
    with pytest.raises(
        CorpusError, match=r"could not be fetched from .*Check the connection.*by hand"
    ):
        downloads.fetch(nowhere)


def test_a_wrong_hash_names_file_expected_and_found_and_keeps_nothing(offered, tmp_path):
    pytest.importorskip("pooch", reason="pooch is not installed")
    other = replace(offered, sha256="0" * 64)
    with pytest.raises(
        CorpusError, match=f"some.txt .*has SHA-256 {offered.sha256}, expected {'0' * 64}.*by hand"
    ):
        downloads.fetch(other)
    assert list((tmp_path / "cache").iterdir()) == []


def test_without_pooch_the_fix_is_named_and_no_connection_opened(offered, server, monkeypatch):
    monkeypatch.setattr(downloads, "find_spec", lambda name: None)
    with pytest.raises(
        UnavailableError, match=r"pip install 'rnn-harness\[corpora\]', or download .* by hand"
    ):
        downloads.fetch(offered)
    assert server.requests == []


def test_a_file_put_there_by_hand_needs_neither_pooch_nor_network(
    offered, server, tmp_path, monkeypatch
):
    monkeypatch.setattr(downloads, "find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "pooch", None)
    monkeypatch.setitem(corpora.DOWNLOADS, "sometext", offered)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "some.txt").write_bytes(CONTENT)
    task = Char(Char.Options(corpus="sometext"), 5)
    task.check()
    task.prepare(SEED)
    assert task.facts()["digest"] == offered.sha256
    assert server.requests == []


def test_a_wrong_file_put_there_by_hand_is_refused_and_kept(offered, tmp_path):
    path = tmp_path / "cache" / "some.txt"
    path.parent.mkdir()
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(CorpusError, match=f"2,899 bytes.*expected {offered.sha256}.*delete {path}"):
        downloads.fetch(offered)
    assert path.read_bytes() == CONTENT[:-1]


def test_a_zipped_corpus_is_read_from_its_member(offered, tmp_path):
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("inside", CONTENT)
    zipped = replace(offered, sha256=hashlib.sha256(buffer.getvalue()).hexdigest(), member="inside")
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "some.txt").write_bytes(buffer.getvalue())
    assert corpora.Named(zipped).read(SEED, None) == CONTENT


def test_a_cache_folder_that_cannot_be_made_names_the_variable(offered, tmp_path, monkeypatch):
    pytest.importorskip("pooch", reason="pooch is not installed")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(CorpusError, match="HARNESS_CACHE"):
        downloads.fetch(offered)


def test_the_cache_is_the_platforms_unless_a_variable_names_another(tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path))
    assert downloads.cache_folder() == tmp_path
    monkeypatch.delenv("HARNESS_CACHE")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert downloads.cache_folder() == tmp_path / "xdg" / "rnn-harness"


def test_no_home_directory_names_the_variable(monkeypatch):
    def no_home():
        raise RuntimeError

    monkeypatch.delenv("HARNESS_CACHE", raising=False)
    monkeypatch.setattr(downloads.Path, "home", no_home)
    with pytest.raises(CorpusError, match="HARNESS_CACHE"):
        downloads.cache_folder()
