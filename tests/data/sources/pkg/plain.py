import os


def used(a, b=1):
    '''Doc.'''
    return a + b


used(1)
