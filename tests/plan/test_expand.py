from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.cells import GRU, LSTM, RNN
from harness.contract import (
    Available,
    Backend,
    Missing,
    Task,
    TaskDefaults,
    TaskOptions,
    Trial,
    UsageError,
)
from harness.plan.expand import expand, expand_with_notes
from harness.plan.file import read_plan
from harness.plan.request import PlanRequest, count, merge
from harness.plugins import Plugins


class Engine(Backend):
    name = "engine"
    present = True

    def availability(self):
        return (
            Available()
            if self.present
            else Missing("its library is not installed", "pip install engine")
        )

    def versions(self):
        return {}

    def variants(self, cell):
        return ("fast", "plain") if cell.name == "lstm" else ("plain",)

    def trainer(self, model, optimizer, parameters, execution):
        raise NotImplementedError


class Reference(Engine):
    name = "numpy"


class Absent(Engine):
    name = "absent"
    present = False


class Options(TaskOptions):
    symbols: int = 10


class Echo(Task):
    name = "echo"
    Options = Options
    defaults = TaskDefaults(hidden=16, batch=4, steps=50, learning_rate=0.5, clip_norm=2.0)
    minimum_length = 2

    def __init__(self, options, length):
        if length < self.minimum_length:
            raise UsageError(f"task echo needs a length of at least 2, got {length}")
        super().__init__(options, length)


for _method in tuple(Echo.__abstractmethods__):
    setattr(Echo, _method, None)
Echo.__abstractmethods__ = frozenset()

PLUGINS = Plugins(
    backends={"engine": Engine(), "absent": Absent(), "numpy": Reference()},
    tasks={"echo": Echo},
    cells={cell.name: cell for cell in (RNN(), LSTM(), GRU())},
)
ONE = {"backend": ["engine"], "task": ["echo"], "cell": ["lstm"], "length": [5]}


def trials(task_options=None, include=(), exclude=(), **axes):
    return expand(PlanRequest({**ONE, **axes}, task_options or {}, include, exclude), PLUGINS)


def test_the_product_of_the_axes_is_the_plan():
    plan = trials(cell=["rnn", "gru"], length=[5, 6, 7], seed=[0, 1])
    assert len(plan) == 12
    assert len({trial.trial_id for trial in plan}) == 12
    assert [(trial.cell, trial.length, trial.seed) for trial in plan[:3]] == [
        ("rnn", 5, 0),
        ("rnn", 5, 1),
        ("rnn", 6, 0),
    ]


def test_a_trial_takes_what_its_task_publishes_and_an_option_overrides_it():
    (published,) = trials()
    assert (published.hidden, published.batch, published.steps) == (16, 4, 50)
    assert (published.learning_rate, published.clip_norm) == (0.5, 2.0)
    (given_,) = trials(hidden=[8], learning_rate=[0.1], clip_norm=[None])
    assert (given_.hidden, given_.learning_rate, given_.clip_norm) == (8, 0.1, None)


def test_the_lengths_of_evaluation_are_no_axis_and_checked_as_lengths():
    (trial,) = trials(evaluate_at=[40, "2T"])
    assert trial.evaluate_at == (10, 40)
    assert [each.evaluate_at for each in trials(length=[5, 6], evaluate_at=["2T"])] == [
        (10,),
        (12,),
    ]
    _, included = trials(include=[{"cell": "gru", "evaluate_at": [7]}])
    assert included.evaluate_at == (7,)
    with pytest.raises(UsageError, match=r"evaluate_at = 1: .* a length of at least 2, got 1"):
        trials(evaluate_at=[1, 40])
    with pytest.raises(UsageError, match=r"evaluate_at = '3x': '3x' is not a length"):
        trials(evaluate_at=["3x"])


def test_clipping_by_value_replaces_the_published_clipping_by_norm():
    (trial,) = trials(clip_value=[1.0])
    assert (trial.clip_norm, trial.clip_value) == (None, 1.0)


def test_no_variant_means_the_default_and_all_means_every_one_of_the_cell():
    assert [trial.variant for trial in trials()] == ["fast"]
    assert [trial.engine for trial in trials(backend=["engine:all"], cell=["lstm", "gru"])] == [
        "engine:fast",
        "engine:plain",
        "engine:plain",
    ]


