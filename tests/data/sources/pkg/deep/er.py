def er(x):
    return x and (
        x or
        1)


er(0)
