"""AssistantCron: runs LangGraph assistants on a cron schedule, exactly once per slot, from Kubernetes.

An event or a wake-up reaches `reconciler.py`, which asks `decide.py`, acts through `deployment.py` and
`kube.py`, and folds the facts into the next status with `status.py`. Imports go down only; the layers stand
in `pyproject.toml`.
"""

__version__ = "0.1.0"
