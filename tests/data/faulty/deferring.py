"""Engines that hide 20 ms a step from a trusting clock, each in another way, and an honest one."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import replace

from harness.contract import StepResult
from harness_numpy.trainer import NumpyTrainer

SECONDS = 0.02


class Scalar:
    """A number that does something when somebody looks, or when nobody can look any more."""

    def __init__(self, value, look=lambda: None, drop=lambda: None):
        self.value, self.look, self.drop = value, look, drop

    def __float__(self):
        self.look()
        return float(self.value)

    def __bool__(self):
        return float(self) != 0

    def __del__(self):
        self.drop()


class Plain(NumpyTrainer):
    """The NumPy trainer, whatever variant was asked for."""

    def __init__(self, model, optimizer, parameters, execution):
        super().__init__(model, optimizer, parameters, replace(execution, variant="vectorised"))


class Sleeps(Plain):
    """Hides nothing: every step takes 20 ms more."""

    def train_step(self, batch):
        time.sleep(SECONDS)
        return super().train_step(batch)


class Owes(Plain):
    """Owes 20 ms for every step, and pays when ``pay`` is called."""

    def __init__(self, *arguments):
        self.owed = 0
        super().__init__(*arguments)

    def train_step(self, batch):
        self.owed += 1
        return super().train_step(batch)

    def pay(self):
        owed, self.owed = self.owed, 0
        if owed:
            time.sleep(SECONDS * owed)


def paying_in(*methods):
    """Return a class of engine that pays in these methods only."""

    def paying(name):
        def method(self, *arguments):
            self.pay()
            return getattr(Plain, name)(self, *arguments)

        return method

    return type("PaysIn_" + "_".join(methods), (Owes,), {name: paying(name) for name in methods})


def paying_at(field):
    """Return an engine class whose steps do their work when one of their scalars is fetched."""

    class PaysAt(Plain):
        def train_step(self, batch):
            result, owed = super().train_step(batch), [1]

            def look():
                if owed:
                    owed.pop()
                    time.sleep(SECONDS)

            return replace(result, **{field: Scalar(getattr(result, field), look)})

    return PaysAt


class PaysAtLoading(Owes):
    def load(self, parameters):
        if hasattr(self, "_update"):
            self.pay()
        super().load(parameters)


class PaysForTheLast(Owes):
    """Only the scalars of the newest step wait for its work. The rest shows in the weights."""

    newest = None

    def train_step(self, batch):
        result = super().train_step(batch)
        self.newest = number = object()

        def look():
            if self.newest is number and self.owed:
                self.owed -= 1
                time.sleep(SECONDS)

        return replace(result, loss=Scalar(result.loss, look))

    def parameters(self):
        self.pay()
        return super().parameters()


class PaysEveryOtherWait(Owes):
    waits = 0

    def synchronize(self):
        self.waits += 1
        if self.waits % 2 == 0:
            self.pay()


class PaysNowAndThen(Owes):
    """Pays when it copies a batch, but only one time in ten."""

    puts = 0

    def put(self, batch):
        self.puts += 1
        if self.puts % 10 == 0:
            self.pay()
        return super().put(batch)


class PaysWhenForgotten(Plain):
    def train_step(self, batch):
        result = super().train_step(batch)
        return replace(result, loss=Scalar(result.loss, drop=lambda: time.sleep(SECONDS)))


class WorksAhead(Plain):
    """Does the work of a step while the batch is copied."""

    def put(self, batch):
        time.sleep(SECONDS)
        return super().put(batch)


class Threaded(Plain):
    """Works in a thread of its own, and hands back the scalars of the step before."""

    waits = True

    def __init__(self, *arguments):
        self.queue, self.wake, self.last, self.busy = deque(), threading.Condition(), None, False
        super().__init__(*arguments)
        threading.Thread(target=self.work, daemon=True).start()

    def work(self):
        while True:
            with self.wake:
                self.wake.wait_for(lambda: self.queue)
                batch, self.busy = self.queue.popleft(), True
            time.sleep(SECONDS)
            with self.wake:
                self.last = super().train_step(batch)
                self.busy = False
                self.wake.notify_all()

    def train_step(self, batch):
        with self.wake:
            self.queue.append(batch)
            self.wake.notify_all()
            self.wake.wait_for(lambda: self.last)  # the first step is honest
            return self.last

    def settle(self):
        with self.wake:
            self.wake.wait_for(lambda: not self.queue and not self.busy)

    def parameters(self):
        if self.waits:
            self.settle()
        with self.wake:
            return super().parameters()

    def load(self, parameters):
        if hasattr(self, "_update"):
            self.settle()
        with self.wake:
            super().load(parameters)

    def load_state(self, state):
        self.settle()
        super().load_state(state)


class Stale(Threaded):
    """Shows the weights as they are, and not as they will be."""

    waits = False


class Coalesces(Threaded):
    """Of the batches that wait it trains on the newest only."""

    def train_step(self, batch):
        with self.wake:
            self.queue.clear()
        return super().train_step(batch)

    def synchronize(self):
        self.settle()


class NeverTrains(Plain):
    """Plausible scalars, and no work after the first step."""

    steps = 0

    def train_step(self, batch):
        self.steps += 1
        if self.steps == 1:
            return super().train_step(batch)
        return StepResult(2.0 / (1 + 0.01 * self.steps), 1.0 / self.steps)


class EveryTenth(Sleeps):
    """Trains at every tenth step, and repeats itself in between."""

    steps, last = 0, StepResult(2.0, 1.0)

    def train_step(self, batch):
        self.steps += 1
        if self.steps % 10 == 1:
            self.last = super().train_step(batch)
        return self.last


class Drops(Plain):
    """Forgets all but the last of the steps that nobody has waited for; alone, each is done."""

    pending, last = None, None

    def train_step(self, batch):
        self.pending = batch
        if self.last is None:
            self.synchronize()
        return self.last

    def synchronize(self):
        if self.pending is not None:
            batch, self.pending = self.pending, None
            time.sleep(SECONDS)
            self.last = Plain.train_step(self, batch)

    def parameters(self):
        self.synchronize()
        return super().parameters()


HONEST = {"sleeps": Sleeps}
DEFERRING = {
    "owes_loss": paying_at("loss"),
    "owes_norm": paying_at("gradient_norm"),
    "owes_clipped": paying_at("clipped"),
    "owes_all_but_one": PaysForTheLast,
    "owes_weights": paying_in("parameters"),
    "owes_loading": PaysAtLoading,
    "owes_batch": paying_in("put"),
    "owes_outputs": paying_in("outputs"),
    "owes_state": paying_in("state"),
    "owes_gradients": paying_in("gradients"),
    "owes_ranks": paying_in("ranks"),
    "owes_queries": paying_in("peak_memory", "compilations", "ranks", "placement"),
    "owes_every_other_wait": PaysEveryOtherWait,
    "owes_now_and_then": PaysNowAndThen,
    "owes_the_dead": PaysWhenForgotten,
    "works_ahead": WorksAhead,
    "threaded": Threaded,
    "stale": Stale,
    "coalesces": Coalesces,
    "drops": Drops,
    "never_trains": NeverTrains,
    "every_tenth": EveryTenth,
}
