"""How often XLA has compiled in this process."""

from __future__ import annotations

import jax

# Once per program that is compiled, never for a cached one.
EVENT = "/jax/core/compile/backend_compile_duration"


_seconds: list[float] = []


def _listen(event: str, duration_secs: float, **_: str | int) -> None:
    if event == EVENT:
        _seconds.append(duration_secs)


jax.monitoring.register_event_duration_secs_listener(_listen)


def compilations() -> int:
    """Return the number of programs compiled since this module was imported."""
    return len(_seconds)
