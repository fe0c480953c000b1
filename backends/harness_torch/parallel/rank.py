"""One rank of a data-parallel trainer: ``torchrun -m harness_torch.parallel.rank SOCKET KIND``.

It makes replicas and does what the worker asks. It ends with the worker: when its socket closes, or
on Linux by a signal of the kernel when torchrun has ended.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import socket
import sys
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any, NoReturn

import numpy as np
import psutil
import torch
import torch.distributed

from harness.contract import Batch
from harness_torch.batch import DeviceBatch
from harness_torch.parallel.replica import Replica
from harness_torch.parallel.wire import Arrays, Message, receive, send
from harness_torch.parallel.wire_format import error_words, from_wire

PR_SET_PDEATHSIG = 1
COLLECTIVE = ("trainer", "step")  # if one rank fails in these, the others wait for it in vain
Reply = tuple[dict[str, Any], Arrays]


class Service:
    """The replicas of one rank and their batches, by number."""

    def __init__(self, kind: str) -> None:
        number = int(os.environ["LOCAL_RANK"])
        self.device = kind if kind == "cpu" else f"{kind}:{number}"
        self._replicas: dict[int, Replica] = {}
        self._batches: dict[int, DeviceBatch] = {}
        self._baseline_bytes = 0

    def facts(self) -> dict[str, Any]:
        """Return the first message to the worker."""
        rank, ranks = torch.distributed.get_rank(), torch.distributed.get_world_size()
        threads = torch.get_num_threads()
        return {"rank": rank, "ranks": ranks, "device": self.device, "threads": threads}

    def answer(self, content: Mapping[str, Any], arrays: Arrays) -> Reply | None:
        """Do what a message says; None if it asks for no answer."""
        for number in content.get("forget", ()):
            self._replicas.pop(number, None)
            self._batches.pop(number, None)
        reply: Reply | None = getattr(self, f"_{content['do']}")(content, arrays)
        return reply

    def _trainer(self, content: Mapping[str, Any], arrays: Arrays) -> Reply:
        model, rule, execution = from_wire(content["trainer"])
        execution = replace(execution, device=self.device)
        self._replicas[content["number"]] = Replica(model, rule, dict(arrays), execution)
        self._baseline_bytes = psutil.Process().memory_info().rss
        return {}, {}

    def _put(self, content: Mapping[str, Any], arrays: Arrays) -> Reply:
        batch = Batch(arrays["inputs"], arrays["targets"], arrays["mask"], content["carry"])
        share = self._replica(content).put_share(batch, content["counted"])
        self._batches[content["number"]] = share
        return {}, {}

    def _compile(self, content: Mapping[str, Any], _: Arrays) -> Reply:
        return {"compiled": self._replica(content).compile(self._batches[content["batch"]])}, {}

    def _step(self, content: Mapping[str, Any], _: Arrays) -> None:
        self._replica(content).queue_step(self._batches[content["batch"]])

    def _synchronize(self, content: Mapping[str, Any], _: Arrays) -> Reply:
        replica = self._replica(content)
        figures = {
            name: np.array(values, np.float64) for name, values in replica.finish_steps().items()
        }
        facts = {"seconds": replica.seconds, "peak_bytes": self._peak_bytes(replica)}
        return {**facts, "compilations": replica.compilations()}, figures

    def _outputs(self, content: Mapping[str, Any], _: Arrays) -> Reply:
        return {}, {"outputs": self._replica(content).outputs(self._batches[content["batch"]])}

    def _gradients(self, content: Mapping[str, Any], _: Arrays) -> Reply:
        gradients = self._replica(content).gradients(self._batches[content["batch"]])
        return {"loss": gradients.loss}, {**gradients.parameters, "hidden": gradients.hidden}

    def _parameters(self, content: Mapping[str, Any], _: Arrays) -> Reply:
        return {}, self._replica(content).parameters()

    def _load(self, content: Mapping[str, Any], arrays: Arrays) -> Reply:
        self._replica(content).load(dict(arrays))
        return {}, {}

    def _state(self, content: Mapping[str, Any], _: Arrays) -> Reply:
        state = self._replica(content).state()
        parts = {str(index): part for index, part in enumerate(state or ())}
        return {"carried": state is not None}, parts

    def _load_state(self, content: Mapping[str, Any], arrays: Arrays) -> Reply:
        state = tuple(arrays[str(index)] for index in range(len(arrays)))
        self._replica(content).load_state(state if content["carried"] else None)
        return {}, {}

    def _placement(self, content: Mapping[str, Any], _: Arrays) -> Reply:
        replica = self._replica(content)
        return {**asdict(replica.placement()), "sequences": replica.sequences}, {}

    def _replica(self, content: Mapping[str, Any]) -> Replica:
        return self._replicas[content["replica"]]

    def _peak_bytes(self, replica: Replica) -> int:
        """Return the device's peak; on a CPU this process's growth since the replica was made."""
        device = replica.peak_memory()
        if device is not None:
            return device
        unit = 1 if sys.platform == "darwin" else 1024
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
        return max(0, peak - self._baseline_bytes)


def serve(connection: socket.socket, service: Service) -> None:
    """Answer messages until the worker has gone, or a failed update leaves the others waiting."""
    with contextlib.suppress(BrokenPipeError):
        while (message := receive(connection)) is not None:
            if not _replied(connection, service, message):
                return


def _replied(connection: socket.socket, service: Service, message: Message) -> bool:
    try:
        reply = service.answer(*message)
    except Exception as error:  # noqa: BLE001 (the worker raises it again)
        fatal = message[0]["do"] in COLLECTIVE
        send(connection, {"error": error_words(error), "fatal": fatal})
        return not fatal
    if reply is not None:
        send(connection, *reply)
    return True


def main() -> NoReturn:
    """Join the others, report to the worker, and serve."""
    path, kind = sys.argv[1:]
    _end_with_parent()
    if kind != "cpu":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    torch.distributed.init_process_group("gloo" if kind == "cpu" else "nccl")
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        service = Service(kind)
        send(connection, service.facts())
        serve(connection, service)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # waits for no collective and no thread of the engine


def _end_with_parent() -> None:
    """Let the kernel kill this process when torchrun ends: it may hang outside of its socket."""
    if sys.platform == "linux":
        parent = os.getppid()
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it has ended meanwhile
            os._exit(1)


if __name__ == "__main__":
    main()
