# Shuts this copy out. $note is the mark to leave; standard input holds lines for postgresql.auto.conf.
# Says on its output what it found and did; exit code 75 means: not proven.
f=$(folder)
case $f in
absent | empty)
	echo "folder=$f"
	exit 0 ;;
other | hidden)
	echo "folder=$f"
	say "$data is $f: it is no data folder that we can read"
	exit 75 ;;
esac
echo folder=server
umask 077
if pm=$(postmaster "$data"); then
	on=$(sed -n 4p "$data/postmaster.pid")
	if [ -n "$on" ] && [ "$on" != "$port" ]; then
		say "the server of $data listens on port $on, not on $port: is it the right one?"
		exit 75
	fi
	if [ -e "$data/standby.signal" ] && [ -e "$data/lifeboat.fenced" ]; then
		: # stopped below all the same: it may run since before the signal was written
	fi
fi
# The signal first: whoever starts the server from here on starts a standby.
: >"$data/standby.signal" || exit 75
rm -f "$data/recovery.signal"
durable "$data/standby.signal" "$data"
how=$(stop_server "$data" "$patience") || exit 75
echo "stop=$how"
if pm=$(postmaster "$data"); then say "a server with process $pm came up again"; exit 75; fi
tmp=$work/fence.conf
mkdir -p "$work" && cat >"$tmp" && if [ -s "$tmp" ]; then write_conf "$tmp" "$data"; fi
echo "conf=$?"
rm -f "$tmp"
printf '%s\n' "$note" >"$data/lifeboat.fenced"
durable "$data/lifeboat.fenced" "$data"
[ -e "$data/standby.signal" ] || exit 75
exit 0
