"""Errors as tests expect them: by their code and the values that they name, not by their prose."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from decodebench.core.errors import DecodebenchError


@contextmanager
def refused(code: str, *values: str, **fields: object) -> Iterator[None]:
    """Expect an error of this code whose text has these values, and whose fields are these."""
    with pytest.raises(DecodebenchError) as caught:
        yield
    assert caught.value.code == code, str(caught.value)
    assert all(value in str(caught.value) for value in values), str(caught.value)
    assert {name: caught.value.fields.get(name) for name in fields} == fields
