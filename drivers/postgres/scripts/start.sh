# Starts the server without waiting for it. exit code 75: it would not start as what is expected.
[ "$(folder)" = server ] || { say "$data is $(folder)"; exit 75; }
if [ ! -e "$data/standby.signal" ] && ! postmaster "$data" >/dev/null; then
	say "$data has no standby.signal: started, it would be a primary on its old timeline"
	exit 75
fi
start_server
