"""Tests in which attributing lines to contexts is hard; they run under one core, then under the other."""

import asyncio
import gc
import importlib
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import types
import weakref

import app
import coverage
import pytest

RUNNING = {}
KEPT = app.numbers(4)  # made when the file is imported, and used up by several tests
GUARDED = [app.guarded(app.inner) for _ in range(4)]
ECHO = app.echo()


@pytest.fixture(scope="module")
def thread():
    """A thread that stands in the middle of a function while contexts change."""
    begun, go_on, result = threading.Event(), threading.Event(), []
    worker = threading.Thread(target=lambda: result.append(app.waits(begun, go_on)))
    worker.start()
    begun.wait(10)
    yield go_on, worker, result
    assert app.branches(0) == "none"


@pytest.fixture
def generator_fixture():
    with app.managed([]) as log:
        yield log


@pytest.fixture(scope="module")
def loop():
    made = asyncio.new_event_loop()
    yield made
    made.close()


@pytest.mark.parametrize("x", [0, 1, 2])
def test_branches(x):
    assert app.branches(x)


def test_the_same_again():
    assert app.branches(2) == "many"
    assert app.branches(2) == "many"


def test_thread_begins(thread):
    assert thread[1].is_alive()


def test_thread_goes_on(thread):
    go_on, worker, result = thread
    go_on.set()
    worker.join(10)
    assert result == [2]


def test_first_lines():
    assert app.one(1) == 2
    assert app.two(2) == [0, 1]


def test_first_lines_again():
    assert app.one(1) == 2
    assert app.Made().value == [0, 1, 2]


@pytest.mark.parametrize("turn", range(8))
def test_generator_over_contexts(turn):
    assert next(KEPT) == (turn if turn < 4 else (turn - 4) * 2)
    assert ECHO.send(None if turn == 0 else turn) == (None if turn == 0 else turn)


@pytest.mark.parametrize("turn", range(4))
def test_generators_end_in_many_ways(turn):
    generator = GUARDED.pop()
    next(generator)
    RUNNING[turn] = generator
    if turn:
        other = RUNNING.pop(turn - 1)
        next(other)
        if turn == 1:
            assert other.throw(ValueError) == "caught"
        if turn == 2:
            other.close()
        if turn == 3:
            del other
            gc.collect()


def test_generator_thrown_before_it_began():
    with pytest.raises(ValueError, match="x"):
        GUARDED.append(app.guarded(app.inner)) or GUARDED[-1].throw(ValueError("x"))


def test_fixture_as_generator(generator_fixture):
    assert generator_fixture == ["in"]


def test_exception_in_a_manager():
    with app.managed([]) as log:
        raise RuntimeError
    assert log == ["in", "failed"]


def test_recursion():
    assert app.recurse(5) == 3


def test_recursion_fails():
    with pytest.raises(KeyError):
        app.recurse(2)


def test_code_that_ends_with_a_jump():
    with pytest.raises(KeyError):
        app.ends_with_a_jump(2)


def test_coroutine_begins(loop):
    RUNNING["queue"] = queue = asyncio.Queue()
    RUNNING["task"] = loop.create_task(app.sleeps(queue))
    loop.run_until_complete(asyncio.sleep(0))


def test_coroutine_ends(loop):
    RUNNING["queue"].put_nowait(1)
    assert loop.run_until_complete(RUNNING["task"]) == 2


def test_coroutine_is_cancelled(loop):
    task = loop.create_task(app.sleeps(asyncio.Queue()))
    loop.run_until_complete(asyncio.sleep(0))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(task)


def test_exec_under_the_name_of_a_file():
    source = "def made():\n    return 1\nif made():\n    x = 2\nelse:\n    x = 3\n"
    exec(compile(source, app.__file__.replace("app", "made"), "exec"), {})


def test_exec_without_a_file():
    exec("from app import one\none(2)", {})


def test_a_module_without_a_line():
    exec(compile("", app.__file__.replace("app", "empty"), "exec"), {})


def test_reload():
    before = app.branches
    importlib.reload(app)
    assert app.branches is not before
    assert (before(1), app.branches(0)) == ("one", "none")


def test_after_the_reload():
    assert app.branches(1) == "one"


