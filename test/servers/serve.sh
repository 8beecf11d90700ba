# Sourced by the scripts here that start programs: each in a folder, on a free port of loopback, ended by its process id. What
# they bring onto the machine before is brought once, however many want it at the same time.
. "$(dirname "${BASH_SOURCE[0]}")/bring.sh"

free_port() {
  local port
  while :; do
    port=$((20000 + RANDOM % 12000))
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port"; return; }
  done
}

# answers PORT PATH says whether something speaks HTTP there.
answers() {
  { exec 3<>"/dev/tcp/127.0.0.1/$1" && printf 'GET %s HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n' "$2" >&3 && head -n 1 <&3 | grep -q '^HTTP/1'; } 2>/dev/null
}

# serve FOLDER NAME READY COMMAND... runs COMMAND, whose words have %p for the port, until "READY PORT" succeeds. It sets port, and
# pid; the log is FOLDER/NAME.log.
serve() {
  local folder name=$2 ready=$3
  folder=$(cd "$1" && pwd)
  shift 3
  for _ in 1 2 3 4 5; do
    port=$(free_port)
    (cd "$folder" && HOME=$folder exec setsid env "${@//%p/$port}") >"$folder/$name.log" 2>&1 </dev/null 9>&- &
    pid=$!
    echo "$pid" >"$folder/$name.pid"
    for _ in $(seq 3000); do
      kill -0 "$pid" 2>/dev/null || break
      if $ready "$port"; then return; fi
      sleep 0.1
    done
    kill "$pid" 2>/dev/null || true
  done
  say "$name does not start:"; tail -n 5 "$folder/$name.log" >&2; exit 1
}

# quit FOLDER NAME ends what serve began: in order, or after a minute by force.
quit() {
  [ -s "$1/$2.pid" ] || return 0
  local pid n
  pid=$(cat "$1/$2.pid")
  kill "$pid" 2>/dev/null || return 0
  for n in $(seq 6000); do
    kill -0 "$pid" 2>/dev/null || return 0
    [ "$(sed 's/.*) //; s/ .*//' "/proc/$pid/stat" 2>/dev/null)" != Z ] || return 0
    [ "$n" != 3000 ] || { say "$2 does not end by itself: killed"; kill -KILL "$pid" 2>/dev/null || true; }
    sleep 0.02
  done
  say "$2 does not end"; return 1
}