def test_a_variant_of_another_cell_stays_in_the_plan_to_be_recorded_as_unsupported():
    assert [trial.engine for trial in trials(backend=["engine:fast"], cell=["gru"])] == [
        "engine:fast"
    ]


def test_task_options_are_resolved_in_full_and_part_of_the_identity():
    (default,) = trials()
    (given_,) = trials(task_options={"echo": {"symbols": 3}})
    assert default.task_options == {"symbols": 10}
    assert given_.task_options == {"symbols": 3}
    assert default.trial_id != given_.trial_id


def test_includes_are_added_and_excludes_taken_away():
    plan = trials(length=[5, 6], include=[{"length": 9}], exclude=[{"length": 5, "cell": "lstm"}])
    assert [trial.length for trial in plan] == [6, 9]


@pytest.mark.parametrize(
    ("backend", "rule", "left"),
    [
        ("engine:all", "engine:fast", ["plain"]),
        ("engine:all", "engine", []),
        ("engine:plain", "engine", []),
        ("engine", "engine:fast", []),
        ("engine", "engine:plain", ["fast"]),
    ],
)
def test_a_backend_is_excluded_with_all_of_its_variants_or_by_one(backend, rule, left):
    plan = trials(length=[5, 6], backend=[backend], exclude=[{"length": 6, "backend": rule}])
    assert [trial.variant for trial in plan if trial.length == 6] == left


def test_an_exclude_that_could_never_match_is_an_error():
    with pytest.raises(UsageError, match="exclude names hidden, which would exclude nothing"):
        trials(exclude=[{"hidden": 16, "length": 5}])


def test_a_list_in_an_exclude_means_any_of_its_values():
    axes = {"length": [5, 6, 7], "cell": ["lstm", "gru"], "backend": ["engine:all"]}
    plan = trials(
        **axes,
        exclude=[{"length": [5, 7], "cell": "gru"}, {"backend": ["engine:fast"], "length": [6]}],
    )
    found = [(trial.cell, trial.length, trial.variant) for trial in plan]
    ends = [("lstm", length, variant) for length in (5, 7) for variant in ("fast", "plain")]
    assert sorted(found) == sorted([*ends, ("lstm", 6, "plain"), ("gru", 6, "plain")])


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"length": 200}, "exclude length = 200 would exclude nothing: no combination"),
        ({"length": "5"}, "exclude length = '5' would exclude nothing"),
        ({"length": [5, 70]}, r"length = 70 would exclude nothing; name values that the plan has"),
        ({"cell": "lstn", "length": 5}, "exclude cell = 'lstn', length = 5 would exclude nothing"),
        ({"length": 5, "cell": "gru"}, "no combination of the plan matches it"),
        ({"backend": "numpy", "length": 5}, "exclude backend = 'numpy'"),
        (
            {"backend": "engine:", "length": 5},
            "unknown variant of backend 'engine': ''. Available: fast, plain",
        ),
        (
            {"backend": "engine:fats", "length": 5},
            "unknown variant of backend 'engine': 'fats'. Did you mean fast",
        ),
    ],
)
def test_an_exclude_that_leaves_nothing_out_is_refused(rule, message):
    cases = [{"length": [5, 6], "cell": ["lstm"]}, {"length": [6], "cell": ["gru"]}]
    with pytest.raises(UsageError, match=message):
        expand(
            PlanRequest({"backend": ["engine"], "task": ["echo"]}, exclude=[rule], cases=cases),
            PLUGINS,
        )


