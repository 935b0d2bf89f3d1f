"""A fake for the tests of code that submits jobs: no process is started, and no network is used.

While a `Fake` is open, every client of this process submits to it. Calls are checked as always, so a wrong argument
raises the InvalidJob that it would raise in earnest. What becomes of a job is a script::

    with Fake() as fake:
        fake.script("eta", Outcome(logs=["rmse=0.5"], outputs={"model": {"model.txt": "weights"}}))
        nightly.main()
        assert fake.jobs[0].arguments["hyperparameters"] == {"origin": "EWR"}
"""

from lyftlearn.testing.fake._fake import Fake, Submitted
from lyftlearn.testing.fake._outcome import Outcome

__all__ = ["Fake", "Outcome", "Submitted"]
