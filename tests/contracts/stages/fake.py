"""The fake that other tests use on stage: what it is told, all others do too."""

from application.ports.providers import CallFailedError, Provider
from domain.failure import Failure
from tests.contracts.stages.stage import HANG, Outcome, Stage
from tests.fakes_images import HANG as FOREVER
from tests.fakes_images import FakeProvider

_ERRORS = {"refuse": Outcome("moderation_input"), "fail": Outcome("unavailable")}


def _told(fault: str) -> Provider:
    if not fault:
        return FakeProvider()
    if fault == HANG:
        return FakeProvider([FOREVER])
    return FakeProvider([CallFailedError(Failure(kind=_ERRORS[fault].kind, message="As told."))])


STAGE = Stage("fake", _told, _ERRORS)
