"""Planning: tasks, costs, limits, planners and the controller that uses them."""

from tacit.planning.cem import CEM, CEMConfig
from tacit.planning.controller import Controller, planner_for
from tacit.planning.costs import ActionEffort, FirstArrival, LatentDistance, TemporalDistance, TerminalLatentDistance, WeightedSum
from tacit.planning.decision import Decision, DecisionBatch, Evidence, Verdict
from tacit.planning.history import one_step_error
from tacit.planning.limits import BoxLimits, NormLimit, action_limits
from tacit.planning.proposals import ImaginedPolicy
from tacit.planning.propose_verify import ProposeVerify, ProposeVerifyConfig
from tacit.planning.task import ActionLimit, Fallback, Goal, PlanSettings, Task, TaskError

__all__ = [
    "CEM",
    "ActionEffort",
    "ActionLimit",
    "BoxLimits",
    "CEMConfig",
    "Controller",
    "Decision",
    "DecisionBatch",
    "Evidence",
    "Fallback",
    "FirstArrival",
    "Goal",
    "ImaginedPolicy",
    "LatentDistance",
    "NormLimit",
    "PlanSettings",
    "ProposeVerify",
    "ProposeVerifyConfig",
    "Task",
    "TaskError",
    "TemporalDistance",
    "TerminalLatentDistance",
    "Verdict",
    "WeightedSum",
    "action_limits",
    "one_step_error",
    "planner_for",
]
