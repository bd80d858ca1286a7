def pick(n):
    for i in range(n):
        if i > 3: return i
        while i:
            i -= 1
            if i == 2:
                break
        else:
            continue
    try:
        with open(__file__) as f:
            if n:
                f.read()
    except OSError:
        raise
    finally:
        n = 0
    return [x for x in range(n) if x]


pick(0)
pick(3)
