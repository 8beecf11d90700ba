#!/usr/bin/env bash
# Installs (once, into the user's cache), starts and stops ministack, an emulator of AWS that knows Aurora global databases: on
# loopback, on a free port, as whoever calls. One server is every region; everything is in account 123456789012.
#
#   ministack.sh build           installs it where it is not yet, prints the path of its Python
#   ministack.sh start FOLDER    starts it, with its log in FOLDER, and prints KEY=VALUE lines once it answers
#   ministack.sh stop FOLDER     ends it, by its process id
#
# start prints ENDPOINT (http://host:port), PID and LOG.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/venv.sh"

case ${1:-} in
  build) v=$(venv ministack) && echo "$v/bin/python" ;;
  start)
    v=$(venv ministack)
    emulate "$2" ministack /_ministack/health BIND_HOST=127.0.0.1 MINISTACK_ACCOUNT_ID=123456789012 IOT_MTLS_ENABLED=0 \
      GATEWAY_PORT=%p "$v/bin/python" -m ministack
    ;;
  stop) quit "$2" ministack ;;
  *) sed -n '2,10p' "$0" >&2; exit 2 ;;
esac