def test_the_same_trial_is_never_planned_twice():
    assert len(trials(length=[5, 5], backend=["engine", "engine:fast"])) == 1


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({"backend": ["engin"]}, "unknown backend 'engin'. Did you mean engine"),
        ({"backend": ["engine:fats"]}, "Did you mean fast"),
        (
            {"backend": ["engine:"]},
            "unknown variant of backend 'engine': ''. Available: fast, fastest, plain",
        ),
        ({"backend": ["absent"]}, "its library is not installed. Fix: pip install engine"),
        ({"cell": ["lstn"]}, "Did you mean lstm"),
        ({"task": ["ecco"]}, "Did you mean echo"),
        ({"task": ["../echo"]}, "unknown task"),
        ({"length": [0]}, "length = 0: input should be greater than or equal to 1"),
        ({"length": [-3]}, "length = -3"),
        ({"length": [10**9]}, "less than or equal to 1000000"),
        ({"length": [1]}, "at least 2"),
        ({"batch": [0]}, "batch = 0"),
        ({"hidden": [0]}, "hidden = 0"),
        ({"learning_rate": [float("nan")]}, "learning_rate = nan"),
        ({"learning_rate": [-1.0]}, "greater than 0"),
        ({"optimizer": ["adma"]}, "'sgd', 'rmsprop', 'adagrad' or 'adam'"),
        ({"dtype": ["float16"]}, "'float32', 'float64', 'bfloat16' or 'tf32'"),
        (
            {"device": ["gpu7"]},
            "device 'gpu7' cannot be used by backend 'engine' here; usable: cpu",
        ),
        ({"clip_norm": [1.0], "clip_value": [1.0]}, "exclude each other"),
        ({"momentum": [0.9]}, "momentum = 0.9 would have no effect: it needs optimizer sgd"),
        (
            {"schedule": ["cosine"], "schedule_start": [30], "steps": [20]},
            "schedule_start = 30 would have no effect: it needs more steps",
        ),
        ({"decay": [0.9]}, "it needs optimizer rmsprop"),
        ({"schedule_factor": [0.5]}, "it needs schedule exponential"),
        ({"schedule_steps": [5]}, "it needs a schedule"),
        ({"schedule": ["exponential"]}, "it needs a schedule_factor below 1"),
        ({"lenght": [5]}, "Did you mean length"),
        ({"length": []}, "axis 'length' is empty"),
    ],
)
def test_bad_input_is_refused_with_what_which_and_the_fix(axes, message):
    with pytest.raises(UsageError) as caught:
        trials(**axes)
    assert message in str(caught.value)


def test_all_errors_are_told_at_once():
    with pytest.raises(UsageError) as caught:
        trials(length=[0], hidden=[0], cell=["lstm", "lstn"])
    assert all(part in str(caught.value) for part in ("length = 0", "hidden = 0", "lstn"))


def test_an_unknown_axis_does_not_hide_the_other_errors():
    with pytest.raises(UsageError) as caught:
        trials(hiden=[3], hidden=[0], include=[{"lenght": 4}], exclude=[{"sed": 1}])
    assert all(part in str(caught.value) for part in ("'hiden'", "'lenght'", "'sed'", "hidden = 0"))


def test_options_are_checked_with_nearest_names():
    with pytest.raises(UsageError, match=r"Did you mean task\.echo\.symbols"):
        trials(task_options={"echo": {"symbol": 3}})
    with pytest.raises(UsageError, match=r"task\.echo\.symbols = 'many'"):
        trials(task_options={"echo": {"symbols": "many"}})
    with pytest.raises(UsageError, match="unknown task 'copi'"):
        trials(task_options={"copi": {"symbols": 3}})


def test_a_plan_of_a_million_trials_is_counted_and_refused_without_being_made():
    request = PlanRequest({**ONE, "seed": range(1000), "length": range(1, 1001)})
    assert count(request) == 1_000_000
    with pytest.raises(UsageError, match="1,000,000 trials"):
        expand(request, PLUGINS)


def test_excluding_everything_is_an_error():
    with pytest.raises(UsageError, match="no trial"):
        trials(exclude=[{"cell": "lstm"}])


@given(seed=st.integers(0, 2**31), length=st.integers(2, 10**6), hidden=st.integers(1, 65536))
def test_a_trial_id_is_a_function_of_content_alone(seed, length, hidden):
    axes = {"seed": [seed], "length": [length], "hidden": [hidden]}
    (one,), (two,) = trials(**axes), trials(**dict(reversed(axes.items())))
    (other,) = trials(**{**axes, "seed": [seed + 1]})
    assert one.trial_id == two.trial_id != other.trial_id


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "plan.toml"
    path.write_text(text)
    return path


