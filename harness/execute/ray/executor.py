"""The cluster executor: launches are tasks of a Ray cluster, each in a worker process on a node.

Records and weights come back to this process. Only it keeps them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from harness.contract import Record, Trial
from harness.execute.launch import OnEvent, ignore
from harness.execute.ray.cluster import AUTO, connected
from harness.execute.ray.needs import Wishes
from harness.execute.ray.window import Window
from harness.execute.settings import LocalSettings
from harness.execute.stop import StopRequest
from harness.plugins import Plugins


@dataclass(frozen=True)
class RayExecutor:
    """Runs launches on a Ray cluster.

    Attributes:
        address: HOST:PORT of the head node; ``auto``: $RAY_ADDRESS or this machine's; ``local``:
            start one here.
        wishes: what every launch needs of a node, except processors and a GPU.
    """

    address: str = AUTO
    wishes: Wishes = field(default_factory=Wishes)

    def __call__(
        self,
        trials: Iterable[Trial],
        *,
        settings: LocalSettings | None = None,
        on_event: OnEvent | None = None,
        stop: StopRequest | None = None,
        plugins: Plugins | None = None,
    ) -> Iterator[Record]:
        """Yield one record for each launch that was started, as they end.

        Args:
            trials: one entry per launch.
            settings: limits and directories (which exist here; nodes need none).
            on_event: called at the start and the end of each launch; other events stay on the
                node.
            stop: a signal handler requests a stop with it.
            plugins: if they are loaded here; those that are blocked are blocked on the nodes.

        Raises:
            UsageError: there is no cluster at the address.
        """
        settings = settings or LocalSettings()
        blocked = (*settings.block, *(plugins.blocked if plugins else ()))
        settings = replace(settings, block=tuple(dict.fromkeys(blocked)))
        with StopRequest() as never, connected(self.address) as ray:
            window = Window(ray, self.wishes, settings, on_event or ignore, stop or never)
            yield from window.records(trials)
