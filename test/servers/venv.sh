# Sourced by the scripts of what is written in Python. Each has a virtual environment of its own in the user's cache, with the
# versions that requirements/NAME.txt pins; its folder is named by the hash of that file.

say() { echo "${0##*/}: $*" >&2; }

# venv NAME makes the environment where it is not there yet, and prints its folder.
venv() {
  local list=${BASH_SOURCE[0]%/*}/requirements/$1.txt folder made
  folder=${XDG_CACHE_HOME:-$HOME/.cache}/lifeboat/servers/$1-$(sha256sum "$list" | cut -c1-16)
  if [ ! -e "$folder/ready" ]; then
    python3 -c 'import venv, ensurepip' 2>/dev/null || { say "python3 with venv is missing: install.sh python"; exit 1; }
    mkdir -p "${folder%/*}"
    (
      flock 9
      [ ! -e "$folder/ready" ] || exit 0
      say "installing $1, once"
      rm -rf "$folder"
      python3 -m venv "$folder"
      "$folder/bin/pip" --quiet --disable-pip-version-check install --no-deps -r "$list" >&2
      "$folder/bin/pip" --quiet --disable-pip-version-check check >&2
      touch "$folder/ready"
    ) 9>"$folder.lock"
  fi
  [ -e "$folder/ready" ] || exit 1
  echo "$folder"
}

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

# serve FOLDER NAME PATH COMMAND... runs COMMAND, whose arguments and variables have %p for the port, until it answers at PATH,
# and prints where.
serve() {
  local folder name=$2 path=$3 port pid
  mkdir -p "$1"
  folder=$(cd "$1" && pwd)
  shift 3
  for _ in 1 2 3 4 5; do
    port=$(free_port)
    (cd "$folder" && HOME=$folder exec setsid env "${@//%p/$port}") >"$folder/$name.log" 2>&1 </dev/null 9>&- &
    pid=$!
    echo "$pid" >"$folder/$name.pid"
    for _ in $(seq 300); do
      kill -0 "$pid" 2>/dev/null || break
      if answers "$port" "$path"; then
        printf '%s\n' "ENDPOINT=http://127.0.0.1:$port" "PID=$pid" "LOG=$folder/$name.log"
        return
      fi
      sleep 0.1
    done
    kill "$pid" 2>/dev/null || true
  done
  say "$name does not start:"; tail -n 5 "$folder/$name.log" >&2; exit 1
}

# quit FOLDER NAME ends what serve began, by its process id.
quit() {
  [ -s "$1/$2.pid" ] || return 0
  local pid
  pid=$(cat "$1/$2.pid")
  kill "$pid" 2>/dev/null || return 0
  while kill -0 "$pid" 2>/dev/null; do
    [ "$(sed 's/.*) //; s/ .*//' "/proc/$pid/stat" 2>/dev/null)" != Z ] || return 0
    sleep 0.02
  done
}
