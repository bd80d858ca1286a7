"""A worker is somebody, as one of pytest-xdist is, and distinct from all others of its build."""

from __future__ import annotations

import pytest
from covfleet.adapters.processes import worker as process_worker
from covfleet.errors import ConfigurationError
from covfleet.settings import load
from covfleet.settings.schema import Settings
from support.fleets import run_fleet, stock
from support.runs import new_build, write_project

ASKING = """
    import os, pathlib, time

    def test_who(worker_id, testrun_uid, request, record_property):
        time.sleep(0.2)
        names = ("SHARD", "SLOT", "WORKER", "BUILD")
        said = [worker_id, *(os.environ["COVFLEET_" + name] for name in names)]
        said += [testrun_uid, os.environ["PYTEST_XDIST_WORKER_COUNT"], os.environ.get("DB", "")]
        assert worker_id == os.environ["PYTEST_XDIST_WORKER"]
        assert testrun_uid == os.environ["PYTEST_XDIST_TESTRUNUID"]
        assert not hasattr(request.config, "workerinput")
        with open("said.txt", "a") as file:
            file.write(" ".join(said) + "\\n")
"""

DATABASE = """
    import pathlib, time
    import pytest

    @pytest.fixture(scope="session")
    def database(worker_id):
        '''Refuse one that is there, as databases do; others must not use it meanwhile.'''
        path = pathlib.Path(f"test_shop_{worker_id}")
        path.touch(exist_ok=False)
        yield path
        path.unlink()
"""


@pytest.mark.parametrize(("shards", "procs"), [(1, 1), (2, 1), (2, 2)])
def test_each_worker_of_a_build_has_a_number_of_its_own(tmp_path, shards, procs):
    files = {f"test_{n}.py": ASKING for n in range(4 * shards * procs)}
    project = write_project(tmp_path, files)
    fleet = run_fleet(project, shards, procs=procs, env={"DB": "db-{build}-{shard}-{slot}-{worker}-{x}"})
    assert set(fleet.verdicts.values()) == {"passed"}
    said = {tuple(line.split()) for line in (project / "said.txt").read_text().splitlines()}
    for worker, shard, slot, number, build, _, count, database in said:
        assert worker == f"gw{number}"
        assert int(number) == (int(shard) - 1) * procs + int(slot)
        assert int(number) < int(count) == shards * procs
        assert build == fleet.plan.build
        assert database == f"db-{build}-{shard}-{slot}-{number}-{{x}}"
    assert len({run for *_, run, _, _ in said}) == 1
    assert len({line[0] for line in said}) == len(said)


@pytest.mark.parametrize(("shards", "procs"), [(1, 1), (2, 1), (1, 2)])
def test_a_database_for_each_worker_is_there_once_in_each_build(tmp_path, shards, procs):
    use = "import time\ndef test_uses(database):\n    time.sleep(0.1)\n    assert database.exists()\n"
    project = write_project(tmp_path, {"conftest.py": DATABASE, **{f"test_{n}.py": use for n in range(6)}})
    for _ in range(2):
        fleet = run_fleet(project, shards, procs=procs)
        assert set(fleet.verdicts.values()) == {"passed"}, fleet.outcomes
    assert stock(project, "-n", "2").returncode == 0


@pytest.mark.parametrize("options", ["-p no:xdist", "-n 3", "-p no:pytest_cov -v"])
def test_the_fixtures_are_there_whatever_becomes_of_the_plugin(tmp_path, options):
    project = write_project(tmp_path, {"test_0.py": ASKING, "pytest.ini": f"[pytest]\naddopts = {options}\n"})
    assert run_fleet(project, 1).verdicts == {"test_0.py::test_who": "passed"}


def test_a_conftest_overrides_the_fixture(tmp_path):
    conftest = "import pytest\n@pytest.fixture(scope='session')\ndef worker_id(): return 'mine'\n"
    code = "def test_it(worker_id): assert worker_id == 'mine'\n"
    project = write_project(tmp_path, {"conftest.py": conftest, "test_0.py": code})
    assert run_fleet(project, 1).verdicts == {"test_0.py::test_it": "passed"}


