class A:
    x = 1

    def m(self):
        def inner():
            return 1

        class B:
            def k(self): return 2

        return inner() + B().k()

    @property
    def p(self):
        return lambda: 0


class Empty: pass


if A().m() == 3:

    def twice():
        return 1
else:

    def twice():
        return 2


async def late():
    async with twice() as t:
        yield t
