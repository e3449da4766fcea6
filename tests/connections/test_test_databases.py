"""Test databases are made, cloned and dropped while the pool holds connections."""

from collections.abc import Iterator

import pytest
from django.db import connections

from homerack.postgresql.base import DatabaseWrapper
from tests.support.backend import database_settings, query
from tests.support.postgres import PostgresServer


@pytest.fixture
def wrapper(server: PostgresServer) -> Iterator[DatabaseWrapper]:
    admin = DatabaseWrapper(database_settings(server.url("postgres")), "admin")
    query(admin, "CREATE DATABASE lab")
    admin.close()
    admin.close_pool()
    connections.settings["lab"] = database_settings(server.url("lab"))
    wrapper = connections["lab"]
    assert isinstance(wrapper, DatabaseWrapper)
    yield wrapper
    wrapper.close()
    del connections["lab"]
    del connections.settings["lab"]


def test_test_databases_are_created_cloned_and_dropped(wrapper: DatabaseWrapper) -> None:
    query(wrapper, "SELECT 1")
    wrapper.close()  # idle in the pool of "lab"
    wrapper.settings_dict["TEST"] |= {"NAME": None, "TEMPLATE": "lab", "MIGRATE": False}
    creation = wrapper.creation
    assert creation.create_test_db(verbosity=0, autoclobber=True, serialize=False) == "test_lab"
    assert query(wrapper, "SELECT current_database()") == "test_lab"
    wrapper.close()  # idle in the pool of "test_lab"
    creation.clone_test_db(suffix="7", verbosity=0, autoclobber=True)
    wrapper.settings_dict["NAME"] = "test_lab_7"
    assert query(wrapper, "SELECT current_database()") == "test_lab_7"
    wrapper.close()  # idle in the pool of "test_lab_7"
    wrapper.settings_dict["NAME"] = "test_lab"
    creation.destroy_test_db(suffix="7", verbosity=0)
    query(wrapper, "SELECT 1")
    wrapper.close()
    creation.destroy_test_db(old_database_name="lab", verbosity=0)
    assert query(wrapper, "SELECT count(*) FROM pg_database WHERE datname LIKE 'test%%'") == 0
