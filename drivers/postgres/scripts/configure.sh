# Puts the lines of standard input into postgresql.auto.conf of a server that does not run.
postmaster "$data" >/dev/null && { say "the server runs"; exit 75; }
umask 077
mkdir -p "$work" && tmp=$work/$$.conf && cat >"$tmp" && write_conf "$tmp" "$data"
code=$?
rm -f "$tmp"
exit $code
