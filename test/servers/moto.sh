#!/usr/bin/env bash
# Installs (once, into the user's cache), starts and stops moto, an emulator of AWS whose resources change at once: on loopback, on
# a free port, as whoever calls. One server is every region; it takes any credentials, and everything is in account 123456789012.
#
#   moto.sh build           installs it where it is not yet, prints the program's path
#   moto.sh start FOLDER    starts it, with its log in FOLDER, and prints KEY=VALUE lines once it answers
#   moto.sh stop FOLDER     ends it, by its process id
#
# start prints ENDPOINT (http://host:port), PID and LOG. Variables of moto's pass through: with INITIAL_NO_AUTH_ACTION_COUNT=n,
# signatures and policies are enforced after n calls.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/venv.sh"

case ${1:-} in
  build) v=$(venv moto) && echo "$v/bin/moto_server" ;;
  start) v=$(venv moto) && emulate "$2" moto /moto-api/ "$v/bin/moto_server" -H 127.0.0.1 -p %p ;;
  stop) quit "$2" moto ;;
  *) sed -n '2,11p' "$0" >&2; exit 2 ;;
esac
