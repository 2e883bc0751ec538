"""Compilers run untraced: coverage looks at every call of theirs, and nothing of it is ours."""

import sys
from functools import wraps

import pytensor
import pytest
from numba.core.dispatcher import Dispatcher


def untraced(function):
    @wraps(function)
    def call(*args, **options):
        tracer = sys.gettrace()
        sys.settrace(None)
        try:
            return function(*args, **options)
        finally:
            sys.settrace(tracer)

    return call


@pytest.fixture(scope="session", autouse=True)
def compilers_untraced():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pytensor, "function", untraced(pytensor.function))
        patch.setattr(Dispatcher, "compile", untraced(Dispatcher.compile))
        yield
