"""Curves that are decoded when they are read."""

import errno
import zlib
from dataclasses import replace

import pytest

from chart_records import make
from harness.contract.errors import StoreError
from harness_results.store import packed
from harness_results.store.database import decoding
from harness_results.store.packed import PackedCurves, Spool
from harness_results.store.store import Store
from harness_results.study.reported import reported


def stored(tmp_path, records):
    path = tmp_path / "s.sqlite"
    with Store.open(path) as store:
        run = store.begin_run("harness run")
        for record in records:
            store.add(record, run)
    return path


def test_a_report_decodes_a_curve_when_it_is_read(tmp_path, monkeypatch):
    record = replace(make(), details={"gradient_exploding": False})
    path = stored(tmp_path, [record])
    decoded = []
    check = decoding.from_json
    monkeypatch.setattr(
        decoding, "from_json", lambda *given: decoded.append(given) or check(*given)
    )
    with Store.open(path, create=False) as store:
        (shown,) = reported(store)
    assert "loss" in shown.curves
    assert "losses" not in shown.curves
    assert (set(shown.curves), decoded) == (set(record.curves), [])
    assert shown.curves["loss"] == record.curves["loss"]
    assert len(decoded) == 1
    assert shown.curves == record.curves


@pytest.mark.parametrize("content", ["text", 5, None])
def test_a_curve_that_is_not_bytes_is_damage_when_it_is_read(content):
    curves = PackedCurves({"loss": content, "norm": zlib.compress(b"[1.0]")}, Spool())
    assert curves["norm"] == [1.0]
    with pytest.raises(StoreError, match=r"'loss' .*expected bytes, got .*harness store check"):
        curves["loss"]


def test_the_launches_of_a_trial_leave_their_curves_packed(tmp_path, monkeypatch):
    record = replace(make(), details={"gradient_exploding": False})
    path = stored(tmp_path, [record, record])
    with Store.open(path, create=False) as store:
        monkeypatch.setattr(PackedCurves, "__getitem__", lambda *_: pytest.fail("a curve is read"))
        (shown,) = reported(store)
    assert shown.curves["launch_tokens_per_second"] == [make().figures["tokens_per_second"]] * 2


def test_many_curves_are_kept_in_a_temporary_file_that_ends_with_them(tmp_path, monkeypatch):
    monkeypatch.setattr(packed, "MOST_BYTES", 100)
    path = stored(tmp_path, [make(length=n) for n in (10, 20, 30)])
    with Store.open(path, create=False) as store:
        shown = reported(store)
    assert [record.curves for record in shown] == [make(length=n).curves for n in (10, 20, 30)]
    file = shown[0].curves._spool._file
    assert file.fileno() > 2  # no longer in memory
    del shown
    assert file.closed


def test_a_temporary_file_that_cannot_be_written_is_named_with_its_fix(monkeypatch):
    class FullDisk:
        def seek(self, *given):
            raise OSError(errno.ENOSPC, "No space left on device")

    spool = Spool()
    monkeypatch.setattr(spool, "_file", FullDisk())
    for use in (lambda: spool.put(b"1"), lambda: spool.get(0)):
        with pytest.raises(StoreError, match=r"No space left on device\. Fix: set TMPDIR"):
            use()


def test_a_damaged_curve_is_named(tmp_path):
    path = stored(tmp_path, [make()])
    with Store.open(path) as store:
        store.database.run(
            lambda c: c.exec_driver_sql("UPDATE curves SET content = X'00' WHERE name = 'loss'"),
            write=True,
        )
        (shown,) = reported(store)
    assert shown.curves["gradient_norm"]
    with pytest.raises(StoreError, match=r"curve 'loss' of a record cannot be read .*store check"):
        shown.curves["loss"]


def test_the_curves_of_an_older_record_are_read_once_to_tell_whether_its_gradient_explodes(
    tmp_path, monkeypatch
):
    record = make()
    assert "gradient_exploding" not in record.details
    with Store.open(stored(tmp_path, [record]), create=False) as store:
        (shown,) = reported(store)
    monkeypatch.setattr(PackedCurves, "__getitem__", lambda *_: pytest.fail("a curve is read"))
    assert shown.exploding() is record.exploding() is False
