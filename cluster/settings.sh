# shellcheck shell=bash
# What every launcher, node and client sets before Ray starts; sourced by the other scripts. A value of yours wins.
: "${RAY_AUTH_TOKEN_PATH:?a file with the token: mode 0600, the same content on every node and client}"
export RAY_AUTH_TOKEN_PATH
export RAY_AUTH_MODE=token
export RAY_USAGE_STATS_ENABLED=0
# `ray job stop` sends SIGTERM and kills after 3 s by default; a trainer has its checkpoint written within 10 s.
export RAY_JOB_STOP_WAIT_TIME_S="${RAY_JOB_STOP_WAIT_TIME_S:-30}"
# Where trainers copy the shards that they read; a recipe names it as resources.cache_dir. A disk of the node's own.
export ULMFIT_CACHE="${ULMFIT_CACHE:-/tmp/ulmfit-cache-$(id -u)}"

# make_token FILE: write a new token, readable by this user alone; an existing one is kept.
make_token() {
  [[ -s "$1" ]] || (umask 077 && od -An -N32 -tx1 /dev/urandom | tr -d ' \n' >"$1")
}
