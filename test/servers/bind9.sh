#!/usr/bin/env bash
# Starts and stops a BIND 9 for tests: on loopback, on a free port, in a folder of its own, as whoever calls.
#
#   bind9.sh start FOLDER [--zone ZONE] [--port PORT] [--also-notify PORT]     a primary that takes signed updates
#   bind9.sh start FOLDER --secondary-of HOST:PORT --keys FOLDER [--zone ZONE] [--port PORT]
#   bind9.sh port                                                              prints a free port
#   bind9.sh stop FOLDER                                                       ends it, by its process id
#
# start prints its configuration as KEY=VALUE lines once the server answers:
#
#   SERVER              host:port, UDP and TCP
#   ZONE                the zone; it holds its SOA and NS, and shop A 192.0.2.1 with a TTL of 30 s
#   KEY_NAME, KEY_FILE  the key that may change everything in the zone (hmac-sha256, a file as tsig-keygen writes it)
#   STRANGER_NAME, STRANGER_FILE  a key that the server knows and that may change nothing
#   PID, LOG
set -euo pipefail

. "$(dirname "${BASH_SOURCE[0]}")/serve.sh"

install_named() {
  export PATH=$PATH:/usr/sbin:/usr/local/sbin
  command -v named >/dev/null && return
  "$(dirname "${BASH_SOURCE[0]}")/install.sh" bind9 || exit 1
}

new_key() { # name file
  (umask 077 && printf 'key "%s" {\n\talgorithm hmac-sha256;\n\tsecret "%s";\n};\n' \
    "$1" "$(head -c 32 /dev/urandom | base64 -w0)" >"$2")
}

primary_zone() {
  cat >"$folder/zone.db" <<ZONE
\$ORIGIN $zone
\$TTL 30
@ IN SOA ns1 hostmaster 1 3600 600 86400 5
@ IN NS ns1
ns1 IN A 127.0.0.1
shop IN A 192.0.2.1
ZONE
  local notify="notify no;"
  [ -z "$also_notify" ] || notify="notify explicit; also-notify { 127.0.0.1 port $also_notify; }; notify-delay 0;"
  cat <<CONF
zone "$zone" {
  type primary;
  file "zone.db";
  update-policy { grant lifeboat. zonesub ANY; };
  allow-transfer { key lifeboat.; };
  $notify
};
CONF
}

secondary_zone() {
  cat <<CONF
zone "$zone" {
  type secondary;
  file "zone.db";
  primaries { ${primary%:*} port ${primary##*:} key lifeboat.; };
  allow-notify { 127.0.0.1; };
  notify no;
};
CONF
}

configure() { # port
  cat <<CONF
include "$keys/lifeboat.key";
include "$keys/stranger.key";
options {
  directory "$folder";
  pid-file "$folder/named.pid";
  session-keyfile none;
  listen-on port $1 { 127.0.0.1; };
  listen-on-v6 { none; };
  recursion no;
  dnssec-validation no;
  empty-zones-enable no;
  serial-query-rate 1000;
  notify-rate 1000;
  startup-notify-rate 1000;
};
controls { };
$zone_conf
CONF
}

# start_once runs named and reports whether it really listens: named goes on without a port that is taken.
start_once() { # port
  configure "$1" >"$folder/named.conf"
  : >"$folder/named.log"
  "$named" -4 -n 1 -U 1 -c "$folder/named.conf" -L "$folder/named.log" || return 1
  if grep -q 'address in use' "$folder/named.log"; then
    quit "$folder" named
    return 1
  fi
}

start() {
  folder=$1; shift
  zone=demo.test. port="" also_notify="" primary="" keys=""
  while [ $# -gt 0 ]; do
    case $1 in
      --zone) zone=$2 ;;
      --port) port=$2 ;;
      --also-notify) also_notify=$2 ;;
      --secondary-of) primary=$2 ;;
      --keys) keys=$2 ;;
      *) say "unknown option $1"; exit 2 ;;
    esac
    shift 2
  done
  install_named
  mkdir -p "$folder"
  folder=$(cd "$folder" && pwd)
  keys=${keys:-$folder}
  named=$(command -v named)
  if [ "$(cat /sys/module/apparmor/parameters/enabled 2>/dev/null)" = Y ]; then
    cp "$named" "$folder/named" && named=$folder/named # the distribution's profile allows its own folders only
  fi
  if [ -n "$primary" ]; then
    zone_conf=$(secondary_zone)
  else
    zone_conf=$(primary_zone)
    new_key lifeboat. "$folder/lifeboat.key"
    new_key stranger. "$folder/stranger.key"
  fi
  if [ -n "$port" ]; then
    start_once "$port" || { say "named does not start on port $port:"; tail -n 5 "$folder/named.log" >&2; exit 1; }
  else
    for attempt in 1 2 3 4 5; do
      port=$(free_port)
      start_once "$port" && break
      [ "$attempt" != 5 ] || { say "named does not start:"; tail -n 5 "$folder/named.log" >&2; exit 1; }
    done
  fi
  printf '%s\n' "SERVER=127.0.0.1:$port" "ZONE=$zone" "KEY_NAME=lifeboat." "KEY_FILE=$keys/lifeboat.key" \
    "STRANGER_NAME=stranger." "STRANGER_FILE=$keys/stranger.key" "PID=$(cat "$folder/named.pid")" "LOG=$folder/named.log"
}

case ${1:-} in
  start) shift; start "$@" ;;
  port) free_port ;;
  stop) quit "$2" named ;;
  *) sed -n '2,17p' "$0" >&2; exit 2 ;;
esac
