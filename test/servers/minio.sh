#!/usr/bin/env bash
# Builds (once, into the user's cache), starts and stops a MinIO for tests: on loopback, on a free port, as whoever calls.
#
#   minio.sh build           builds it where it is not built yet (minutes), prints the program's path
#   minio.sh start FOLDER    starts it on an empty FOLDER and prints KEY=VALUE lines once it answers
#   minio.sh stop FOLDER     ends it, by its process id
#
# With FOLDER/certs/public.crt and private.key it speaks TLS (which needs curl here). MINIO_DOMAIN makes it serve buckets
# in the host's name as well; it and other variables of MinIO's pass through.
#
# start prints ENDPOINT (http://host:port, or https), ACCESS_KEY, SECRET_KEY, PID and LOG.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/serve.sh"

version=v0.0.0-20260212201848-7aac2a2c5b7c
cache=${XDG_CACHE_HOME:-$HOME/.cache}/lifeboat/servers/minio-$version

build() {
  [ -x "$cache/minio" ] || alone "$cache/lock" make_it || exit 1
  echo "$cache/minio"
}

make_it() {
  [ ! -x "$cache/minio" ] || return 0
  command -v go >/dev/null || { say "go is missing, and MinIO is built with it"; return 1; }
  local made
  made=$(mktemp -d "$cache/build.XXXXXX")
  say "building MinIO $version, once"
  again env GOBIN="$made" GOFLAGS= go install -trimpath -ldflags '-s -w' "github.com/minio/minio@$version" >&2 &&
    mv "$made/minio" "$cache/minio" || { rm -r "$made"; return 1; }
  rmdir "$made"
}

start() {
  local minio secret folder
  minio=$(build) || exit 1
  mkdir -p "$1/data" "$1/certs"
  folder=$(cd "$1" && pwd)
  scheme=http
  if [ -s "$folder/certs/public.crt" ]; then
    command -v curl >/dev/null || { say "curl is missing, and a MinIO with TLS is asked with it"; exit 1; }
    scheme=https
  fi
  secret=$(head -c 18 /dev/urandom | od -An -tx1 | tr -d ' \n')
  serve "$folder" minio ready MINIO_ROOT_USER=lifeboat "MINIO_ROOT_PASSWORD=$secret" MINIO_BROWSER=off \
    "$minio" server --quiet --certs-dir "$folder/certs" --address 127.0.0.1:%p "$folder/data"
  printf '%s\n' "ENDPOINT=$scheme://127.0.0.1:$port" ACCESS_KEY=lifeboat "SECRET_KEY=$secret" "PID=$pid" "LOG=$folder/minio.log"
}

# ready PORT says whether it would serve: it answers before it does.
ready() {
  if [ "$scheme" = https ]; then
    curl --silent --insecure --http1.1 --head --max-time 5 "https://127.0.0.1:$1/minio/health/ready" | grep -q '^HTTP/1.1 200'
    return
  fi
  { exec 3<>"/dev/tcp/127.0.0.1/$1" && printf 'GET /minio/health/ready HTTP/1.0\r\nHost: 127.0.0.1\r\nUser-Agent: minio.sh\r\n\r\n' >&3 && head -n 1 <&3 | grep -q '^HTTP/1.. 200'; } 2>/dev/null
}

case ${1:-} in
  build) build ;;
  start) start "$2" ;;
  stop) quit "$2" minio ;;
  *) sed -n '2,12p' "$0" >&2; exit 2 ;;
esac
