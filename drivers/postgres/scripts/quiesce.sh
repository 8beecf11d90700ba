# Makes the primary stop in order, and come back as a standby of the other site. Returns before it has stopped.
# Standard input holds lines for postgresql.auto.conf; they are put in place by quiesced.sh once the server is down.
[ "$(folder)" = server ] || { say "$data is $(folder)"; exit 75; }
umask 077
pm=$(postmaster "$data") || exit 0
on=$(sed -n 4p "$data/postmaster.pid")
if [ -n "$on" ] && [ "$on" != "$port" ]; then
	say "the server of $data listens on port $on, not on $port: is it the right one?"
	exit 75
fi
: >"$data/standby.signal" || exit 75
durable "$data/standby.signal" "$data"
if [ -n "$service_stop" ]; then
	(eval "$service_stop") >/dev/null 2>&1 </dev/null &
else
	kill -INT "$pm"
fi
exit 0
