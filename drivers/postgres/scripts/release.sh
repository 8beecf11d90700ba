# Removes a drill's copy in $dir: its job, its server, its folder. Nothing else: the folder must be a job's. It is
# renamed before it is deleted, so that it is never half there under its own name.
gone=$dir.removing
if [ -d "$dir" ]; then
	[ -e "$dir/body.sh" ] || { say "$dir was not made by a drill"; exit 75; }
	job_stop "$dir" || { say "the job in $dir does not end"; exit 1; }
	mkdir "$dir/running" 2>/dev/null # a late start of the job finds that it has run
	stop_server "$dir/data" 0 >/dev/null || exit 1
	rm -rf "$temp" # of a copy from the vault
	mv "$dir" "$gone" 2>/dev/null || [ ! -d "$dir" ] || exit 1
fi
[ -d "$gone" ] && detach rm -rf "$gone"
exit 0
