#!/usr/bin/env bash
# A real cluster of two nodes on one machine, to try what needs more than one: `local.sh start DIR`, `local.sh stop DIR`.
#
#   cluster/local.sh start /tmp/two
#   eval "$(cluster/local.sh env /tmp/two)"          # RAY_ADDRESS and the token, for any ulmfit command
#   ulmfit run launch/quickstart.toml
#   cluster/local.sh stop /tmp/two
#
# DIR holds the token, the pids and the nodes' output. Stopping ends the two nodes by their pids and nothing else:
# `ray stop` would end every Ray of the machine. The head is 127.0.0.2, the worker 127.0.0.3.
#   ULMFIT_PORT     first of the 2,100 ports that the cluster uses      (default 30000)
#   ULMFIT_CPUS     CPUs of each node                                   (default 1)
#   ULMFIT_START_S  seconds that both nodes have to be there            (default 120)
set -euo pipefail

usage() {
  echo "usage: local.sh start|stop|env DIR" >&2
  exit 2
}

[[ $# -eq 2 ]] || usage
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
dir="$2"
export RAY_AUTH_TOKEN_PATH="$dir/token"
source "$here/settings.sh"
# A node that is told to stop first waits up to 30 s for its workers to be given back; `stop` below waits 10 s.
export RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S=3

start_node() { # start_node ROLE IP FIRST_PORT
  setsid env ULMFIT_NODE_IP="$2" ULMFIT_PORTS="$3" ULMFIT_CPUS="${ULMFIT_CPUS:-1}" \
    "$here/node.sh" "$1" >"$dir/$1.log" 2>&1 </dev/null &
  echo $! >"$dir/$1.pid"
}

lives() { # lives ROLE: whether the process that we started is still that process
  local pid
  pid="$(cat "$dir/$1.pid" 2>/dev/null)" && grep -qzx start "/proc/$pid/cmdline" 2>/dev/null
}

start() {
  if lives head || lives worker; then
    echo "local.sh: $dir holds a cluster that runs; stop it first: local.sh stop $dir" >&2
    exit 1
  fi
  mkdir -p "$dir"
  dir="$(cd "$dir" && pwd)"
  make_token "$dir/token"
  export RAY_AUTH_TOKEN_PATH="$dir/token"
  local port="${ULMFIT_PORT:-30000}"
  export ULMFIT_HEAD="127.0.0.2:$port" ULMFIT_DASHBOARD_PORT="$((port + 1))"
  ULMFIT_TEMP="$(mktemp -d /tmp/ulmfit-two-XXXXXX)" # not below DIR: a socket's path has 107 bytes at most
  export ULMFIT_TEMP
  printf '%s\n' "$ULMFIT_TEMP" >"$dir/temp"
  printf 'export %s=%q\n' RAY_ADDRESS "$ULMFIT_HEAD" ULMFIT_JOBS_URL "http://127.0.0.1:$ULMFIT_DASHBOARD_PORT" \
    RAY_AUTH_MODE token RAY_AUTH_TOKEN_PATH "$dir/token" RAY_USAGE_STATS_ENABLED 0 >"$dir/env"
  start_node head 127.0.0.2 "$((port + 100))"
  start_node worker 127.0.0.3 "$((port + 1100))"
  ulmfit doctor "$dir" --address "$ULMFIT_HEAD" --nodes 2 --wait "${ULMFIT_START_S:-120}" --shared "$dir" &
  wait -n || good=false # the first to end is the doctor, unless a node died
  if ! "${good:-true}" || ! lives head || ! lives worker; then
    kill $! 2>/dev/null || true
    echo "local.sh: not a good cluster; the nodes' output is in $dir/head.log and $dir/worker.log" >&2
    stop
    exit 1
  fi
}

stop() {
  local role pid
  for role in worker head; do
    lives "$role" || continue
    pid="$(cat "$dir/$role.pid")"
    kill -TERM "$pid"
    for _ in {1..100}; do
      kill -0 "$pid" 2>/dev/null || break
      sleep 0.1
    done
    { kill -KILL -- "-$pid" && wait "$pid"; } 2>/dev/null || true # the node's whole session, if it did not end by itself
  done
  [[ ! -s "$dir/temp" ]] || rm -rf -- "$(cat "$dir/temp")"
  rm -f "$dir"/{head,worker}.pid "$dir/temp" "$dir/env"
}

case "$1" in
  start) start ;;
  stop) stop ;;
  env) cat "$dir/env" ;;
  *) usage ;;
esac
