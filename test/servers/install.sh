#!/usr/bin/env bash
# Installs the servers that the tests and the demo start as children of their own: from the distribution, when it is
# one with apt and we are root; else it says exactly what to install, and fails.
#
#   install.sh [postgres] [bind9] [restic] [tools] [pgbackrest] [python]        default: all
#
# tools are setfacl, fusermount and curl, which tests of the vault use. python is Python 3 with venv, into which moto.sh,
# ministack.sh and aws-cli.sh install. MinIO and rest-server are no packages: minio.sh and rest-server.sh build them.
#
# Nothing is left running: no PostgreSQL cluster is made, and no service is started.
set -euo pipefail

. "$(dirname "${BASH_SOURCE[0]}")/bring.sh"

has() {
  case $1 in
    postgres) command -v postgres >/dev/null || compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null ||
      compgen -G '/opt/homebrew/opt/postgresql@*/bin/postgres' >/dev/null ;;
    bind9) PATH=$PATH:/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin command -v named >/dev/null ;;
    restic) command -v restic >/dev/null ;; # no server: the judge of the vault
    pgbackrest) command -v pgbackrest >/dev/null ;; # no server: the peer whose repositories are imported
    python) python3 -c 'import venv, ensurepip' 2>/dev/null ;; # no server: what moto, ministack and the aws command line run on
    tools) command -v setfacl >/dev/null && command -v curl >/dev/null &&
      { command -v fusermount3 >/dev/null || command -v fusermount >/dev/null; } ;;
    *) say "unknown server: $1 (postgres, bind9, restic, tools, pgbackrest, python)"; exit 2 ;;
  esac
}

packages_of() {
  case $1 in
    postgres) echo "postgresql postgresql-client" ;;
    bind9) echo "bind9 bind9-utils" ;;
    restic) echo "restic" ;;
    tools) echo "acl fuse3 curl" ;;
    pgbackrest) echo "pgbackrest" ;;
    python) echo "python3 python3-venv" ;;
  esac
}

apt_get() {
  DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Dpkg::Options::=--force-confold -o DPkg::Lock::Timeout=600 -o Acquire::Retries=5 "$@" >&2
}

# apt is apt_get, again when somebody else has the lock of apt's lists, for which apt does not wait, or a mirror does not answer.
apt() { again apt_get "$@"; }

# candidates fails when apt does not know one of the packages: its lists are empty or too old.
candidates() {
  local p
  for p in "$@"; do
    apt-cache policy "$p" 2>/dev/null | grep -q 'Candidate: [^(]' || return 1
  done
}

# quiet_services keeps packages from starting what they bring, unless the machine has a rule of its own about that.
quiet_services() {
  [ ! -e /usr/sbin/policy-rc.d ] || return 0
  printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
  chmod 755 /usr/sbin/policy-rc.d
  trap 'rm -f /usr/sbin/policy-rc.d' EXIT
}

missing=()
look() {
  missing=()
  for server in "$@"; do
    has "$server" || missing+=("$server")
  done
}

[ $# -gt 0 ] || set -- postgres bind9 restic tools pgbackrest python
look "$@"
[ ${#missing[@]} -gt 0 ] || exit 0

packages=()
for server in "${missing[@]}"; do
  read -ra names <<<"$(packages_of "$server")"
  packages+=("${names[@]}")
done

if ! command -v apt-get >/dev/null; then
  say "missing: ${missing[*]}. Install PostgreSQL 13 or later, BIND 9, restic 0.14 or later, pgBackRest and Python 3 (brew install postgresql@15 bind restic pgbackrest python), then try again."
  exit 1
fi
if [ "$(id -u)" != 0 ]; then
  say "missing: ${missing[*]}. Run: sudo apt-get install ${packages[*]}"
  exit 1
fi

install() {
  look "$@" # somebody else may have been at it
  [ ${#missing[@]} -gt 0 ] || return 0
  say "installing ${packages[*]}"
  candidates "${packages[@]}" || apt update || return 1
  quiet_services
  case " ${missing[*]} " in
    *" postgres "*)
      fetch postgresql-common || return 1
      sed -ri "s/^#?\s*create_main_cluster\s*=.*/create_main_cluster = false/" /etc/postgresql-common/createcluster.conf || return 1
      ;;
  esac
  fetch "${packages[@]}"
}

# fetch installs packages. What apt knows of them may be too old, and then its lists are made anew.
fetch() {
  apt_get install --no-install-recommends "$@" || { apt update && apt install --no-install-recommends "$@"; }
}

alone /var/cache/lifeboat-test-servers/install.lock install "$@" || exit 1
look "$@"
[ ${#missing[@]} -eq 0 ] || { say "still missing after installing ${packages[*]}: ${missing[*]}"; exit 1; }
