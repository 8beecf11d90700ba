#!/usr/bin/env bash
# A pgBackRest that is newer than the one of Debian 12: that of Debian 13, which backs up blocks of files. It is taken from
# Debian's packages and unpacked, with the libraries that it needs, beside the system: nothing is installed.
#
#   pgbackrest.sh        prints the program's path, after it has been fetched once
#
# It needs a Debian with apt and dpkg. Other systems are told what to do: set PGBACKREST_NEW to a pgBackRest of 2.46 or later.
set -euo pipefail

suite=trixie
if [ "$(id -u)" = 0 ]; then
  cache=/var/cache/lifeboat-test-servers/pgbackrest-$suite # the servers' user must be able to read it
else
  cache=${XDG_CACHE_HOME:-$HOME/.cache}/lifeboat/servers/pgbackrest-$suite
fi

. "$(dirname "${BASH_SOURCE[0]}")/bring.sh"

if [ -n "${PGBACKREST_NEW:-}" ]; then echo "$PGBACKREST_NEW"; exit 0; fi
if [ -x "$cache/pgbackrest" ]; then echo "$cache/pgbackrest"; exit 0; fi

command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || {
  say "this system has no apt: install pgBackRest 2.46 or later, and set PGBACKREST_NEW to its path"
  exit 1
}

# Where this machine gets Debian's packages from.
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' | head -n 1)
[ -n "$mirror" ] || { say "apt knows no mirror of Debian: run apt-get update, or set PGBACKREST_NEW"; exit 1; }

mkdir -p "$(dirname "$cache")"
made=$(mktemp -d "$cache.XXXXXX")
trap 'rm -rf "$made"' EXIT
mkdir -p "$made"/lists/partial "$made"/archives/partial "$made/root"
: >"$made/status"
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" >"$made/sources.list"
cat >"$made/apt.conf" <<END
Dir::Etc::sourcelist "$made/sources.list";
Dir::Etc::sourceparts "-";
Dir::State::lists "$made/lists";
Dir::State::status "$made/status";
Dir::Cache::archives "$made/archives";
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
APT::Sandbox::User "";
Acquire::Retries "5";
END
export APT_CONFIG=$made/apt.conf
say "fetching pgBackRest of Debian $suite, once"
again apt-get -qq update >&2
again apt-get -qq -y --no-install-recommends --download-only install pgbackrest >&2
for deb in "$made"/archives/lib*.deb "$made"/archives/zlib1g_*.deb "$made"/archives/pgbackrest_*.deb; do
  case $deb in *perl*) continue ;; esac
  dpkg-deb -x "$deb" "$made/root"
done
rm -rf "$made"/lock* "$made/lists" "$made/archives" "$made/status" "$made/sources.list" "$made/apt.conf" "$made/root/usr/share"

# The libraries are of that Debian, and so is the loader that finds them.
cat >"$made/pgbackrest" <<'END'
#!/bin/sh
root=$(dirname "$(readlink -f "$0")")/root
exec "$root"/usr/lib*/ld-linux*.so.* --library-path "$(echo "$root"/usr/lib/*-linux-gnu)" "$root/usr/bin/pgbackrest" "$@"
END
chmod -R a+rX,go-w "$made"
chmod 755 "$made" "$made/pgbackrest"
"$made/pgbackrest" version >&2
mv -T "$made" "$cache" 2>/dev/null || [ -x "$cache/pgbackrest" ] # somebody else was faster
trap - EXIT
rm -rf "$made"
echo "$cache/pgbackrest"
