"""The next two releases, as processes: `python -m tests.next_release expand api`.

`expand` has learned to read `generation.completed@2` and still writes version 1; `next` writes
version 2 and appends by `append_v2`. What both need of the schema is in `MIGRATION`.
"""

from __future__ import annotations

import sys
from typing import Any

from pydantic.fields import FieldInfo

from domain.generation import Generation
from infrastructure.event_store import appender, mapper
from interfaces.cli.main import app

COMPLETED = Generation.Completed.topic
EXPAND = ("tests.next_release", "expand")
NEXT = ("tests.next_release", "next")

MIGRATION = """
ALTER TABLE stored_events ADD COLUMN region text;
CREATE TABLE appended_by_v2 (batches bigint NOT NULL, commands bigint NOT NULL);
INSERT INTO appended_by_v2 VALUES (0, 0);
CREATE FUNCTION append_v2(commands jsonb[]) RETURNS jsonb[] LANGUAGE plpgsql AS $$
DECLARE
    outcomes jsonb[] := append_v1(commands);  -- takes the same lock
BEGIN
    UPDATE appended_by_v2 SET batches = appended_by_v2.batches + 1,
                              commands = appended_by_v2.commands + cardinality(append_v2.commands);
    RETURN outcomes;
END $$;
UPDATE alembic_version SET version_num = '0002';
"""


def learn_version_2() -> None:
    """A completed generation says its palette."""
    completed = Generation.Completed
    completed.version = 2
    completed.model_fields["palette"] = FieldInfo(annotation=str, default="warm")
    completed.model_rebuild(force=True)
    mapper.UPCASTS[COMPLETED, 1] = lambda fields: {**fields, "palette": "unknown"}


def write_version_1() -> None:
    """As long as a release runs that knows no other."""

    def without_palette(fields: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in fields.items() if name != "palette"}

    mapper.DOWNCASTS[COMPLETED, 2] = without_palette


def append_by_v2() -> None:
    """Through the function that only the newer schema has."""
    appender.APPEND = appender.APPEND.replace("append_v1", "append_v2")


if __name__ == "__main__":
    release, name = sys.argv[1:]
    learn_version_2()
    if release == "expand":
        write_version_1()
    else:
        append_by_v2()
    app([name], prog_name="darkroom")
