# Sourced by the scripts here that bring programs onto the machine.

say() { echo "${0##*/}: $*" >&2; }

# again COMMAND... runs COMMAND until it succeeds, four times at most: downloads break off, and others hold locks.
again() {
  local n
  for n in 1 2 3; do
    "$@" && return
    say "$* did not succeed: again in $((n * n * 5)) s"
    sleep $((n * n * 5))
  done
  "$@" || { say "$* did not succeed"; return 1; }
}

# alone FILE COMMAND... runs COMMAND while nobody else does who names this FILE, which is made and stays.
alone() {
  mkdir -p "${1%/*}"
  (
    command -v flock >/dev/null && flock 9 # where there is none, whoever runs two at once has to know
    "${@:2}" 9>&-
  ) 9>"$1"
}