def test_a_plan_file_holds_matrix_options_includes_and_excludes(tmp_path):
    request = read_plan(
        write(
            tmp_path,
            """
            [matrix]
            backend = ["engine"]
            task = "echo"
            cell = ["rnn", "lstm"]
            length = [5, 6]
            [task.echo]
            symbols = 4
            [[exclude]]
            cell = "rnn"
            length = 6
            [[include]]
            cell = "gru"
            """,
        )
    )
    plan = expand(merge(request, PlanRequest({"hidden": [3]})), PLUGINS)
    assert [(trial.cell, trial.length) for trial in plan] == [
        ("rnn", 5),
        ("lstm", 5),
        ("lstm", 6),
        ("gru", 5),
    ]
    assert all(trial.hidden == 3 and trial.task_options == {"symbols": 4} for trial in plan)


CASES = """
    launches = 3
    [matrix]
    task = "echo"
    backend = ["engine", "engine:plain"]
    [[case]]
    cell = "lstm"
    hidden = 3
    length = [5, 6]
    [[case]]
    cell = "gru"
    hidden = 4
    length = 7
    [[exclude]]
    backend = "engine:plain"
    hidden = 3
    length = 6
    """


def test_every_case_is_a_product_of_its_own(tmp_path):
    request = read_plan(write(tmp_path, CASES))
    plan = [
        (trial.cell, trial.hidden, trial.length, trial.variant)
        for trial in expand(request, PLUGINS)
    ]
    lstm = [("lstm", 3, 5, "fast"), ("lstm", 3, 6, "fast"), ("lstm", 3, 5, "plain")]
    assert plan == [*lstm, ("gru", 4, 7, "plain")]
    assert count(request) == 6
    assert request.options == {"launches": 3}


def test_flags_override_the_cases_too(tmp_path):
    plan = expand(
        merge(read_plan(write(tmp_path, CASES)), PlanRequest({"length": [9], "hidden": [4]})),
        PLUGINS,
    )
    found = {(trial.cell, trial.hidden, trial.length) for trial in plan}
    assert found == {("lstm", 4, 9), ("gru", 4, 9)}


def test_flags_override_the_file_axis_by_axis():
    merged = merge(PlanRequest({"length": [5], "seed": [1]}), PlanRequest({"length": [7]}))
    assert dict(merged.axes) == {"length": [7], "seed": [1]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[matrix", "not valid TOML"),
        ("[matirx]\nlength = 5", "Did you mean matrix|unknown option 'matirx'"),
        ("matrix = 3", "matrix = 3"),
        ("[matrix]\nlenght = [5]", "Did you mean length"),
        ("[matrix]\nlength = []", "is empty"),
        ("[[case]]\nlength = []", "axis 'length' is empty"),
        ("", r"plan\.toml: the plan is empty: give \[matrix\] an axis"),
        ("launches = 2\n[matrix]", "the plan is empty"),
        ("[matrix]\nseed = 0\n[[exclude]]", r"plan\.toml: exclude\.1: it names no axis"),
        ("[[include]]\nseed = 'x'", r"plan\.toml: include\.1\.seed = 'x'"),
        ("[backend.engine]\ndtype = 'int4'", r"plan\.toml: backend\.engine\.dtype = 'int4'"),
        ("[[case]]\nlenght = 5", "Did you mean length"),
        ("launches = 0", "launches = 0"),
        ("[matrix]\nlength = ['five']", "length = 'five'"),
        (
            "[matrix]\nlength = [5, true]",
            r"matrix\.length = \[5, True\]: no axis takes true or false",
        ),
        ("[[include]]\nhidden = false", r"include\.1\.hidden = False: no axis takes true or false"),
        ("launches = true", "launches = True"),
        ('launches = "3"', "launches = '3'"),
    ],
)
def test_a_bad_plan_file_is_refused_with_the_place(tmp_path, text, message):
    with pytest.raises(UsageError, match=message):
        expand(merge(PlanRequest(ONE), read_plan(write(tmp_path, text))), PLUGINS)


