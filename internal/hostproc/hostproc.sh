# The part of package hostproc that runs on the host. POSIX sh; see hostproc.go for what it promises.
# Arguments: operation, folder (or empty), name, sub-folder, and the operation's own.
set -u
op=$1 folder=$2 name=$3 sub=$4
shift 4
[ -n "$folder" ] || folder=${XDG_STATE_HOME:-${HOME:-/nonexistent}/.local/state}/lifeboat/$name
[ -z "$sub" ] || folder=$folder/$sub
mark=LIFEBOAT_FOLDER=$folder

die() { # code message...
  code=$1
  shift
  echo "$*" >&2
  exit "$code"
}

# lock takes the folder's lock on descriptor 9. flock(2) belongs to the open file, so what we start holds it too until
# it closes 9, and it ends with its holders, however they die.
lock() {
  [ -d "$folder" ] || return 0
  (: >>"$folder/lock") 2>/dev/null || die 73 "cannot write to $folder"
  exec 9>>"$folder/lock"
  if command -v flock >/dev/null 2>&1; then
    flock -x -w 10 9 || exit 75
  elif command -v perl >/dev/null 2>&1; then
    perl -MFcntl=:flock -e 'open(F, ">&=9") or exit 1; for (1..500) { exit 0 if flock(F, LOCK_EX|LOCK_NB); select(undef, undef, undef, 0.02) } exit 1' || exit 75
  else
    die 69 "neither flock nor perl is there"
  fi
  [ -e "$folder/lock" ] || exit 75 # it was removed while we waited
}

# born prints what tells this process from a later one with the same number; nothing when it is gone or a zombie. Its
# text is handed on to the new process, which says so of itself.
born_text='born() {
  if [ -r /proc/self/stat ]; then
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 0
    set -- ${stat##*) }
    [ "$1" = Z ] || [ "$1" = X ] || echo "$(cat /proc/sys/kernel/random/boot_id)/${20}"
  else
    ps -o stat=,lstart= -p "$1" 2>/dev/null | sed -n "/^ *Z/d; s/^ *[^ ]* *//; s/  */_/g; p"
  fi
}'
eval "$born_text"

# group prints a process's group.
group() { # pid
  if [ -r /proc/self/stat ]; then
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 0
    set -- ${stat##*) }
    echo "$3"
  else
    ps -o pgid= -p "$1" | tr -d ' '
  fi
}

# marked prints the processes that bear the folder's mark.
marked() {
  if [ -r /proc/self/environ ]; then
    grep -lzxF -e "$mark" /proc/[0-9]*/environ 2>/dev/null | sed 's|^/proc/||; s|/environ$||'
  else
    ps -axEww -o pid=,command= 2>/dev/null | awk -v m="$mark" 'index($0 " ", " " m " ") { print $1 }'
  fi
}

# read_proc reads what was started last.
read_proc() {
  token='' same='' pid='' birth='' started=''
  [ -r "$folder/proc" ] || return 0
  while IFS='=' read -r key value; do
    case $key in
      token) token=$value ;;
      same) same=$value ;;
      pid) pid=$value ;;
      birth) birth=$value ;;
      started) started=$value ;;
    esac
  done <"$folder/proc"
}

# find sets running: the program first, then whatever else bears the mark.
find_running() {
  running=''
  [ -z "$pid" ] || [ -z "$birth" ] || [ "$(born "$pid")" != "$birth" ] || running=$pid
  for p in $(marked); do
    [ "$p" = "$pid" ] && [ -n "$running" ] && continue
    [ -z "$(born "$p")" ] || running="$running $p"
  done
}

report() {
  echo "folder=$folder"
  [ -z "$token" ] || printf 'token=%s\nsame=%s\n' "$token" "$same"
  [ -z "$pid" ] || echo "pid=$pid"
  [ -z "$started" ] || echo "started=$started"
  echo "running=$running"
  [ ! -s "$folder/exit" ] || echo "exit=$(cat "$folder/exit")"
  [ ! -e "$folder/canceled" ] || echo "canceled=1"
  echo
  if [ -s "$folder/log" ]; then
    from=$(cat "$folder/log.from" 2>/dev/null || echo 0)
    tail -c "+$((from + 1))" "$folder/log" | tail -c 2000 | base64
  fi
}

