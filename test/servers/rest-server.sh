#!/usr/bin/env bash
# Builds (once, into the user's cache), starts and stops restic's rest-server for tests: on loopback, on a free port, as
# whoever calls.
#
#   rest-server.sh build                       builds it where it is not built yet (seconds), prints the program's path
#   rest-server.sh start FOLDER [OPTION...]    starts it on an empty FOLDER and prints KEY=VALUE lines once it answers
#   rest-server.sh stop FOLDER                 ends it, by its process id
#
# start prints URL (http://host:port/), DATA (the folder of the repositories), PID and LOG. Without options of its own
# (--htpasswd-file, --append-only, --private-repos) it asks nobody for a password.
set -euo pipefail

version=v0.14.0
cache=${XDG_CACHE_HOME:-$HOME/.cache}/lifeboat/servers/rest-server-$version

say() { echo "rest-server.sh: $*" >&2; }

build() {
  if [ ! -x "$cache/rest-server" ]; then
    command -v go >/dev/null || { say "go is missing, and rest-server is built with it"; exit 1; }
    mkdir -p "$cache"
    local made
    made=$(mktemp -d "$cache/build.XXXXXX")
    say "building rest-server $version, once"
    # In a module of its own, which names the version: "go install" would ask for all versions that there are.
    printf 'module build\n\ngo 1.26\n\nrequire github.com/restic/rest-server %s\n' "$version" >"$made/go.mod"
    (cd "$made" && GOFLAGS=-mod=mod GOWORK=off go build -trimpath -ldflags '-s -w' -o rest-server \
      github.com/restic/rest-server/cmd/rest-server) >&2
    mv "$made/rest-server" "$cache/rest-server" && rm -r "$made"
  fi
  echo "$cache/rest-server"
}

free_port() {
  local port
  while :; do
    port=$((20000 + RANDOM % 12000))
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port"; return; }
  done
}

start() {
  local program port pid folder options
  program=$(build)
  mkdir -p "$1/data"
  folder=$(cd "$1" && pwd)
  shift
  options=("$@")
  [[ " $* " == *" --htpasswd-file "* ]] || options+=(--no-auth)
  for _ in 1 2 3 4 5; do
    port=$(free_port)
    setsid "$program" --listen "127.0.0.1:$port" --path "$folder/data" "${options[@]}" >"$folder/rest-server.log" 2>&1 </dev/null &
    pid=$!
    echo "$pid" >"$folder/rest-server.pid"
    while kill -0 "$pid" 2>/dev/null; do
      if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
        printf '%s\n' "URL=http://127.0.0.1:$port/" "DATA=$folder/data" "PID=$pid" "LOG=$folder/rest-server.log"
        return
      fi
      sleep 0.05
    done
  done
  say "rest-server does not start:"; tail -n 5 "$folder/rest-server.log" >&2; exit 1
}

stop() {
  [ -s "$1/rest-server.pid" ] || return 0
  local pid
  pid=$(cat "$1/rest-server.pid")
  kill "$pid" 2>/dev/null || return 0
  while kill -0 "$pid" 2>/dev/null; do
    [ "$(sed 's/.*) //; s/ .*//' "/proc/$pid/stat" 2>/dev/null)" != Z ] || return 0
    sleep 0.02
  done
}

case ${1:-} in
  build) build ;;
  start) shift; start "$@" ;;
  stop) stop "$2" ;;
  *) sed -n '2,10p' "$0" >&2; exit 2 ;;
esac
