"""One question about each of many, some of them in one statement: a thousand statements take longer than they say."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

import sqlalchemy as sa

if TYPE_CHECKING:
    from lyftlearn.history.store import History

_AT_ONCE = 4
"""More make a statement that takes longer to be made and planned than it saves."""


class Question(Hashable, Protocol):
    """A query that is made once, whatever it is asked about. Those that are equal are the same query."""

    def query(self, number: int) -> sa.Select[*tuple[Any, ...]]:
        """Return the query, with parameters of which each has a name that `parameter` makes."""
        ...


def parameter(name: str, number: int, type_: sa.types.TypeEngine[Any] | None = None) -> sa.BindParameter[Any]:
    """Return a parameter of the question with a number among those of one statement."""
    return sa.bindparam(f"{name} {number}", type_=type_)


def ask_each(history: History, asked: Sequence[tuple[Question, Mapping[str, Any]]]) -> list[list[Mapping[str, Any]]]:
    """Return the rows of each question, in their order. asked: each with the values of its parameters."""
    answers: list[list[Mapping[str, Any]]] = [[] for _ in asked]
    alike: dict[Question, list[int]] = defaultdict(list)
    for place, (question, _) in enumerate(asked):
        alike[question].append(place)
    for question, places in alike.items():
        for start in range(0, len(places), _AT_ONCE):
            some = places[start : start + _AT_ONCE]
            values = {f"{name} {at}": of for at, place in enumerate(some) for name, of in asked[place][1].items()}
            for row in history.select(_statement(question, len(some)), values):
                answers[some[row["number"]]].append(row)
    return answers


@cache
def _statement(question: Question, count: int) -> sa.CompoundSelect[*tuple[Any, ...]]:
    """Return the statement that asks so many at once. Each row has the number of its question."""
    return sa.union_all(*(_with_number(question, number) for number in range(count)))


def _with_number(question: Question, number: int) -> sa.Select[*tuple[Any, ...]]:
    of = question.query(number).subquery(f"of_{number}")
    return sa.select(sa.literal_column(str(number), sa.Integer).label("number"), of)
