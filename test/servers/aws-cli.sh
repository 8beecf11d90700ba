#!/usr/bin/env bash
# Installs the aws command line (once, into the user's cache), which drives the fake of AWS as an independent client.
#
#   aws-cli.sh build        installs it where it is not yet, prints the program's path
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/venv.sh"

case ${1:-} in
  build) v=$(venv aws-cli) && echo "$v/bin/aws" ;;
  *) sed -n '2,4p' "$0" >&2; exit 2 ;;
esac