@pytest.mark.parametrize(
    ("text", "places"),
    [
        (
            (
                "bogus = 1\n[[includ]]\n[matrix]\nseed = []\nlenght = [5]\n"
                "backend = 'engin'\ntask = 'ecco'"
            ),
            [
                "unknown option 'bogus'",
                "unknown option 'includ'",
                "matrix: axis 'seed' is empty",
                "matrix: unknown axis 'lenght'",
                "matrix.backend: unknown backend 'engin'",
                "matrix.task: unknown task 'ecco'",
            ],
        ),
        (
            "timeout = -3\nretries = -1\nlaunches = 0\n[[case]]\nlength = []",
            ["timeout = -3", "retries = -1", "launches = 0", "case.1: axis 'length' is empty"],
        ),
        (
            "[matrix]\nbackend = '../x'\ntask = '<script>'\ncell = 'zzz'\nlength = -1\nhidden = 0",
            [
                "matrix.backend: unknown backend '../x'",
                "matrix.task: unknown task '<script>'",
                "matrix.cell: unknown cell 'zzz'",
                "matrix.length = -1",
                "matrix.hidden = 0",
            ],
        ),
        (
            (
                "[matrix]\nbackend='engine:fats'\ntask='echo'\nseed=[0, -1, -2]\n"
                "[task.ecco]\n[task.echo]\nsymbols='x'"
            ),
            [
                "matrix.backend: unknown variant of backend 'engine': 'fats'",
                "matrix.seed = -1",
                "matrix.seed = -2",
                "task.ecco: unknown task 'ecco'",
                "task.echo.symbols = 'x'",
            ],
        ),
    ],
)
def test_no_problem_of_a_plan_file_hides_another_and_each_is_told_once_with_its_place(
    tmp_path, text, places
):
    path = write(tmp_path, text)
    with pytest.raises(UsageError) as caught:
        expand(
            merge(read_plan(path), PlanRequest()),
            replace(PLUGINS, tasks={"echo": Echo, "char": Echo}),
        )
    first, *problems = str(caught.value).splitlines()
    assert first == f"{len(places)} problems:"
    for place in places:
        assert sum(problem.startswith(f"  - {path}: {place}") for problem in problems) == 1, place


def test_what_needs_several_axes_is_checked_beside_a_value_that_is_out_of_range():
    with pytest.raises(UsageError) as caught:
        trials(hidden=[0], length=[1], device=["gpu7"])
    assert str(caught.value).splitlines()[0] == "3 problems:"
    assert all(part in str(caught.value) for part in ("hidden = 0", "at least 2", "device 'gpu7'"))


def test_too_many_trials_hide_no_other_problem():
    with pytest.raises(UsageError, match=r"(?s)1,000,000 trials.*hidden = 0"):
        trials(seed=range(1000), length=range(2, 1002), hidden=[0])


class Other(Echo):
    name = "other"


def test_a_tasks_options_idle_in_silence_only_where_a_flag_chose_another_task(tmp_path):
    plugins = replace(PLUGINS, tasks={"echo": Echo, "other": Other})
    request = read_plan(
        write(tmp_path, "[matrix]\nbackend = 'engine'\ntask = 'echo'\n[task.echo]\nsymbols = 3\n")
    )
    assert [
        trial.task for trial in expand(merge(request, PlanRequest({"task": ["other"]})), plugins)
    ] == ["other"] * 3
    with pytest.raises(
        UsageError, match=r"^options are set for task 'echo', which the plan does not run"
    ):
        expand(merge(request, PlanRequest({"task": ["other"]}, {"echo": {"symbols": 4}})), plugins)
    with pytest.raises(
        UsageError, match=r"plan\.toml: task\.echo: options are set for task 'echo', which the plan"
    ):
        expand(replace(request, axes={"backend": ["engine"], "task": ["other"]}), plugins)


def test_a_plan_file_without_axes_may_hold_other_settings(tmp_path):
    assert read_plan(write(tmp_path, "launches = 2")).problems == []


def test_none_in_a_plan_file_switches_off(tmp_path):
    text = """
        [matrix]
        clip_norm = [1.0, "none"]
        seed = [0, 1]
        [[exclude]]
        clip_norm = "none"
        seed = 1
        [[include]]
        clip_norm = "None"
        seed = 2
        """
    plan = expand(merge(PlanRequest(ONE), read_plan(write(tmp_path, text))), PLUGINS)
    assert [(trial.clip_norm, trial.seed) for trial in plan] == [
        (1.0, 0),
        (1.0, 1),
        (None, 0),
        (None, 2),
    ]


