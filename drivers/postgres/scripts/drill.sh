# The job that makes a drill's copy in $1/data and starts it. Variables: port, host of the standby in source_host and
# source_port, repl_user, sslmode, sslrootcert, listen, first (port to try first), fixed (yes: no other), maps (-T options), token. The file
# secret is a pgpass line.
job=$1
copy=$job/data
set -u
phase() { printf '%s\n' "$*" >"$job/phase.new" && mv "$job/phase.new" "$job/phase"; }
umask 077
cp "$job/secret" "$job/pgpass"
trap 'rm -f "$job/pgpass"' EXIT
export PGPASSFILE="$job/pgpass" PGCONNECT_TIMEOUT=10 PGSSLMODE="$sslmode" PGAPPNAME=lifeboat_drill
[ -n "$sslrootcert" ] && export PGSSLROOTCERT="$sslrootcert"
find_bin || exit $?
phase "copying the standby"
echo "$copy" >"$job/watch"
# Fast: on a standby it asks for a restart point at once instead of one spread over minutes.
eval "set -- $maps"
"$bin/pg_basebackup" -D "$copy" -h "$source_host" -p "$source_port" -U "$repl_user" -X stream -c fast -w --no-sync "$@" || exit $?
rm -f "$job/watch" "$copy/standby.signal" "$copy/lifeboat.fenced" "$job/pgpass"
# recovery.signal with a restore_command that finds nothing: recover to the end of the copied log, then become a
# primary on a new timeline, with nobody to follow.
: >"$copy/recovery.signal" || exit 1
cat >"$job/conf" <<END
primary_conninfo = ''
primary_slot_name = ''
restore_command = 'false'
archive_mode = 'off'
archive_command = ''
archive_cleanup_command = ''
recovery_end_command = ''
synchronous_standby_names = ''
cluster_name = 'lifeboat-drill'
max_logical_replication_workers = '0'
listen_addresses = '$listen'
unix_socket_directories = ''
external_pid_file = ''
logging_collector = 'off'
END
data=$copy
write_conf "$job/conf" "$copy" || exit 1
phase "starting the copy"
n=0
try=$first
while :; do
	opts="-c port=$try"
	[ -n "$config" ] && opts="$opts -c config_file='$config' -c data_directory='$copy'"
	: >"$job/server.log"
	"$bin/pg_ctl" start -w -s -t 86400 -D "$copy" -l "$job/server.log" -o "$opts" </dev/null >/dev/null 2>&1
	code=$?
	[ $code -eq 0 ] && break
	n=$((n + 1))
	if [ -n "$fixed" ] || [ $n -gt 50 ] || ! grep -q -i -E 'in use|could not create any TCP' "$job/server.log"; then
		grep -E 'FATAL|PANIC|ERROR' "$job/server.log" >&2
		exit 1
	fi
	try=$((try + 1))
done
echo "port=$try" >"$job/values"
phase "the copy is started"
