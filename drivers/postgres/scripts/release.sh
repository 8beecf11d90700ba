# Removes a drill's copy in $dir: its job, its server, its folder. Nothing else: the folder must be a job's.
[ -d "$dir" ] || exit 0
[ -e "$dir/body.sh" ] || [ -e "$dir/removing" ] || { say "$dir was not made by a drill"; exit 75; }
: >"$dir/removing"
job_stop "$dir" || { say "the job in $dir does not end"; exit 1; }
mkdir "$dir/running" 2>/dev/null # a late start of the job finds that it has run
stop_server "$dir/data" 0 >/dev/null || exit 1
detach rm -rf "$dir"
exit 0
