from types import SimpleNamespace

import numpy as np
import pytest

from builders import trial_of
from harness.contract import DivergedError, Trainer, UsageError, Vocabulary
from harness.measure.sampling import TextOverTraining, draw, sample_text

ABC = Vocabulary("abc")


class Counter(Trainer):
    """Writes the letter after the sum of all that it has read, which is its state."""

    def __init__(self, logit=50.0):
        self.sum, self.logit, self.calls = None, logit, []

    def put(self, batch):
        return batch

    def outputs(self, batch):
        start = self.sum if batch.carry and self.sum is not None else 0
        sums = start + np.cumsum(batch.inputs[:, 0])
        self.calls.append((batch.inputs.shape, batch.inputs.dtype, batch.carry))
        self.sum = int(sums[-1])
        return self.logit * np.eye(3, dtype=np.float32)[(sums + 1) % 3][:, None]

    def state(self):
        return None if self.sum is None else (np.full((1, 1, 1), self.sum),)

    def load_state(self, state):
        self.sum = None if state is None else int(state[0].item())

    def train_step(self, batch): ...
    def synchronize(self): ...
    def gradients(self, batch): ...
    def parameters(self): ...
    def load(self, parameters): ...


def sample(trainer, **changes):
    settings = {
        "prime": "b",
        "length": 4,
        "temperature": 0.0,
        "rng": np.random.default_rng(0),
    } | changes
    return sample_text(trainer, ABC, **settings)


def test_the_prime_is_read_at_once_from_zero_and_then_each_token_in_turn():
    trainer = Counter()
    trainer.sum = 1  # must not leak into the sample
    assert sample(trainer, prime="bb") == expected("bb", 4)
    assert trainer.calls == [((2, 1), np.int32, False)] + [((1, 1), np.int32, True)] * 3


def expected(prime, length):
    total, written = sum(ABC.encode(prime)), []
    for _ in range(length):
        written.append((total + 1) % 3)
        total += written[-1]
    return ABC.decode(np.array(written))


@pytest.mark.parametrize(
    ("steps", "every", "expected"),
    [
        (2500, None, [1, 250, 2500]),
        (9, None, [1, 9]),
        (1, None, [1]),
        (40, 15, [1, 15, 30, 40]),
        (40, 20, [1, 20, 40]),
        (3, 1, [1, 2, 3]),
        (40, 100, [1, 40]),
    ],
)
def test_text_is_sampled_at_the_start_every_so_often_and_at_the_end(steps, every, expected):
    assert steps_of(steps, every=every) == expected
    assert steps_of(steps, every=every, length=0) == [steps]
    assert steps_of(steps, every=every, vocabulary=None) == [steps]


def steps_of(steps, *, every, length=5, vocabulary=ABC):
    task = SimpleNamespace(vocabulary=vocabulary)
    text = TextOverTraining(SimpleNamespace(trial=trial_of(steps=steps), task=task), length, every)
    sampled = [text.next_step(0)]
    while sampled[-1] < steps:
        sampled.append(text.next_step(sampled[-1]))
    return sampled


@pytest.mark.parametrize("carried", [None, 7])
def test_the_carried_state_is_put_back(carried):
    trainer = Counter()
    trainer.sum = carried
    sample(trainer)
    assert trainer.sum == carried


def test_the_carried_state_is_put_back_after_an_error():
    trainer = Counter(logit=np.inf)
    trainer.sum = 5
    with np.errstate(invalid="ignore"), pytest.raises(DivergedError, match="not finite"):
        sample(trainer)
    assert trainer.sum == 5


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_tokens_are_drawn_in_proportion_to_exp_of_logit_over_temperature(temperature):
    logits = np.array([1.0, -0.5, 2.0, 0.0], dtype=np.float32)
    rng = np.random.default_rng(0)
    counts = np.bincount([draw(logits, temperature, rng) for _ in range(20_000)], minlength=4)
    wanted = np.exp(logits / temperature) / np.exp(logits / temperature).sum()
    assert counts / 20_000 == pytest.approx(
        wanted, abs=0.0125
    )  # 3.5 standard errors of a frequency of one half


@pytest.mark.parametrize("temperature", [0.0, 1e-320])
def test_temperature_towards_zero_takes_the_likeliest(temperature):
    assert {
        draw(np.array([0.1, 0.3, 0.2]), temperature, np.random.default_rng(seed))
        for seed in range(20)
    } == {1}


def test_a_huge_logit_does_not_overflow():
    assert draw(np.array([-1e30, 1e30], dtype=np.float32), 1.0, np.random.default_rng(0)) == 1


def test_equal_generators_write_equal_texts():
    texts = [
        sample(Counter(1.0), length=50, temperature=1.0, rng=np.random.default_rng(seed))
        for seed in (1, 1, 2)
    ]
    assert texts[0] == texts[1] != texts[2]
    assert len(texts[0]) == 50


def test_length_zero_is_an_empty_text_and_runs_nothing():
    trainer = Counter()
    assert sample(trainer, length=0) == ""
    assert trainer.calls == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prime": ""}, "empty prime"),
        ({"prime": "xyz"}, "does not occur"),
        ({"length": -1}, "length -1"),
        ({"length": 10**12}, "use 0 to 1,000,000"),
        ({"temperature": -0.1}, "temperature -0.1"),
        ({"temperature": float("nan")}, "temperature nan"),
        ({"temperature": float("inf")}, "temperature inf"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(changes, message):
    with pytest.raises(UsageError, match=message):
        sample(Counter(), **changes)
