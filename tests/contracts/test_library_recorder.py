"""The eventsourcing library's own test cases over our recorder and over its in-memory one."""

from collections.abc import Iterator

import pytest
from eventsourcing.persistence import ProgrammingError
from eventsourcing.popo import POPOApplicationRecorder
from eventsourcing.postgres import PostgresDatastore
from eventsourcing.tests.persistence import (
    ApplicationRecorderTestCase,
    NonInterleavingNotificationIDsBaseCase,
)
from psycopg.conninfo import conninfo_to_dict

from infrastructure.event_store.recorder import AppendRecorder


class PostgresCase:
    """Gives the library's cases a recorder over a migrated database of their own."""

    @pytest.fixture(autouse=True)
    def _datastore(self, database_url: str) -> Iterator[None]:
        parts = conninfo_to_dict(database_url)
        self.datastore = PostgresDatastore(
            dbname=str(parts["dbname"]),
            host=str(parts["host"]),
            port=str(parts["port"]),
            user=str(parts["user"]),
            password=str(parts["password"]),
            pool_size=10,
        )
        yield
        self.datastore.close()

    def create_recorder(self) -> AppendRecorder:
        return AppendRecorder(self.datastore)


class TestAppendRecorder(PostgresCase, ApplicationRecorderTestCase[AppendRecorder]):
    def test_a_subscription_that_may_miss_events_is_refused(self) -> None:
        with pytest.raises(ProgrammingError, match="select_notifications"):
            self.create_recorder().subscribe(gt=0)


class TestPositionsOfOneAppendAreTogether(PostgresCase, NonInterleavingNotificationIDsBaseCase):
    pass


class TestLibraryInMemoryRecorder(ApplicationRecorderTestCase[POPOApplicationRecorder]):
    def create_recorder(self) -> POPOApplicationRecorder:
        return POPOApplicationRecorder()


# The imported cases are abstract: only those above are run.
del ApplicationRecorderTestCase, NonInterleavingNotificationIDsBaseCase