def test_a_plan_file_may_start_with_a_byte_order_mark(tmp_path):
    path = tmp_path / "plan.toml"
    path.write_bytes(b"\xef\xbb\xbflaunches = 3\n")
    assert read_plan(path).options == {"launches": 3}


def test_a_missing_plan_file_is_named():
    with pytest.raises(UsageError, match=r"cannot read the plan nowhere\.toml"):
        read_plan(Path("nowhere.toml"))


def test_a_cell_that_a_backend_cannot_run_is_left_to_its_record():
    class LstmOnly(Engine):
        def variants(self, cell):
            return ("plain", "fast") if cell.name == "lstm" else ()

    plugins = replace(PLUGINS, backends=PLUGINS.backends | {"engine": LstmOnly()})
    for backend in ("engine", "engine:all"):
        trials = expand(PlanRequest(ONE | {"backend": [backend], "cell": ["gru"]}), plugins)
        assert [trial.variant for trial in trials] == ["plain"]


def test_a_backend_without_any_variant_is_refused():
    class Nothing(Engine):
        def variants(self, cell):
            return ()

    plugins = replace(PLUGINS, backends=PLUGINS.backends | {"engine": Nothing()})
    with pytest.raises(UsageError, match="'engine' runs no cell"):
        expand(PlanRequest(ONE), plugins)


def test_a_length_below_what_the_task_declares_is_refused_before_it_is_asked():
    class Trusting(Echo):
        minimum_length = 4

        def __init__(self, options, length):
            Task.__init__(self, options, length)

    plugins = replace(PLUGINS, tasks={"echo": Trusting})
    with pytest.raises(UsageError, match="task 'echo' needs a length of at least 4, got 3"):
        expand(PlanRequest(ONE | {"length": [3, 4]}), plugins)


def test_a_task_that_breaks_while_it_is_checked_is_named():
    class Clumsy(Echo):
        def check(self):
            raise KeyError("corpus")

    with pytest.raises(
        UsageError, match=r"task 'echo' from .* is broken: KeyError: 'corpus'\. Fix: "
    ):
        expand(PlanRequest(ONE), replace(PLUGINS, tasks={"echo": Clumsy}))


def test_a_plan_without_the_reference_backend_is_refused():
    plugins = replace(PLUGINS, backends={"engine": Engine()}, blocked=("numpy",))
    with pytest.raises(
        UsageError, match=r"every trial is proved against backend 'numpy': .*no:numpy"
    ):
        expand(PlanRequest(ONE), plugins)


class Sized(Engine):
    """Its default depends on the size, one variant is missing, and it cannot run the GRU."""

    name = "sized"
    groups = ("friends",)

    def variants(self, cell):
        return () if cell.name == "gru" else ("plain", "narrow", "wide")

    def missing_variants(self):
        return {"native": Missing("its compiler is not installed", "pip install compiler")}

    def default_variant(self, cell, trial):
        return "wide" if trial.hidden > 64 and trial.dtype == "float32" else "narrow"


class Friend(Engine):
    name = "friend"
    groups = ("friends", "others")


class Gone(Absent):
    name = "gone"
    groups = ("others",)


GROUPED = replace(
    PLUGINS, backends=PLUGINS.backends | {one.name: one for one in (Sized(), Friend(), Gone())}
)


def grouped(include=(), exclude=(), **axes):
    return [
        trial.engine
        for trial in expand(PlanRequest({**ONE, **axes}, {}, include, exclude), GROUPED)
    ]


def test_where_no_variant_is_named_the_backend_chooses_for_the_size():
    axes = {"backend": ["sized"], "hidden": [64, 128], "dtype": ["float32", "float64"]}
    assert grouped(**axes) == ["sized:narrow", "sized:narrow", "sized:wide", "sized:narrow"]
    assert grouped(backend=["sized:plain"]) == ["sized:plain"]
    assert grouped(backend=["sized:all"]) == ["sized:plain", "sized:narrow", "sized:wide"]