def test_equal_code_objects():
    copy = types.FunctionType(app.branches.__code__.replace(), app.__dict__)
    assert copy.__code__ == app.branches.__code__
    assert (copy(2), app.branches(0)) == ("many", "none")


def test_code_that_is_gone_and_its_address_used_again():
    for number in range(50):
        scope = {}
        source = "\n" * (number % 7) + "def f(x):\n    if x:\n        return 1\n    return 2\n"
        exec(compile(source, app.__file__.replace("app", "many"), "exec"), scope)
        scope["f"](number % 2)


def test_finalizer():
    log = []
    app.Kept(log)
    gc.collect()
    assert log == ["gone"]


def test_a_replaced_part_of_sys(monkeypatch):
    monkeypatch.delattr(sys, "_getframe")
    made = app.__file__.replace("app", "patched")
    exec(compile("def f():\n    return 1\nf()\n", made, "exec"), {})


def test_signal():
    log = []
    before = signal.signal(signal.SIGUSR1, app.on_signal(log))
    os.kill(os.getpid(), signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, before)
    assert log == ["signal"]


@pytest.mark.parametrize("target", [app.inner, lambda: list(app.inner()), lambda: app.matches([1, 2])])
def test_threads(target):
    app.started(target)


@pytest.mark.parametrize("x", [{"a": 1}, [1, 2], None])
def test_match(x):
    app.matches(x)


def test_lines_over_lines():
    assert app.long_lines() == [1, 3]


def test_greenlets():
    greenlet = pytest.importorskip("greenlet")
    main = greenlet.getcurrent()

    def other():
        app.branches(1)
        main.switch()
        app.branches(2)

    RUNNING["greenlet"] = greenlet.greenlet(other)
    RUNNING["greenlet"].switch()


def test_greenlet_goes_on():
    pytest.importorskip("greenlet")
    RUNNING["greenlet"].switch()
    assert RUNNING.pop("greenlet").dead


def test_subprocess():
    subprocess.run([sys.executable, "-c", "import app; app.branches(1)"], check=True)


def test_fork():
    child = os.fork()
    if child == 0:
        try:
            app.branches(0)
        finally:
            os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert app.branches(1) == "one"


def test_multiprocessing():
    process = multiprocessing.get_context("fork").Process(target=app.branches, args=(2,))
    process.start()
    process.join(10)
    assert process.exitcode == 0


def test_a_measurement_within_this_one():
    nested = coverage.Coverage(data_file=None, config_file=False)
    nested.start()
    RUNNING["unseen"] = app.unseen(10)
    assert next(RUNNING["unseen"]) == 0
    nested.stop()
    assert next(RUNNING["unseen"]) == 1


def test_after_the_measurement_within_this_one():
    assert next(RUNNING["unseen"]) == 2


def test_this_measurement_stops_and_starts():
    ours = coverage.Coverage.current()
    assert app.branches(1) == "one"
    ours.stop()
    assert app.branches(2) == "many"
    ours.start()
    assert app.branches(0) == "none"


def test_after_this_measurement_has_started_again():
    assert app.branches(1) == "one"


def test_code_is_kept_no_longer_than_its_context():
    namespace = {}
    exec(compile("def made():\n    return 1\n", app.__file__, "exec"), namespace)
    RUNNING["code"] = weakref.ref(namespace["made"].__code__)
    assert namespace.pop("made")() == 1


def test_after_the_context_of_that_code():
    assert RUNNING.pop("code")() is None


def test_a_loop_on_a_line_begins():
    RUNNING["items"] = app.items_of(range(10))
    assert [next(RUNNING["items"]) for _ in range(3)] == ["begun", 0, 1]


def test_a_loop_on_a_line_goes_on():
    assert next(RUNNING["items"]) == 2


def test_all_events_start_again():
    if hasattr(sys, "monitoring"):
        sys.monitoring.restart_events()
    assert next(app.items_of(range(10))) == "begun"
    assert next(RUNNING["items"]) == 3


def test_after_all_events_have_started_again():
    assert next(RUNNING["items"]) == 4


@pytest.mark.filterwarnings("ignore")
def test_the_end():
    assert list(KEPT) == []
