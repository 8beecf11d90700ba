#!/bin/sh
# A throw-away PostgreSQL primary (site east, 127.0.0.2) with a streaming standby (site west, 127.0.0.3).
#
#   test/servers/postgres.sh start [DIR] [EAST_PORT WEST_PORT]   prints its configuration as KEY=VALUE lines
#   test/servers/postgres.sh stop DIR                            stops both servers and deletes DIR
#
# Anybody on this machine may log in to it. As root the servers run as the user "postgres".
set -eu

die() { printf '%s\n' "$*" >&2; exit 1; }

find_bin() {
	for v in 18 17 16 15 14 13; do
		for d in "/usr/lib/postgresql/$v/bin" "/usr/pgsql-$v/bin" "/opt/homebrew/opt/postgresql@$v/bin"; do
			if [ -x "$d/pg_ctl" ]; then echo "$d"; return; fi
		done
	done
	if p=$(command -v pg_ctl); then dirname "$p"; fi
}

need_postgres() {
	bin=$(find_bin)
	[ -n "$bin" ] && return
	"$(dirname "$0")/install.sh" postgres >&2 || exit 1
	bin=$(find_bin)
	[ -n "$bin" ] || die "PostgreSQL is missing: apt-get install postgresql (Debian, Ubuntu) or brew install postgresql@17 (macOS)"
}

run() { if [ "$(id -u)" = 0 ]; then (cd / && runuser -u postgres -- "$@"); else "$@"; fi; }

# A port that the server could take: tried by starting, so that no other program is needed to look.
start_on_free_port() { # HOST FOLDER FIRST
	port=$3
	while ! run "$bin/pg_ctl" start -w -s -D "$2" -l "$2.log" -o "-c port=$port -c listen_addresses=$1" >/dev/null 2>&1; do
		grep -q 'in use' "$2.log" || { tail -n 5 "$2.log" >&2; die "the server in $2 does not start"; }
		: >"$2.log"
		port=$((port + 1))
		[ "$port" -lt $(($3 + 100)) ] || die "no free port from $3 on"
	done
	run "$bin/pg_ctl" stop -w -s -m fast -D "$2"
	printf "port = %s\nlisten_addresses = '%s'\n" "$port" "$1" | run tee -a "$2/postgresql.conf" >/dev/null
	run "$bin/pg_ctl" start -w -s -D "$2" -l "$2.log" >/dev/null
}

start() {
	need_postgres
	dir=${1:-$(mktemp -d "${TMPDIR:-/tmp}/lifeboat-postgres.XXXXXX")}
	east=${2:-15432}
	west=${3:-$((east + 100))}
	mkdir -p "$dir/east" "$dir/west"
	if [ "$(id -u)" = 0 ]; then chown -R postgres "$dir"; fi
	run "$bin/initdb" -D "$dir/east/data" -U postgres -A trust --no-sync >/dev/null
	run tee -a "$dir/east/data/postgresql.conf" >/dev/null <<END
unix_socket_directories = ''
wal_log_hints = on
wal_keep_size = 64MB
END
	printf 'host all,replication all 127.0.0.0/8 trust\n' | run tee -a "$dir/east/data/pg_hba.conf" >/dev/null
	start_on_free_port 127.0.0.2 "$dir/east/data" "$east"
	east=$port
	run "$bin/pg_basebackup" -D "$dir/west/data" -h 127.0.0.2 -p "$east" -U postgres -X stream -c fast --no-sync
	printf "primary_conninfo = 'host=127.0.0.2 port=%s user=postgres application_name=lifeboat_west'\n" "$east" |
		run tee -a "$dir/west/data/postgresql.conf" >/dev/null
	run touch "$dir/west/data/standby.signal"
	start_on_free_port 127.0.0.3 "$dir/west/data" "$west"
	west=$port
	printf '%s\n' "DIR=$dir" "BIN=$bin" "DATABASE=postgres" "PGUSER=postgres" \
		"EAST_HOST=127.0.0.2" "EAST_PORT=$east" "EAST_DATA=$dir/east/data" "EAST_PID=$(run head -n 1 "$dir/east/data/postmaster.pid")" \
		"WEST_HOST=127.0.0.3" "WEST_PORT=$west" "WEST_DATA=$dir/west/data" "WEST_PID=$(run head -n 1 "$dir/west/data/postmaster.pid")"
	if [ "$(id -u)" = 0 ]; then echo 'VIA=runuser -u postgres --'; else echo VIA=; fi
}

stop() {
	[ -n "${1:-}" ] && [ -d "$1" ] || die "usage: postgres.sh stop DIR"
	[ -d "$1/east" ] && [ -d "$1/west" ] || die "$1 was not made by this script"
	for site in west east; do
		pid=$(run head -n 1 "$1/$site/data/postmaster.pid" 2>/dev/null) || continue
		kill -QUIT "$pid" 2>/dev/null || continue
		n=0
		while kill -0 "$pid" 2>/dev/null && [ $n -lt 100 ]; do n=$((n + 1)); sleep 0.1; done
	done
	rm -rf "$1"
}

case ${1:-} in
start) shift; start "$@" ;;
stop) shift; stop "$@" ;;
*) die "usage: postgres.sh start [DIR] [EAST_PORT WEST_PORT] | stop DIR" ;;
esac