# detach runs its arguments in a session of their own and returns at once. Not with &: a shell without job control
# makes what it puts in the background ignore SIGINT and SIGQUIT for ever.
detach() {
  if command -v setsid >/dev/null 2>&1 && setsid -f true 2>/dev/null; then
    setsid -f "$@"
  elif command -v perl >/dev/null 2>&1; then
    perl -MPOSIX -e 'defined(my $p = fork) or exit 1; exit 0 if $p; POSIX::setsid(); exec @ARGV or exit 127' "$@"
  else
    die 69 "neither setsid -f nor perl is there"
  fi
}

# child is what the new session begins with. It writes down who it is, and lets the lock go in the moment in which it
# becomes the program. Its environment bears the mark from its own exec on.
child='
folder=$1 record=$2 dir=$3 path=$4
eval "$5"
shift 5
{ cat "$folder/proc"; printf "pid=%s\nbirth=%s\n" "$$" "$(born "$$")"; } >"$folder/proc.new" &&
  mv "$folder/proc.new" "$folder/proc" || exit 125
if [ -n "$dir" ]; then cd "$dir" || { [ "$record" = 0 ] || echo 126 >"$folder/exit"; exit 126; }; fi
old=$PATH PATH=$path
if [ "$record" = 0 ]; then exec "$@" 8>&- 9>&-; fi
exec 8>&- 9>&-
trap : TERM INT HUP
"$@"
code=$?
PATH=$old
echo $code >"$folder/exit.new" && mv "$folder/exit.new" "$folder/exit"'

start() { # token same record dir argv...
  want=$1 want_same=$2 record=$3 dir=$4
  shift 4
  environment=$(cat)
  mkdir -p "$folder" || die 73 "cannot make $folder"
  lock
  read_proc
  find_running
  if [ -n "$running" ] || [ "$token" = "$want" ]; then
    report
    return
  fi
  rm -f "$folder/exit" "$folder/canceled"
  [ ! -e "$folder/log" ] || wc -c <"$folder/log" | tr -d ' ' >"$folder/log.from"
  printf 'token=%s\nsame=%s\nstarted=%s\n' "$want" "$want_same" "$(date +%s)" >"$folder/proc.new" &&
    mv "$folder/proc.new" "$folder/proc" || die 73 "cannot write to $folder"
  # Descriptor 8 ends when the program has begun: reading it to its end is waiting for that. The program's environment
  # is set in the subshell only, so that our own tools neither bear the mark nor miss their PATH.
  : "$(
    old=$PATH
    eval "$environment"
    path=$PATH PATH=$old
    export LIFEBOAT_TOKEN="$want" LIFEBOAT_FOLDER="$folder"
    detach sh -c "$child" sh "$folder" "$record" "$dir" "$path" "$born_text" "$@" 8>&1 </dev/null >>"$folder/log" 2>&1
  )"
  read_proc
  find_running
  report
}

case $op in
  start) start "$@" ;;
  look)
    lock
    read_proc
    find_running
    report
    ;;
  signal)
    lock
    read_proc
    find_running
    if [ -n "$running" ] && { [ -z "$2" ] || [ "$2" = "$token" ]; }; then
      touch "$folder/canceled" 2>/dev/null
      whole=''
      case " $running " in *" ${pid:-none} "*) kill -s "$1" -- "-$pid" 2>/dev/null && whole=$pid ;; esac
      for p in $running; do # each gets it once
        [ -n "$whole" ] && [ "$(group "$p")" = "$whole" ] || kill -s "$1" "$p" 2>/dev/null
      done
      find_running
    fi
    report
    ;;
  remove)
    lock
    read_proc
    find_running
    [ -n "$running" ] || rm -rf "$folder"
    report
    ;;
  sweep)
    token='' pid='' started='' running=''
    find "${folder%/*}" -mindepth 2 -maxdepth 2 -name exit -mtime "+$1" -exec sh -c 'rm -rf "${1%/exit}"' sh {} \; 2>/dev/null
    report
    ;;
  *) die 64 "unknown operation $op" ;;
esac