def test_a_worker_may_be_nobody(tmp_path):
    code = """
        import os
        def test_it(worker_id):
            assert worker_id == "master"
            assert not [name for name in os.environ if name.startswith("PYTEST_XDIST")]
            assert os.environ["COVFLEET_SHARD"] == "1"
    """
    fleet = run_fleet(write_project(tmp_path, {"test_0.py": code}), 1, xdist_worker=False)
    assert fleet.verdicts == {"test_0.py::test_it": "passed"}


def test_the_planner_collects_as_a_worker_that_no_shard_has(tmp_path):
    code = """
        import os
        with open("planner.txt", "a") as file:
            file.write(os.environ["PYTEST_XDIST_WORKER"] + os.environ["COVFLEET_SHARD"])
        def test_it(): pass
    """
    project = write_project(tmp_path, {"test_0.py": code})
    new_build(project, shards=3, procs=2).plan()
    assert (project / "planner.txt").read_text() == "gw60"


def test_covfleet_s_own_credentials_do_not_reach_the_tests():
    secret = {"JENKINS_USER": "u", "JENKINS_TOKEN": "t", "JENKINS_USER_ID": "u", "AWS_SECRET_ACCESS_KEY": "k"}
    harmless = {"JENKINS_URL": "https://ci", "BUILD_NUMBER": "7", "PATH": "/bin"}
    assert process_worker.tests_environment({**secret, **harmless}, {}) == harmless


def test_variables_of_the_agent_that_are_named_reach_the_tests_of_a_container_as_well():
    settings = Settings(env_pass=("DATABASE_URL", "ABSENT"), env={"MODE": "test"})
    environ = {"DATABASE_URL": "postgresql://db", "OTHER": "1"}
    assert load.tests_variables(settings, environ) == {"DATABASE_URL": "postgresql://db", "MODE": "test"}


@pytest.mark.parametrize("name", ["AWS_SESSION_TOKEN", "COVFLEET_STORE", "JENKINS_TOKEN", "jenkins_x", "A B"])
def test_names_of_credentials_are_not_passed(tmp_path, name):
    with pytest.raises(ConfigurationError, match=f"env_pass: .*{name}"):
        load.load_settings(tmp_path, {}, {"COVFLEET_ENV_PASS": f'["{name}"]'})


def test_a_worker_s_variables_are_no_settings_of_a_covfleet_that_a_test_starts(tmp_path):
    variables = {f"COVFLEET_{name}": "1" for name in ("BUILD", "SHARD", "SLOT", "WORKER")}
    assert load.load_settings(tmp_path, {}, variables) == Settings()


DJANGO = {
    "manage_settings.py": """
        SECRET_KEY = "x"
        INSTALLED_APPS = ["shop"]
        DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "app.db",
                                 "TEST": {"NAME": "test_app.db"}}}
        DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
    """,
    "shop/__init__.py": "",
    "shop/models.py": """
        from django.db import models
        class Order(models.Model):
            name = models.CharField(max_length=9)
    """,
    "pytest.ini": "[pytest]\nDJANGO_SETTINGS_MODULE = manage_settings\npythonpath = .\n",
}


@pytest.mark.parametrize("slots", [1, 2])
def test_pytest_django_gives_each_worker_a_database_of_its_own(tmp_path, slots):
    code = """
        import os, time
        import pytest
        from django.db import connection
        from shop.models import Order

        @pytest.mark.django_db(transaction=True)
        @pytest.mark.parametrize("n", range(2))
        def test_order(n):
            assert os.environ["PYTEST_XDIST_WORKER"] in connection.settings_dict["NAME"]
            Order.objects.create(name="x")
            time.sleep(0.2)
            assert Order.objects.count() == 1
    """
    project = write_project(tmp_path, {**DJANGO, **{f"test_{n}.py": code for n in range(4)}})
    for _ in range(2):
        fleet = run_fleet(project, 1, procs=slots)
        assert set(fleet.verdicts.values()) == {"passed"}, fleet.outcomes
