def a():  # pragma: no cover
    return 1


if 0:  # pragma: no cover
    x = 1
else:
    x = 2


def b(n):
    if n:  # pragma: no branch
        return 1
    raise NotImplementedError


b(1)
