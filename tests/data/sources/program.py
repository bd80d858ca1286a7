import importlib.util as u
import pathlib


def load(p):
    s = u.spec_from_file_location('m', p)
    s.loader.exec_module(u.module_from_spec(s))


def test_first():
    for p in sorted(pathlib.Path('pkg').rglob('*.py'))[:9]:
        load(p)


def test_second():
    for p in sorted(pathlib.Path('pkg').rglob('*.py'))[6:]:
        if 'unused' not in p.name:
            load(p)


test_first()
test_second()
