def kind(case):
    match case:
        case 1:
            return 'one'
        case [x, *_] if x:
            return x
        case _:
            return f'{case!r:>{10}} {{}}'


match = kind(1)
kind([2])
