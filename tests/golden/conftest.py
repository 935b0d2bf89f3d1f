"""Every corpus in turn."""

from __future__ import annotations

import pytest

from tests.golden.corpus import CORPORA, Corpus


@pytest.fixture(params=CORPORA, ids=lambda corpus: corpus.version)
def corpus(request: pytest.FixtureRequest) -> Corpus:
    """Return what one version stored."""
    corpus: Corpus = request.param
    return corpus
