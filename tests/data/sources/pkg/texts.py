text = '''one
    two '''
long = 1 + \
    2
call = dict(
    a=1,  # één
    b=[
        2,
    ],
)
s = 'a' \
    'b'
