#!/usr/bin/env bash
# Run one Ray node in the foreground until SIGTERM: `node.sh head`, or `node.sh worker` where ULMFIT_HEAD says HOST:PORT.
#
# Settings, all by environment, beside those of settings.sh:
#   ULMFIT_HEAD             the head's address; a head takes its port from it            (head: default port 6379)
#   ULMFIT_NODE_IP          this node's address                                          (default: Ray finds it)
#   ULMFIT_PORTS            first of the 1,000 ports that this node listens on           (default 20000)
#   ULMFIT_DASHBOARD_PORT   jobs and dashboard, on the head's loopback address alone     (default 8265)
#   ULMFIT_CPUS, ULMFIT_GPUS  what Ray may use here                                    (default: Slurm's share, else all)
#   ULMFIT_TEMP             the head's folder for logs and sockets, 40 characters at most (default /tmp/ray)
#   ULMFIT_OBJECT_STORE     bytes of shared memory                                       (default 500 MB: tokens never pass through it)
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/settings.sh"

role="${1:?head or worker}"
ports="${ULMFIT_PORTS:-20000}"
options=(
  --block
  --disable-usage-stats
  --object-store-memory="${ULMFIT_OBJECT_STORE:-500000000}"
  # All ports that Ray listens on, for a firewall; README.md says what each is for. The ranks of a training open more.
  --node-manager-port="$ports"
  --object-manager-port="$((ports + 1))"
  --runtime-env-agent-port="$((ports + 2))"
  --dashboard-agent-grpc-port="$((ports + 3))"
  --dashboard-agent-listen-port="$((ports + 4))"
  --metrics-export-port="$((ports + 5))"
  --min-worker-port="$((ports + 100))"
  --max-worker-port="$((ports + 999))"
)
[[ -z "${ULMFIT_NODE_IP:-}" ]] || options+=(--node-ip-address="$ULMFIT_NODE_IP")
cpus="${ULMFIT_CPUS:-${SLURM_CPUS_ON_NODE:-}}"
[[ -z "$cpus" ]] || options+=(--num-cpus="$cpus")
[[ -z "${ULMFIT_GPUS:-}" ]] || options+=(--num-gpus="$ULMFIT_GPUS")

case "$role" in
  head)
    head="${ULMFIT_HEAD:-:6379}"
    options+=(--head --port="${head##*:}" --dashboard-host=127.0.0.1 --ray-client-server-port="$((ports + 8))")
    export AUTOSCALER_METRIC_PORT="$((ports + 6))" DASHBOARD_METRIC_PORT="$((ports + 7))"
    options+=(--dashboard-port="${ULMFIT_DASHBOARD_PORT:-8265}" --temp-dir="${ULMFIT_TEMP:-/tmp/ray}")
    ;;
  worker)
    options+=(--address="${ULMFIT_HEAD:?the head as HOST:PORT}")
    ;;
  *)
    echo "node.sh: '$role' is neither head nor worker" >&2
    exit 2
    ;;
esac
exec ray start "${options[@]}"
