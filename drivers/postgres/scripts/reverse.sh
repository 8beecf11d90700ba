# The job that makes a copy follow another primary. Variables besides lib.sh's: way (follow, rewind, rebuild), may_rebuild
# (yes or empty), source_host source_port source_user source_db sslmode sslrootcert, token, fresh (lines for a folder that comes with the
# other site's settings), keep (yes: the old folder holds what the primary does not have), seed (the command that restores
# from a vault, or empty), may_copy (yes: a base backup can be made too). The file secret is, with seed, the request of
# that command on one line, then "repl_user:repl_password" as a pgpass line for all hosts, the user's line, and lines for
# postgresql.auto.conf.
job=$1
set -u
phase() { printf '%s\n' "$*" >"$job/phase.new" && mv "$job/phase.new" "$job/phase"; say "$*"; }
value() { printf '%s\n' "$1" >>"$job/values"; }
fail() { say "$1"; exit "${2:-1}"; }
umask 077
trap 'rm -rf "$job/pgpass" "$job/conf" "$job/seed/secret" "$job/rest"' EXIT
cp "$job/secret" "$job/rest"
if [ -n "$seed" ]; then
	mkdir -p "$job/seed" && sed -n 1p "$job/secret" >"$job/seed/secret" && tail -n +2 "$job/secret" >"$job/rest" || fail "no room for the job's files"
fi
sed -n 1,2p "$job/rest" >"$job/pgpass"
tail -n +3 "$job/rest" >"$job/conf"
export PGPASSFILE="$job/pgpass" PGCONNECT_TIMEOUT=10 PGSSLMODE="$sslmode" PGAPPNAME=lifeboat
[ -n "$sslrootcert" ] && export PGSSLROOTCERT="$sslrootcert"
find_bin || exit $?
control() { "$bin/pg_controldata" -D "$data" | sed -n "s/^$1: *//p"; }

f=$(folder)
case $f in
server) ;;
empty | absent) way=rebuild ;;
*) fail "$data is $f" 75 ;;
esac
if [ "$f" = server ] && postmaster "$data" >/dev/null; then
	# A running server that would not come back as a standby is one that serves.
	case $(control 'Database cluster state') in
	'in archive recovery' | 'shut down in recovery') ;;
	*) [ -e "$data/standby.signal" ] || fail "a primary runs on $data" 75 ;;
	esac
	[ -e "$data/standby.signal" ] || fail "a server runs on $data that is no standby" 75
	phase "stopping the copy"
	stop_server "$data" 30 >&2 || exit 1
fi

# What a rewind or a base backup would put in place of this site's own settings.
settings="postgresql.conf postgresql.auto.conf pg_hba.conf pg_ident.conf"
save() {
	rm -rf "$job/settings" && mkdir -p "$job/settings" || return 1
	for _f in $settings; do if [ -f "$data/$_f" ]; then cp -p "$data/$_f" "$job/settings/" || return 1; fi; done
}
restore() {
	for _f in $settings; do if [ -f "$job/settings/$_f" ]; then cp -p "$job/settings/$_f" "$1/$_f" || return 1; fi; done
}

# A crashed copy is brought to the end of its own log first: as a standby of nobody, which nobody can reach. (pg_rewind
# would use single-user mode, for which standby.signal must go, and a restart in between would make a primary.)
settle() {
	case $(control 'Database cluster state') in 'shut down' | 'shut down in recovery') return 0 ;; esac
	phase "recovering the copy to the end of its own log"
	: >"$data/standby.signal" && rm -f "$data/recovery.signal" "$data/postmaster.pid"
	_sock=$(mktemp -d "${TMPDIR:-/tmp}/lb.XXXXXX") || return 1
	_opts="-c listen_addresses='' -c unix_socket_directories='$_sock' -c primary_conninfo='' -c restore_command='' -c hot_standby=on -c archive_mode=off"
	[ -n "$config" ] && _opts="$_opts -c config_file='$config'"
	"$bin/pg_ctl" start -w -s -t 86400 -D "$data" -l "$job/settle.log" -o "$_opts" </dev/null >/dev/null 2>&1
	_code=$?
	[ $_code = 0 ] || tail -n 3 "$job/settle.log" >&2
	stop_server "$data" 600 >&2
	rm -rf "$_sock"
	return $_code
}

