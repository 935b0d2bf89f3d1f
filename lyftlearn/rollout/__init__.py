"""Where a job goes, and why. `decision` says who decides."""

from __future__ import annotations

from lyftlearn.rollout.decision import KILL_SWITCH as KILL_SWITCH
from lyftlearn.rollout.decision import OF_CALLER as OF_CALLER
from lyftlearn.rollout.decision import OVERRIDE as OVERRIDE
from lyftlearn.rollout.decision import PARITY as PARITY
from lyftlearn.rollout.decision import Decision as Decision
from lyftlearn.rollout.decision import Rollout as Rollout
from lyftlearn.rollout.decision import in_use as in_use
from lyftlearn.rollout.decision import of_caller as of_caller
from lyftlearn.rollout.stage import Stage as Stage
