# What there is on the host, as NAME=value lines.
f=$(folder)
echo "folder=$f"
[ "$f" = server ] || exit 0
pm=$(postmaster "$data") && echo "postmaster=$pm"
if [ -n "$pm" ] && [ -r "$data/postmaster.pid" ]; then echo "listens=$(sed -n 4p "$data/postmaster.pid")"; fi
[ -e "$data/standby.signal" ] && echo standby_signal=yes
[ -e "$data/recovery.signal" ] && echo recovery_signal=yes
[ -e "$data/lifeboat.fenced" ] && echo "fenced=$(head -n 1 "$data/lifeboat.fenced")"
read -r v <"$data/PG_VERSION" && echo "version=$v"
if find_bin; then
	echo "bin=$bin"
	"$bin/pg_controldata" -D "$data" | sed 's/^/control./; s/: */=/'
fi
exit 0
