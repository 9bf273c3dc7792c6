#!/usr/bin/env bash
# Three nodes behind nginx on this machine: people chat, a node is killed with kill -9, nothing that was acked is lost.
#
#   sudo apt-get install nginx postgresql redis-server python3-venv
#   sudo -u postgres psql -c "CREATE ROLE mana LOGIN PASSWORD 'mana'" -c "CREATE DATABASE mana_demo OWNER mana"
#   python3 -m venv venv && . venv/bin/activate && pip install '.[redis,postgres,metrics,dev]'
#   DATABASE_URL=postgres://mana:mana@127.0.0.1:5432/mana_demo docs/deploy/three_nodes.sh
#
# The database must exist and be empty or the demo's own. CHANNEL_LAYER_URL: Redis (redis://127.0.0.1:6379/0).
# PORT: nginx's (8080); NODE_PORTS: the nodes' ("8001 8002 8003"). KEEP=1 leaves it running until Ctrl+C.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
export DATABASE_URL=${DATABASE_URL:?the URL of a database, as postgres://mana:mana@127.0.0.1:5432/mana_demo}
export CHANNEL_LAYER_URL=${CHANNEL_LAYER_URL:-redis://127.0.0.1:6379/0}
export CACHE_URL=${CACHE_URL:-$CHANNEL_LAYER_URL} # the nodes count attempts to sign in together
export MANA_TRUSTED_PROXIES=127.0.0.0/8
port=${PORT:-8080}
read -ra nodes <<<"${NODE_PORTS:-8001 8002 8003}"

export DJANGO_SETTINGS_MODULE=demo_project.settings DEBUG=false HTTPS=false LOG_FORMAT=json LOG_LEVEL=INFO
export ALLOWED_HOSTS=127.0.0.1,localhost ALLOWED_ORIGINS=http://127.0.0.1:$port
SECRET_KEY=${SECRET_KEY:-$(python -c 'import secrets; print(secrets.token_urlsafe(48))')}
export SECRET_KEY
export MANA_PRESENCE_LEASE=${MANA_PRESENCE_LEASE:-10} MANA_HEALTH_COUNTS_INTERVAL=1

work=$(mktemp -d "${TMPDIR:-/tmp}/mana-three-nodes.XXXXXX")
chmod 755 "$work" # started by root, nginx serves as nobody
declare -A processes=()
nginx=$(command -v nginx || echo /usr/sbin/nginx)

stop() {
    local status=$?
    for process in "${processes[@]}"; do kill "$process" 2>/dev/null || true; done
    [ -f "$work/nginx.pid" ] && kill "$(cat "$work/nginx.pid")" 2>/dev/null || true
    wait 2>/dev/null || true
    if [ $status -eq 0 ]; then rm -rf "$work"; else echo "The logs are in $work"; fi
}
trap stop EXIT
trap 'exit 130' INT TERM

say() { printf '\n== %s\n' "$*"; }
await() { # await SECONDS COMMAND...: until it succeeds
    local until=$((SECONDS + $1)); shift
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $until ] || { echo "did not come to pass: $*" >&2; return 1; }
        sleep 0.1
    done
}
get() { python -c 'import sys, urllib.request as u; sys.stdout.write(u.urlopen(sys.argv[1], timeout=5).read().decode())' "$1"; }
start_node() { # start_node PORT
    (cd "$root" && exec daphne -b 127.0.0.1 -p "$1" --proxy-headers demo_project.asgi:application) \
        >>"$work/node-$1.log" 2>&1 &
    processes[$1]=$!
}
sockets() { # of each node that answers
    for node in "${nodes[@]}"; do
        get "http://127.0.0.1:$node/health" 2>/dev/null | python -c '
import json, sys
body = json.loads(sys.stdin.read() or "{}")
print("  node '"$node"':", f"{body['"'here'"']['"'sessions'"']} sockets" if body else "does not answer")' || true
    done
}

say "Database and static files"
(cd "$root" && python manage.py migrate --noinput -v0)
(cd "$root" && python manage.py shell -v0 -c "
from django.conf import settings
from django.core.management import call_command
settings.STATIC_ROOT = '$work/static'
call_command('collectstatic', interactive=False, verbosity=0)")

say "Three nodes"
for node in "${nodes[@]}"; do start_node "$node"; done
for node in "${nodes[@]}"; do await 60 get "http://127.0.0.1:$node/health/ready"; done
for node in "${nodes[@]}"; do echo "  http://127.0.0.1:$node/health/ready says ready"; done

say "nginx, with $here/nginx.conf"
# The same files, with the ports that were asked for.
sed "s/listen 8080;/listen $port;/" "$here/nginx.conf" >"$work/nginx.conf"
sed "s/:8001 /:${nodes[0]} /; s/:8002 /:${nodes[1]} /; s/:8003 /:${nodes[2]} /" "$here/nodes.conf" >"$work/nodes.conf"
"$nginx" -e "$work/error.log" -t -q -p "$work" -c "$work/nginx.conf"
"$nginx" -e "$work/error.log" -p "$work" -c "$work/nginx.conf"
await 20 get "http://127.0.0.1:$port/health"
echo "  http://127.0.0.1:$port/ serves"
for hidden in metrics health/ready; do
    if get "http://127.0.0.1:$port/$hidden" >/dev/null 2>&1; then echo "/$hidden is open to the world" >&2; exit 1; fi
done
get "http://127.0.0.1:$port/static/mana/mana.js" >/dev/null
echo "  static files come from nginx; /metrics and /health/ready are not for the world"

say "People chat through nginx"
python "$here/chat.py" "http://127.0.0.1:$port" "$work/going" >"$work/chat.txt" 2>&1 &
processes[chat]=$!
await 60 test -e "$work/going"
sockets

victim=${nodes[1]}
say "kill -9 of node $victim"
kill -9 "${processes[$victim]}"
wait "${processes[$victim]}" 2>/dev/null || true
sleep "${CHAT_SECONDS:-5}"
sockets

say "It comes back"
start_node "$victim"
await 60 get "http://127.0.0.1:$victim/health/ready"
sleep 2
get "http://127.0.0.1:${nodes[0]}/health/ready" | python -c '
import json, sys
cluster = json.load(sys.stdin)["cluster"]
print("  {sessions} sockets on {nodes} nodes, {users} people online".format(**cluster))'

say "What became of the messages"
rm "$work/going"
status=0
wait "${processes[chat]}" || status=$?
unset 'processes[chat]'
cat "$work/chat.txt"
if grep -hE '(ticket|token)=|Bearer ' "$work"/*.log | grep -v scrubbed; then
    echo "  a log has a secret in it" >&2
    status=1
else
    echo "  $(cat "$work"/*.log | wc -l) lines of logs, with no ticket and no token in them"
fi
[ $status -eq 0 ] && echo "  nothing acked is lost" || echo "  SOMETHING IS WRONG" >&2

if [ -n "${KEEP:-}" ]; then
    say "It goes on at http://127.0.0.1:$port/ until Ctrl+C; logs in $work"
    while sleep 3600; do :; done
fi
exit $status
