# Sourced by the scripts of what is written in Python. Each has a virtual environment of its own in the user's cache, with the
# versions that requirements/NAME.txt pins; its folder is named by the hash of that file.

. "$(dirname "${BASH_SOURCE[0]}")/serve.sh"

# venv NAME makes the environment where it is not there yet, and prints its folder.
venv() {
  local list=${BASH_SOURCE[0]%/*}/requirements/$1.txt folder made
  folder=${XDG_CACHE_HOME:-$HOME/.cache}/lifeboat/servers/$1-$(sha256sum "$list" | cut -c1-16)
  if [ ! -e "$folder/ready" ]; then
    python3 -c 'import venv, ensurepip' 2>/dev/null || { say "python3 with venv is missing: install.sh python"; exit 1; }
    alone "$folder.lock" make_venv "$1" "$folder" "$list" || exit 1
  fi
  echo "$folder"
}

make_venv() { # name folder list
  [ ! -e "$2/ready" ] || return 0
  say "installing $1, once"
  rm -rf "$2"
  python3 -m venv "$2" &&
    again "$2/bin/pip" --quiet --disable-pip-version-check --retries 5 install --no-deps -r "$3" >&2 &&
    "$2/bin/pip" --quiet --disable-pip-version-check check >&2 &&
    touch "$2/ready"
}

# emulate FOLDER NAME PATH COMMAND... serves what answers at PATH, and prints where.
emulate() {
  local folder=$1 name=$2
  emulate_path=$3
  mkdir -p "$folder"
  serve "$folder" "$name" emulated "${@:4}"
  printf '%s\n' "ENDPOINT=http://127.0.0.1:$port" "PID=$pid" "LOG=$(cd "$folder" && pwd)/$name.log"
}

emulated() { answers "$1" "$emulate_path"; }
