"""Records that look as if combined over launches in fresh processes, to test comparisons."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from harness.contract import Record

START = datetime(2026, 1, 1, tzinfo=UTC)


def launched(
    record: Record, count: int = 5, spread: float = 0.01, minutes: int = 0, place: int = 0
) -> Record:
    """Return the record as if combined over ``count`` launches whose speeds scatter by ``spread``.

    Launches of different places took turns: their start times alternate.
    """
    speed = record.figures.get("tokens_per_second")
    if record.status != "ok" or not speed or count == 1:
        return record
    figures = []
    for n in range(count):
        began = START + timedelta(minutes=minutes, seconds=10 * n + (place + n) % 5)
        seen = speed * (1 + spread * (2 * n / (count - 1) - 1))
        figures.append(
            {
                **record.figures,
                "status": "ok",
                "started_at": began.isoformat(),
                "tokens_per_second": seen,
            }
        )
    details = {
        **record.details,
        "launches": count,
        "launch_figures": figures,
        "interval": "launches-bootstrap-bca",
    }
    return replace(record, details=details, started_at=figures[0]["started_at"])


def in_turns(records: list[Record], count: int = 5, spread: float = 0.01) -> list[Record]:
    """Return all records as if their launches took turns."""
    return [launched(record, count, spread, place=place) for place, record in enumerate(records)]
