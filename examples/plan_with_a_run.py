"""Let a trained run decide ten times in its world: `tacit demo --out demo`, then `python examples/plan_with_a_run.py`."""

import tacit
from tacit.worlds import Purpose, stream, world

arena = world("two_room")
scene = arena.scene(stream(Purpose.SCENES, seed=1, number=0), hard=True)
env = arena.make()
task = tacit.Task(goal=tacit.Goal(observations=arena.goal(env, scene)))
controller = tacit.load("demo/run").controller(task)
observation, _ = arena.start(env, scene)
for _ in range(10):
    decision = controller.act(observation)
    print(decision.verdict, decision.action, decision.reason)  # noqa: T201 (an example may print)
    observation, *_ = env.step(decision.action)
