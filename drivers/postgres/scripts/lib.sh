# Functions about one PostgreSQL data folder. Variables come from Go: data port config bin major work
# service_start service_stop. living and birth come from package hostexec.
export LC_ALL=C

say() { printf '%s\n' "$*" >&2; }

# folder: what there is at $data: server, empty, absent, other (not a data folder) or hidden (we may not look).
folder() {
	if [ -d "$data" ]; then
		if [ ! -x "$data" ] || [ ! -r "$data" ]; then echo hidden; return; fi
		if [ -f "$data/PG_VERSION" ]; then echo server; return; fi
		if [ -z "$(ls -A "$data")" ]; then echo empty; else echo other; fi
		return
	fi
	if [ -e "$data" ] || [ -L "$data" ]; then echo other; return; fi
	_up=$(dirname "$data")
	while [ ! -d "$_up" ] && [ "$_up" != / ]; do
		if [ -e "$_up" ] || [ -L "$_up" ]; then echo other; return; fi
		_up=$(dirname "$_up")
	done
	if [ -x "$_up" ]; then echo absent; else echo hidden; fi
}

# find_bin: sets $bin.
find_bin() {
	[ -n "$bin" ] && return 0
	_v=$major
	[ -r "$data/PG_VERSION" ] && read -r _v <"$data/PG_VERSION"
	for _d in "/usr/lib/postgresql/$_v/bin" "/usr/pgsql-$_v/bin" "/usr/local/pgsql/bin" \
		"/opt/homebrew/opt/postgresql@$_v/bin" "/usr/local/opt/postgresql@$_v/bin"; do
		if [ -x "$_d/pg_ctl" ]; then bin=$_d; return 0; fi
	done
	if _p=$(command -v pg_ctl); then bin=$(dirname "$_p"); return 0; fi
	say "the programs of PostgreSQL $_v are in none of the usual places: set bin"
	return 127
}

# is_postgres PID
is_postgres() {
	if [ -r "/proc/$1/comm" ]; then read -r _c <"/proc/$1/comm"; else _c=$(ps -o comm= -p "$1" 2>/dev/null); fi
	case $(basename "${_c:-none}") in postgres* | postmaster*) return 0 ;; esac
	return 1
}

# postmaster FOLDER: the number of the living postmaster of a data folder.
postmaster() {
	[ -r "$1/postmaster.pid" ] || return 1
	read -r _pm <"$1/postmaster.pid" || return 1
	living "$_pm" && is_postgres "$_pm" && echo "$_pm"
}

# children PID: its child processes.
children() {
	if [ -r /proc/self/stat ]; then
		for _st in /proc/[0-9]*/stat; do
			_q=$(sed 's/^.*) //' "$_st" 2>/dev/null | cut -d' ' -f2)
			if [ "$_q" = "$1" ]; then basename "$(dirname "$_st")"; fi
		done
	else
		ps -A -o pid= -o ppid= | while read -r _k _q; do [ "$_q" = "$1" ] && echo "$_k"; done
	fi
}

# wait_gone SECONDS PID...: until none of them lives.
wait_gone() {
	_left=$(($1 * 20)); shift
	while [ $_left -gt 0 ]; do
		_any=
		for _w in "$@"; do living "$_w" && _any=1; done
		[ -z "$_any" ] && return 0
		_left=$((_left - 1))
		sleep 0.05
	done
	return 1
}

# frozen PID: stopped by SIGSTOP or a debugger; no other signal but SIGKILL will do.
frozen() {
	if [ -r "/proc/$1/stat" ]; then _fz=$(sed 's/^.*) //' "/proc/$1/stat"); else _fz=$(ps -o stat= -p "$1"); fi
	case $_fz in T* | t*) return 0 ;; esac
	return 1
}

# stop_server FOLDER SECONDS: fast, then immediate, then by SIGKILL with all its children. Says how on its output.
stop_server() {
	_run=$(postmaster "$1") || { echo "was not running"; return 0; }
	_kids=$(children "$_run")
	_patience=$2
	if frozen "$_run"; then _patience=0; fi
	if [ "$1" = "$data" ] && [ -n "$service_stop" ]; then
		(eval "$service_stop") >/dev/null 2>&1 </dev/null &
	else
		kill -INT "$_run" 2>/dev/null
	fi
	if wait_gone "$_patience" "$_run"; then echo "stopped (fast)"; return 0; fi
	kill -QUIT "$_run" 2>/dev/null
	if [ "$_patience" -gt 3 ]; then _patience=3; fi
	if wait_gone "$_patience" "$_run"; then echo "stopped (immediate)"; return 0; fi
	_kids="$_kids $(children "$_run")"
	kill -KILL "$_run" 2>/dev/null
	for _k in $_kids; do is_postgres "$_k" && kill -KILL "$_k" 2>/dev/null; done
	# shellcheck disable=SC2086
	if wait_gone 5 "$_run" $_kids; then echo "killed"; return 0; fi
	say "process $_run does not end"
	return 1
}

# start_server: without waiting until it answers.
start_server() {
	if postmaster "$data" >/dev/null; then return 0; fi
	if [ -n "$service_start" ]; then (eval "$service_start") </dev/null; return $?; fi
	find_bin || return $?
	mkdir -p "$work" || return 1
	if [ -n "$config" ]; then
		"$bin/pg_ctl" start -W -s -D "$data" -l "$work/server.log" -o "-c config_file='$config'" </dev/null
	else
		"$bin/pg_ctl" start -W -s -D "$data" -l "$work/server.log" </dev/null
	fi
}

# durable FILE...: written through to the disk.
durable() { sync "$@" 2>/dev/null || sync; }

# write_conf FILE: puts the lines of FILE into postgresql.auto.conf in place of those that set the same names, and
# takes out what would end recovery at some point of the past. For a server that does not run.
write_conf() {
	_auto=$2/postgresql.auto.conf
	[ -e "$_auto" ] || : >"$_auto"
	_names=$(sed -n 's/^\([A-Za-z_][A-Za-z0-9_.]*\) *=.*/\1/p' "$1" | tr '\n' '|')recovery_target[a-z_]*
	{ grep -v -i -E "^[ 	]*($_names)[ 	=]" "$_auto"; cat "$1"; } >"$_auto.lifeboat" || return 1
	mv "$_auto.lifeboat" "$_auto" && durable "$_auto" "$2"
}
