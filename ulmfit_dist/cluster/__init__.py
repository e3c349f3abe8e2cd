"""Everything that knows Ray: the embedded or joined cluster, pools of actors, DDP through Ray Train, the coordinator.

Ray reads these variables once, when it is first imported, so they are set here: before any module of this package can
import it. Authentication and usage statistics are named explicitly because Ray's defaults changed between releases.
"""

import os

os.environ.setdefault("RAY_AUTH_MODE", "token")
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
# Stages that share a core start their workers side by side; the default, one a core, prints a warning for each batch.
os.environ.setdefault("RAY_worker_maximum_startup_concurrency", "32")
# The controller whose restarts were measured.
os.environ["RAY_TRAIN_V2_ENABLED"] = "1"
