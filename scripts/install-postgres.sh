#!/bin/sh
# install-postgres.sh: installs PostgreSQL's server programs for the demo and the tests, where they are missing.
#
# It asks the distribution for its own package and nothing else, and keeps Debian's package from making and starting a
# cluster of its own when it is installed by this script. Clusters that are there already are not touched. It needs root
# or sudo; without either it says what to run and fails.
set -eu

programs="initdb pg_ctl postgres pg_basebackup pg_controldata pg_rewind"

# complete FOLDER: are all programs there?
complete() {
	for program in $programs; do
		[ -x "$1/$program" ] || return 1
	done
}

for folder in /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /usr/libexec/postgresql* /opt/homebrew/opt/postgresql@*/bin \
	/usr/local/opt/postgresql@*/bin /opt/homebrew/bin /usr/local/bin /usr/local/pgsql/bin /usr/bin; do
	if complete "$folder"; then
		echo "PostgreSQL is there: $("$folder/postgres" --version) in $folder"
		exit 0
	fi
done

if [ "$(id -u)" = 0 ]; then
	root=
elif command -v sudo >/dev/null 2>&1; then
	root=sudo
else
	root=none
fi

# run COMMAND...: as root, or not at all.
run() {
	echo "+ $*"
	if [ "$root" = none ]; then
		echo "install-postgres.sh: run this as root (there is no sudo here): $*" >&2
		exit 1
	fi
	$root "$@"
}

if command -v apt-get >/dev/null 2>&1; then
	# /etc/postgresql-common/createcluster.conf is the package's own switch for the cluster that it makes.
	run mkdir -p /etc/postgresql-common
	if [ ! -e /etc/postgresql-common/createcluster.conf ]; then
		run sh -c 'echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.conf'
	fi
	run apt-get update
	run env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends postgresql
elif command -v dnf >/dev/null 2>&1; then
	run dnf install -y postgresql-server postgresql-contrib
elif command -v apk >/dev/null 2>&1; then
	run apk add postgresql postgresql-contrib
elif command -v pacman >/dev/null 2>&1; then
	run pacman -S --noconfirm postgresql
elif command -v zypper >/dev/null 2>&1; then
	run zypper --non-interactive install postgresql-server postgresql-contrib
elif command -v brew >/dev/null 2>&1; then
	brew install postgresql@17 # Homebrew refuses to run as root
else
	echo "install-postgres.sh: no package manager that it knows; install PostgreSQL's server programs by hand" >&2
	exit 1
fi
