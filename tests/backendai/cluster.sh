# Sourced by `up`, `down` and `fault`: the lines of Backend.AI that a cluster can be made of, where
# its things lie, and how its processes are started, recognised and stopped. Sets up nothing itself.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# The Python environments are kept from one cluster to the next, the cluster itself is thrown away.
cluster_home=${TESTERD_CLUSTER_HOME:-${XDG_CACHE_HOME:-$HOME/.cache}/testerd-cluster}
cluster_run=${TESTERD_CLUSTER_RUN:-${TMPDIR:-/tmp}/testerd-cluster}

# Later packages of 24.9 do not start: a module is missing from the wheel.
choose_line() {
    line=$1
    case $line in
        26) package=26.9.6 python_version=3.13 ;;
        24.09) package=24.9.6 python_version=3.12 ;;
        *)
            echo "unknown line '$line': 26 or 24.09" >&2
            exit 2
            ;;
    esac
    venv=$cluster_home/$line/venv
    fixtures=$cluster_home/$line/installer/ai/backend/install/fixtures
    run=$cluster_run/$line
    log=$run/log
}

say() { printf '[%s +%ss] %s\n' "$line" "$SECONDS" "$*"; }

fail() {
    say "$*" >&2
    exit 3
}

# The tick at which a process began: with it a reused process id is never taken for ours.
began() { sed 's/^.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }

# alive NAME: sets `pid` if the process recorded under NAME still runs.
alive() {
    local tick
    pid=
    [[ -f $run/pids/$1 ]] || return 1
    read -r pid tick <"$run/pids/$1" || return 1
    [[ -n $pid && -n ${tick:-} && $(began "$pid") == "$tick" ]]
}

# launch NAME COMMAND…: in a session of its own, so that its workers can be found by the group.
launch() {
    local name=$1
    shift
    if alive "$name"; then
        say "$name runs already"
        return
    fi
    (cd "$run/conf" && exec setsid "$@" >>"$log/$name.log" 2>&1 </dev/null) &
    local child=$!
    sleep 0.2
    echo "$child $(began "$child")" >"$run/pids/$name"
}

# wait_for SECONDS NAME COMMAND…: until the command succeeds; at once over when NAME has died.
wait_for() {
    local tries=$(($1 * 4)) name=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        alive "$name" || lost "$name" "died"
        ((tries-- > 0)) || lost "$name" "is not ready in time"
        sleep 0.25
    done
}

lost() {
    tail -n 15 "$log/$1.log" >&2
    fail "$1 $2; the end of $log/$1.log is above"
}

listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# stop NAME [SIGNAL]: asks, and kills the group after 15 seconds. Workers may outlive their leader.
stop() {
    local name=$1 signal=${2:-TERM} tries=60
    if alive "$name"; then
        kill -"$signal" "$pid" 2>/dev/null || true
        while alive "$name" && ((tries-- > 0)); do sleep 0.25; done
        say "stopped $name"
    fi
    if [[ -n $pid && -n $(ps -o pid= -g "$pid") ]]; then
        kill -KILL -- "-$pid" 2>/dev/null || true
    fi
    rm -f "$run/pids/$name"
}

# A process and all below it: PostgreSQL's workers leave their leader's group.
tree() {
    echo "$1"
    local child
    for child in $(ps -o pid= --ppid "$1"); do tree "$child"; done
}
