# Functions about processes, and the life of a job. POSIX sh; Linux and macOS.

# living PID: is there such a process, and is it more than a zombie?
living() {
	case $1 in '' | *[!0-9]*) return 1 ;; esac
	if [ -r /proc/self/stat ]; then
		_s=$(sed 's/^.*) //' "/proc/$1/stat" 2>/dev/null) || return 1
	else
		_s=$(ps -o stat= -p "$1" 2>/dev/null) || return 1
	fi
	case $_s in '' | Z* | X*) return 1 ;; esac
}

# birth PID: when it was started, so that a number that is used again is not taken for the same process.
birth() {
	if [ -r /proc/self/stat ]; then
		sed 's/^.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20
	else
		ps -o lstart= -p "$1" 2>/dev/null | tr ' ' _
	fi
}

# job_pid DIR: the number of the job's living process.
job_pid() {
	[ -r "$1/pid" ] || return 1
	read -r _p _b <"$1/pid" || return 1
	living "$_p" && [ "$(birth "$_p")" = "$_b" ] && echo "$_p"
}

# detach COMMAND...: in a session of its own, with nothing of ours held open.
detach() {
	if command -v setsid >/dev/null 2>&1; then
		setsid "$@" </dev/null >/dev/null 2>&1 &
	else
		perl -e 'use POSIX; POSIX::setsid(); exec @ARGV' "$@" </dev/null >/dev/null 2>&1 &
	fi
}

# job_start DIR: takes the job's script and secret from files that are there already, and starts it once.
job_start() {
	[ -d "$1/running" ] && return 0
	detach sh "$1/run.sh" "$1"
}

# job_run DIR: the job itself. Making the folder "running" is what only one of several can do.
job_run() {
	dir=$1
	mkdir "$dir/running" 2>/dev/null || exit 0
	echo "$$ $(birth $$)" >"$dir/pid.new" && mv "$dir/pid.new" "$dir/pid"
	child=
	trap 'kill -TERM $child 2>/dev/null; wait $child; rm -f "$dir/secret"; job_end 143 "stopped by request"; exit 143' TERM INT HUP
	sh "$dir/body.sh" "$dir" >"$dir/log" 2>&1 &
	child=$!
	wait "$child"
	code=$?
	rm -f "$dir/secret"
	job_end "$code" "$(grep -v '^$' "$dir/log" | tail -n 3 | cut -c1-400)"
}

# job_end CODE TEXT: the result, whole or not at all.
job_end() {
	{ echo "$1"; printf '%s\n' "$2"; } >"$dir/result.new" && mv "$dir/result.new" "$dir/result"
}

# job_state DIR: for JobState.
job_state() {
	if [ ! -d "$1" ]; then echo state=absent; return 0; fi
	if [ -r "$1/result" ]; then
		echo state=ended
	elif job_pid "$1" >/dev/null; then
		echo state=running
	elif [ -r "$1/result" ]; then
		echo state=ended
	elif [ -d "$1/running" ] && [ -r "$1/pid" ]; then
		sleep 0.2 # nobody is declared dead at first sight
		if [ -r "$1/result" ]; then
			echo state=ended
		elif job_pid "$1" >/dev/null; then
			echo state=running
		else
			echo state=died
		fi
	else
		echo state=starting
	fi
	[ -r "$1/phase" ] && echo "phase=$(head -n 1 "$1/phase")"
	if [ -r "$1/watch" ]; then
		_w=$(head -n 1 "$1/watch")
		[ -e "$_w" ] && echo "bytes=$(($(du -sk "$_w" 2>/dev/null | cut -f1) * 1024))"
	fi
	if [ -r "$1/values" ]; then sed 's/^/value./' "$1/values"; fi
	if [ -r "$1/result" ]; then
		echo "code=$(head -n 1 "$1/result")"
		echo "said=$(tail -n +2 "$1/result" | tr '\n' ' ')"
	fi
	return 0
}

# job_stop DIR: ends the job and all it started, and waits for that.
job_stop() {
	[ -e "$1/body.sh" ] || return 0
	if mkdir "$1/running" 2>/dev/null; then # it never ran, and now never will
		dir=$1
		job_end 143 "stopped before it began"
		rm -f "$1/secret"
		return 0
	fi
	_n=0
	while [ ! -r "$1/pid" ] && [ ! -r "$1/result" ] && [ $_n -lt 40 ]; do _n=$((_n + 1)); sleep 0.05; done
	_pid=$(job_pid "$1") || return 0
	kill -TERM "-$_pid" 2>/dev/null || kill -TERM "$_pid" 2>/dev/null
	_n=0
	while job_pid "$1" >/dev/null; do
		_n=$((_n + 1))
		[ $_n -eq 50 ] && kill -KILL "-$_pid" 2>/dev/null
		[ $_n -gt 100 ] && return 1
		sleep 0.1
	done
	if [ ! -r "$1/result" ]; then dir=$1; job_end 137 "killed by request"; fi
	rm -f "$1/secret"
}
