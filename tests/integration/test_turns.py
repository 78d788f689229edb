"""Whose turn it is, held against a model that is too simple to be wrong."""

from __future__ import annotations

import random
from dataclasses import dataclass
from uuid import UUID

import psycopg

ROUNDS = 150
INSERT = """
INSERT INTO work (kind, ref, user_id, due_at, deadline)
VALUES ('generate', %s, %s, now() - %s * interval '1 hour', now())
"""
NEXT_DUE = "SELECT ref FROM next_due_v1(%s, %s, %s)"


@dataclass(frozen=True)
class Piece:
    """Work that was due so many hours ago, or will be in so many."""

    ref: UUID
    user_id: UUID
    hours_ago: int


def in_turn(
    pieces: list[Piece], after_user: UUID, most: int, handed_over: list[UUID]
) -> list[UUID]:
    """One piece of each user, the oldest first, then again one of each."""
    due = [p for p in pieces if p.hours_ago > 0 and p.ref not in handed_over]
    by_user = {u: [p for p in due if p.user_id == u] for u in sorted({p.user_id for p in due})}
    users = [u for u in by_user if u > after_user] + [u for u in by_user if u <= after_user]
    found: list[UUID] = []
    while any(by_user.values()):
        for user in users:
            if by_user[user]:
                oldest = max(by_user[user], key=lambda piece: piece.hours_ago)
                by_user[user].remove(oldest)
                found.append(oldest.ref)
    return found[:most]


def test_turns_go_round_as_the_model_says(database_url: str) -> None:
    chance = random.Random(5)

    def some_id() -> UUID:
        return UUID(int=chance.randint(1, 2**128 - 1))

    with psycopg.connect(database_url, autocommit=True) as connection:
        for _ in range(ROUNDS):
            connection.execute("TRUNCATE work")
            users = [some_id() for _ in range(chance.randint(1, 5))]
            hours = chance.sample([h for h in range(-10, 40) if h], chance.randint(0, 20))
            pieces = [Piece(some_id(), chance.choice(users), h) for h in hours]
            for piece in pieces:
                connection.execute(INSERT, (piece.ref, piece.user_id, piece.hours_ago))
            after_user = chance.choice([*users, some_id(), UUID(int=0)])
            handed_over = [piece.ref for piece in pieces if chance.random() < 0.2]
            most = chance.randint(0, 25)
            named = [f"generate:{ref}" for ref in handed_over]

            rows = connection.execute(NEXT_DUE, (after_user, most, named)).fetchall()

            assert [ref for (ref,) in rows] == in_turn(pieces, after_user, most, handed_over)
