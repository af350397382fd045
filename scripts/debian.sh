# Sourced by the scripts that install Debian packages. Who sources it calls `allow_starting` in its
# exit trap, so that an interrupted installation leaves no policy-rc.d.

policy=/usr/sbin/policy-rc.d
policy_is_ours=

as_root() {
    if [[ $(id -u) == 0 ]]; then "$@"; else sudo "$@"; fi
}

apt() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=500 -q -y "$@"
}

# What is installed is wanted as programs that tests start on ports of their own, not as services of
# this machine. A policy-rc.d, for as long as the installation takes, keeps Debian from
# starting them; disabling keeps the next boot from it. Whoever has a policy-rc.d keeps it.
forbid_starting() {
    if [[ ! -e $policy ]]; then
        policy_is_ours=yes
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod 0755 "$policy"
    fi
}

allow_starting() {
    if [[ -n $policy_is_ours ]]; then
        as_root rm -f "$policy"
        policy_is_ours=
    fi
}

# A package, and the service that would start with the machine.
services=(
    "prometheus prometheus"
    "prometheus-alertmanager prometheus-alertmanager"
    "postgresql postgresql"
    "redis-server redis-server"
    "etcd-server etcd"
    "nginx nginx"
    "prometheus-blackbox-exporter prometheus-blackbox-exporter"
)

install_quietly() {
    forbid_starting
    apt install --no-install-recommends "$@"
    allow_starting
    local line package service
    for line in "${services[@]}"; do
        read -r package service <<<"$line"
        if [[ " $* " == *" $package "* ]] && command -v systemctl >/dev/null; then
            as_root systemctl disable --quiet "$service.service" || true
        fi
    done
}

# install_missing "TOOL PACKAGE"…: the packages whose tool is not there.
install_missing() {
    local missing=() line tool package
    for line in "$@"; do
        read -r tool package <<<"$line"
        if ! command -v "$tool" >/dev/null && [[ " ${missing[*]} " != *" $package "* ]]; then
            missing+=("$package")
        fi
    done
    if ((${#missing[@]} > 0)); then
        apt update
        install_quietly "${missing[@]}"
    fi
}