rewind() {
	save && settle || return 1
	"$bin/psql" -X -w -h "$source_host" -p "$source_port" -U "$source_user" -d "$source_db" -q -c checkpoint >&2 || true
	phase "rewinding to where the histories part"
	"$bin/pg_rewind" -D "$data" --no-sync ${config:+--config-file="$config"} \
		--source-server="host=$source_host port=$source_port user=$source_user dbname=$source_db" >"$job/rewind.log" 2>&1
	_code=$?
	cat "$job/rewind.log" >&2
	# Whatever became of it, the folder must never start as a primary.
	: >"$data/standby.signal"
	restore "$data" || return 1
	[ $_code = 0 ] || return 1
	phase "writing the rewound copy through to the disk"
	"$bin/initdb" -D "$data" --sync-only >/dev/null 2>&1 || sync
	value "rewound=$(tail -n 1 "$job/rewind.log")"
}

rebuild() {
	new=$work/new.$token
	mkdir -p "$work" || fail "$work cannot be made: give Lifeboat a work folder next to the data folder"
	rm -rf "$work"/new.*
	save || return 1
	echo "$new" >"$job/watch"
	seeded=
	if [ -n "$seed" ]; then
		phase "restoring from the vault"
		if eval "$seed" '"$job/seed"' >&2; then
			seeded=yes
			sed -n -E 's/^(point|base|reached|took)=/seed_&/p' "$job/seed/values" >>"$job/values"
		else
			rm -rf "$new"
			value "not_seeded=$(sed -n 's/^failure=//p' "$job/seed/values" 2>/dev/null | head -c 1000)"
			[ -n "$may_copy" ] || fail "it cannot be restored from the vault, and not copied from the primary either, since it has tablespaces"
		fi
	fi
	if [ -z "$seeded" ]; then
		phase "copying the primary"
		"$bin/pg_basebackup" -D "$new" -h "$source_host" -p "$source_port" -U "$repl_user" -X stream -c fast -w >&2 || {
			_code=$?
			rm -rf "$new"
			return $_code
		}
	fi
	rm -f "$job/watch" "$new/recovery.signal" "$new/lifeboat.fenced"
	: >"$new/standby.signal" || return 1
	if [ -f "$job/settings/postgresql.auto.conf" ]; then
		restore "$new" || return 1
	else
		printf '%s' "$fresh" >"$job/fresh" && write_conf "$job/fresh" "$new" || return 1
	fi
	write_conf "$job/conf" "$new" || return 1
	phase "putting the new copy in place"
	if [ -d "$data" ]; then
		if [ -n "$(ls -A "$data")" ]; then
			mv "$data" "$work/old.$token" || return 1
			value "old=$work/old.$token"
		else
			rmdir "$data" || fail "$data cannot be replaced (a mount point?): put the data folder below it"
		fi
	fi
	mkdir -p "$(dirname "$data")" && mv "$new" "$data" && durable "$data" "$(dirname "$data")"
}

if [ "$way" = rewind ] && ! rewind; then
	[ -n "$may_rebuild" ] || fail "pg_rewind did not succeed"
	value "not_rewound=$(grep -v '^$' "$job/rewind.log" 2>/dev/null | tail -n 1)"
	way=rebuild
	keep=yes
fi
if [ "$way" = rebuild ]; then
	[ -n "$may_rebuild" ] || fail "a base backup is not possible: the database has tablespaces"
	rebuild || fail "the base backup did not succeed"
fi
value "way=$way"
value "why=$why"
value "keep=$keep"
: >"$data/standby.signal" && rm -f "$data/recovery.signal" "$data/lifeboat.fenced"
write_conf "$job/conf" "$data" || exit 1
phase "starting the standby"
start_server || fail "the standby does not start: $(tail -n 2 "$work/server.log" 2>/dev/null)"
_n=0
while ! _pm=$(postmaster "$data"); do
	_n=$((_n + 1))
	[ $_n -gt 200 ] && fail "the standby does not start: $(tail -n 2 "$work/server.log" 2>/dev/null)"
	sleep 0.05
done
phase "the standby is started"
