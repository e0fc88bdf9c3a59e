"""prefbench: alignment under disagreement, measured group by group.

The flow, which is also the layout: a `RunSpec` names a task, an aligner and a model; the task makes a
`Problem`; the reference policy answers its prompts; annotators label pairs; the aligner learns a
policy from the labels; the evaluator tells, group by group, who won and who was left behind.
"""

__version__ = "0.1.0"
