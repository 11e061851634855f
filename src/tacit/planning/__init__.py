"""Planning: tasks, costs, limits, planners and the controller that uses them."""

from tacit.planning.action_limits import action_limits, element_names
from tacit.planning.cem import CEM, CEMConfig
from tacit.planning.controller import Controller
from tacit.planning.costs import (
    ActionEffort,
    EverySecond,
    FirstArrival,
    LatentDistance,
    TemporalDistance,
    TerminalLatentDistance,
    WeightedSum,
)
from tacit.planning.decision import Decision, DecisionBatch, Evidence, LimitMargin, Verdict
from tacit.planning.disturbance import OutputDisturbance, output_disturbance
from tacit.planning.goals import Goal, Indicator, SignalGoal
from tacit.planning.gradient import GradientConfig, GradientPlanner
from tacit.planning.history import one_step_error
from tacit.planning.icem import ICEM, ICEMConfig
from tacit.planning.limits import BoxLimits, NormLimit
from tacit.planning.mppi import MPPI, MPPIConfig
from tacit.planning.newton import NewtonConfig, NewtonPlanner
from tacit.planning.path_limits import Combination, PathLimits
from tacit.planning.plan_settings import PlanSettings, for_signals
from tacit.planning.planners import planner_for
from tacit.planning.policy_rollout import PolicyRollout, PolicyRolloutConfig
from tacit.planning.proposals import ImaginedDetours, ImaginedPolicy, Retrieval, SharedOut
from tacit.planning.propose_verify import ProposeVerify, ProposeVerifyConfig
from tacit.planning.signal_costs import SignalCost, SignalObjective, signal_objective
from tacit.planning.state_limits import StateLimit, state_limits
from tacit.planning.task import Task
from tacit.planning.task_fallback import Fallback, PIDSettings, RampSettings, RetreatSettings, SafeSettings
from tacit.planning.task_limits import ActionLimit, LinearLimit, RegionLimit, SignalLimit, TaskError

__all__ = [
    "CEM",
    "ICEM",
    "MPPI",
    "ActionEffort",
    "ActionLimit",
    "BoxLimits",
    "CEMConfig",
    "Combination",
    "Controller",
    "Decision",
    "DecisionBatch",
    "EverySecond",
    "Evidence",
    "Fallback",
    "FirstArrival",
    "Goal",
    "GradientConfig",
    "GradientPlanner",
    "ICEMConfig",
    "ImaginedDetours",
    "ImaginedPolicy",
    "Indicator",
    "LatentDistance",
    "LimitMargin",
    "LinearLimit",
    "MPPIConfig",
    "NewtonConfig",
    "NewtonPlanner",
    "NormLimit",
    "OutputDisturbance",
    "PIDSettings",
    "PathLimits",
    "PlanSettings",
    "PolicyRollout",
    "PolicyRolloutConfig",
    "ProposeVerify",
    "ProposeVerifyConfig",
    "RampSettings",
    "RegionLimit",
    "RetreatSettings",
    "Retrieval",
    "SafeSettings",
    "SharedOut",
    "SignalCost",
    "SignalGoal",
    "SignalLimit",
    "SignalObjective",
    "StateLimit",
    "Task",
    "TaskError",
    "TemporalDistance",
    "TerminalLatentDistance",
    "Verdict",
    "WeightedSum",
    "action_limits",
    "element_names",
    "for_signals",
    "one_step_error",
    "output_disturbance",
    "planner_for",
    "signal_objective",
    "state_limits",
]