class Quick(Engine):
    """Its users have ``plain``, the quickest is another, and it has no layer for the GRU."""

    name = "quick"
    groups = ("friends",)
    own_layers = "layer"

    def variants(self, cell):
        return ("plain", "kernel") if cell.name == "gru" else ("layer", "plain", "kernel")

    def fastest_variant(self, cell, trial):
        return "kernel" if trial.hidden > 64 else "plain"


def quick(backends, include=(), exclude=(), extra=(), **axes):
    plugins = replace(
        GROUPED, backends=GROUPED.backends | {one.name: one for one in (Quick(), *extra)}
    )
    return expand_with_notes(
        PlanRequest({**ONE, "backend": backends, **axes}, {}, include, exclude), plugins
    )


def engines(*arguments, **named):
    return [trial.engine for trial in quick(*arguments, **named)[0]]


def test_a_backend_alone_is_what_its_users_have_and_its_fastest_is_asked_for_by_that_word():
    own_and_fastest = ["quick:layer", "quick:layer", "quick:plain", "quick:kernel"]
    assert engines(["quick", "quick:fastest"], hidden=[64, 128]) == own_and_fastest
    assert engines(["quick:all"]) == ["quick:layer", "quick:plain", "quick:kernel"]


def test_the_fastest_of_a_backend_that_only_says_its_default_is_that_default():
    assert engines(["sized:fastest"], hidden=[64, 128]) == ["sized:narrow", "sized:wide"]


def test_the_fastest_of_a_group_is_that_of_each_member_and_of_a_cell_it_cannot_run_its_record():
    assert engines(["friends:fastest"], hidden=[128]) == [
        "sized:wide",
        "friend:fast",
        "quick:kernel",
    ]
    assert (
        engines(["sized:fastest"], cell=["gru"])
        == engines(["sized"], cell=["gru"])
        == ["sized:plain"]
    )


def test_a_variant_that_is_really_called_fastest_is_that_variant():
    class Named(Quick):
        name = "named"

        def variants(self, cell):
            return ("layer", "plain", "fastest")

    assert engines(["named:fastest"], extra=[Named()]) == ["named:fastest"]
    rule = {"backend": "named:fastest"}
    assert engines(["named:all"], exclude=[rule], extra=[Named()]) == ["named:layer", "named:plain"]


def test_a_cell_without_a_layer_of_the_framework_takes_the_plainest_variant_and_the_plan_says_so():
    trials, notes = quick(["quick"], cell=["lstm", "gru"])
    assert [trial.engine for trial in trials] == ["quick:layer", "quick:plain"]
    assert notes == ["quick ships no layer for gru: it runs as quick:plain"]
    for asked in ("quick:fastest", "quick:plain", "quick:all"):
        assert quick([asked], cell=["gru"])[1] == []


def test_an_exclude_of_a_variant_holds_for_the_one_that_is_taken_as_the_fastest():
    rule = {"backend": "quick:kernel"}
    assert engines(["quick:fastest"], exclude=[rule], hidden=[64, 128]) == ["quick:plain"]
    assert engines(["quick:fastest", "engine"], exclude=[{"backend": "quick"}]) == ["engine:fast"]
    with pytest.raises(
        UsageError, match=r"'quick:fastest': fastest chooses one of the variants; name that, or"
    ):
        engines(
            ["quick:fastest", "engine"],
            exclude=[{"backend": "quick:fastest", "hidden": 64}],
            hidden=[64, 128],
        )


def test_where_no_backend_is_named_it_is_the_fastest_of_numpy():
    class Numpy(Quick):
        name = "numpy"

    axes = {name: values for name, values in ONE.items() if name != "backend"}
    plugins = replace(PLUGINS, backends={"numpy": Numpy()})
    assert [trial.engine for trial in expand(PlanRequest(axes | {"hidden": [128]}), plugins)] == [
        "numpy:kernel"
    ]


@pytest.mark.parametrize(
    ("asked", "question"), [("sized", "default_variant"), ("sized:fastest", "fastest_variant")]
)
def test_a_choice_that_is_not_offered_breaks_the_contract(asked, question):
    plugins = replace(GROUPED, backends=GROUPED.backends | {"sized": Sized()})
    setattr(plugins.backends["sized"], question, lambda cell, trial: "native")
    with pytest.raises(UsageError, match=rf"'sized' is broken: {question}\(\) returned 'native'"):
        expand(PlanRequest(ONE | {"backend": [asked]}), plugins)


