#!/usr/bin/env bash
# Run a recipe on a cluster: `launch/submit.sh RECIPE [options of ulmfit submit]`. Follows the log; the exit code is the job's.
#
#   ULMFIT_JOBS_URL      the head's job server               (default http://127.0.0.1:8265, e.g. through ssh -L)
#   RAY_AUTH_TOKEN_PATH  the cluster's token, mode 0600      (default ~/.ray/auth_token)
set -euo pipefail
export RAY_AUTH_MODE="${RAY_AUTH_MODE:-token}"
exec ulmfit submit "$@"
