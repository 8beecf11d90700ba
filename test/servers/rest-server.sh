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
. "$(dirname "${BASH_SOURCE[0]}")/serve.sh"

version=v0.14.0
cache=${XDG_CACHE_HOME:-$HOME/.cache}/lifeboat/servers/rest-server-$version

build() {
  [ -x "$cache/rest-server" ] || alone "$cache/lock" make_it || exit 1
  echo "$cache/rest-server"
}

make_it() {
  [ ! -x "$cache/rest-server" ] || return 0
  command -v go >/dev/null || { say "go is missing, and rest-server is built with it"; return 1; }
  local made
  made=$(mktemp -d "$cache/build.XXXXXX")
  say "building rest-server $version, once"
  # In a module of its own, which names the version: "go install" would ask for all versions that there are.
  printf 'module build\n\ngo 1.26\n\nrequire github.com/restic/rest-server %s\n' "$version" >"$made/go.mod"
  (cd "$made" && again env GOFLAGS=-mod=mod GOWORK=off go build -trimpath -ldflags '-s -w' -o rest-server \
    github.com/restic/rest-server/cmd/rest-server) >&2 &&
    mv "$made/rest-server" "$cache/rest-server" || { rm -r "$made"; return 1; }
  rm -r "$made"
}

listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

start() {
  local program folder options
  program=$(build) || exit 1
  mkdir -p "$1/data"
  folder=$(cd "$1" && pwd)
  shift
  options=("$@")
  [[ " $* " == *" --htpasswd-file "* ]] || options+=(--no-auth)
  serve "$folder" rest-server listens "$program" --listen 127.0.0.1:%p --path "$folder/data" "${options[@]}"
  printf '%s\n' "URL=http://127.0.0.1:$port/" "DATA=$folder/data" "PID=$pid" "LOG=$folder/rest-server.log"
}

case ${1:-} in
  build) build ;;
  start) shift; start "$@" ;;
  stop) quit "$2" rest-server ;;
  *) sed -n '2,10p' "$0" >&2; exit 2 ;;
esac
