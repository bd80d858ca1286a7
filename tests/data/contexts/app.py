"""Code that is measured: each function has lines that only some tests run."""

import asyncio
import contextlib
import threading
import typing


def one(x): return x + 1  # fmt: skip


two = lambda x: [  # noqa: E731
    y for y in range(x)
]


def branches(x):
    if x > 1:
        return "many"
    if x == 1:
        return "one"
    return "none"


def numbers(stop):
    for number in range(stop):
        yield number
    yield from (n * 2 for n in range(stop))


def guarded(inner):
    before = 1
    try:
        yield from inner()
    except ValueError:
        yield "caught"
    finally:
        before += 1


def inner():
    yield 1
    yield 2


def echo():  # fmt: skip
    x = None
    while True: x = yield x  # fmt: skip  # noqa: E701


def unseen(stop):
    for number in range(stop):
        yield number


def items_of(items):
    yield "begun"
    for item in items: yield item  # fmt: skip  # noqa: E701


class Kept:
    """Has a finalizer."""

    def __init__(self, log):
        self.log = log
        self.me = self

    def __del__(self):
        self.log.append("gone")


def ends_with_a_jump(left):
    while True:
        if not left:
            raise KeyError(left)
        left -= 1


def recurse(depth):
    if depth == 0:
        raise KeyError(depth)
    try:
        return recurse(depth - 1)
    except KeyError:
        if depth < 3:
            raise
    return depth


def waits(begun, go_on):
    begun.set()
    value = 1
    go_on.wait(10)
    value += 1
    branches(value)
    return value


def spins(stop):
    turns = 0
    while not stop.is_set():
        turns += 1
        branches(turns % 3)
    return turns


async def sleeps(queue):
    item = await queue.get()
    if item:
        await asyncio.sleep(0)
    async for each in ticks(2):
        item += each
    return item


async def ticks(stop):
    for tick in range(stop):
        await asyncio.sleep(0)
        yield tick


@contextlib.contextmanager
def managed(log):
    log.append("in")
    try:
        yield log
    except RuntimeError:
        log.append("failed")
    else:
        log.append("out")


def on_signal(log):
    def handler(*_):
        log.append("signal")

    return handler


def started(target):
    thread = threading.Thread(target=target)
    thread.start()
    thread.join()


class Meta(type):
    def __new__(mcs, name, bases, body): return super().__new__(mcs, name, bases, body)  # fmt: skip


class Made(metaclass=Meta):
    attribute = [n for n in range(3)]

    @property
    def value(self): return self.attribute  # fmt: skip


def matches(x):
    match x:
        case {"a": 1}:
            return "a"
        case [1, *rest]:
            return rest
        case _:
            return None


class Pair(typing.NamedTuple):
    first: int
    second: int


def long_lines(
    first=1,
    second=2,
):
    result = [
        first,
        one(second),
    ]
    with contextlib.suppress(ZeroDivisionError):
        result.append(first / 0)
    return result