def test_a_variant_that_cannot_be_had_here_is_an_error_with_the_fix():
    with pytest.raises(
        UsageError,
        match=r"^sized:native cannot run here: its compiler .*\. Fix: pip install compiler$",
    ):
        grouped(backend=["sized:native"])
    with pytest.raises(
        UsageError, match=r"unknown variant of backend 'sized': 'nativ'\. Did you mean native"
    ):
        grouped(backend=["sized:nativ"])


def test_a_group_stands_for_all_of_its_backends():
    assert grouped(backend=["friends"]) == ["sized:narrow", "friend:fast"]
    assert grouped(backend=["friends:all"], cell=["rnn"]) == [
        "sized:plain",
        "sized:narrow",
        "sized:wide",
        "friend:plain",
    ]


def test_a_cell_that_a_member_of_a_group_cannot_run_is_left_to_its_record():
    assert grouped(backend=["friends"], cell=["gru"]) == ["sized:plain", "friend:plain"]


def test_a_group_that_is_not_whole_names_who_is_missing_and_how_to_go_on():
    with pytest.raises(UsageError) as caught:
        grouped(backend=["others"])
    assert str(caught.value) == (
        "group 'others' cannot run whole here: gone: its library is not installed. "
        "Fix: pip install engine; or name those that are here: friend"
    )


def test_a_group_can_be_excluded_whole_or_by_member():
    assert grouped(backend=["friends", "engine"], exclude=[{"backend": "friends"}]) == [
        "engine:fast"
    ]
    assert grouped(backend=["sized", "engine"], exclude=[{"backend": "friends"}]) == ["engine:fast"]
    assert grouped(backend=["friends"], exclude=[{"backend": "friend"}]) == ["sized:narrow"]
    assert grouped(backend=["friends"], exclude=[{"backend": "friends:fast"}]) == ["sized:narrow"]


def test_an_unknown_backend_is_looked_for_among_the_groups_too():
    with pytest.raises(UsageError, match=r"unknown backend 'freinds'\. Did you mean friends"):
        grouped(backend=["freinds"])


def test_a_backend_comes_before_a_group_of_the_same_name():
    class Taken(Friend):
        groups = ("engine",)

    plugins = replace(GROUPED, backends=GROUPED.backends | {"friend": Taken()})
    assert [trial.engine for trial in expand(PlanRequest(ONE), plugins)] == ["engine:fast"]
    assert "engine" not in plugins.groups


def test_a_copy_of_a_trial_with_another_value_has_another_id():
    trial = Trial(backend="numpy", variant="loop", task="copy", cell="lstm", length=20)
    first = trial.trial_id
    assert trial.model_copy(update={"seed": 1}).trial_id != first == trial.model_copy().trial_id


def test_seeds_are_the_seeds_from_zero_in_place_of_their_number():
    trials = expand(PlanRequest(ONE | {"seeds": [3]}), PLUGINS)
    assert {trial.seed for trial in trials} == {0, 1, 2}
    over = merge(PlanRequest({"seed": [7]}), PlanRequest({"seeds": [2]}))
    assert over.products()[0]["seed"] == range(2)
    back = merge(PlanRequest({"seeds": [2]}), PlanRequest({"seed": [7]}))
    assert back.products()[0]["seed"] == [7]


@pytest.mark.parametrize(
    ("axes", "include", "message"),
    [
        ({"seeds": [2], "seed": [1]}, (), "seed and seeds exclude each other"),
        ({"seeds": [2, 3]}, (), "seeds = 2, 3: give one number"),
        ({"seeds": [0]}, (), "seeds"),
        ({"seeds": ["many"]}, (), "seeds"),
        ({"length": [5]}, ({"seeds": 2},), "an include is one combination and takes no seeds"),
    ],
)
def test_a_number_of_seeds_that_cannot_be_is_refused(axes, include, message):
    with pytest.raises(UsageError, match=message) as refusal:
        expand(PlanRequest(ONE | axes, include=include), PLUGINS)
    assert "problems" not in str(refusal.value)
