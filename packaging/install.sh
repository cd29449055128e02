#!/bin/sh
# Installs Joblet as two services on a machine with systemd and cgroups v2, or brings an installation up to date.
#
#   install.sh WHEEL [NAME…]      as root, beside joblet-config.yml and systemd/
#
# WHEEL is the package; each NAME is a host name or an address that clients reach this machine by, for its certificate
# (its own are always in). pip's own settings hold: PIP_NO_INDEX=1 PIP_FIND_LINKS=FOLDER installs
# what Joblet needs from a folder of wheels instead of from an index.
#
# It may be run again: certificates and configuration that are there stay as they are, running jobs too.
# Runs in: an administrator's shell. May not: stop a job; overwrite a key.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
prefix=/opt/joblet
units=/etc/systemd/system

fail() { printf 'install.sh: %s\n' "$*" >&2; exit 1; }

[ $# -gt 0 ] || { sed -n 's/^#   //p' "$0" >&2; exit 2; }
wheel=$1
shift
[ "$(id -u)" -eq 0 ] || fail "must be run as root: it writes to $prefix and $units"
[ -f "$wheel" ] || fail "no such wheel: $wheel"
[ -d /run/systemd/system ] || fail "systemd does not run this machine; without it, start the server by hand: joblet serve"
[ -f /sys/fs/cgroup/cgroup.controllers ] ||
    fail "no cgroup v2 tree at /sys/fs/cgroup: boot with systemd.unified_cgroup_hierarchy=1 on the kernel command line"
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || fail "Joblet needs Python 3.11 or newer as python3"

umask 022
mkdir -p "$prefix"
# Its pip is what comes last into an environment: without one, it is missing or half made.
if [ ! -x "$prefix/venv/bin/pip" ]; then
    python3 -c 'import ensurepip' 2>/dev/null ||
        fail "python3 has no venv module with ensurepip; on Debian: apt-get install python3-venv"
    python3 -m venv "$prefix/venv" || fail "no virtual environment could be made in $prefix/venv: see above"
fi
pip() { "$prefix/venv/bin/pip" install --quiet "$@" || fail "pip could not install $wheel: see above"; }
# A wheel built again from changed sources has the same version: replaced first, then whatever else it needs is added.
[ ! -e "$prefix/venv/bin/joblet" ] || pip --no-deps --force-reinstall "$wheel"
pip "$wheel"
ln -sf "$prefix/venv/bin/joblet" "$prefix/venv/bin/rnx" /usr/local/bin/

if [ ! -e "$prefix/certs/ca-cert.pem" ]; then
    for name in "$@"; do
        set -- "$@" --host "$name"
        shift
    done
    "$prefix/venv/bin/joblet" certs init --dir "$prefix/certs" "$@"
elif [ $# -gt 0 ]; then
    echo "the certificates in $prefix/certs stay as they are; to have other names in the server's:" >&2
    echo "    joblet certs issue --role server --dir $prefix/certs --force$(printf ' --host %s' "$@")" >&2
fi
[ -e "$prefix/joblet-config.yml" ] || install -m 0644 "$here/joblet-config.yml" "$prefix/joblet-config.yml"
"$prefix/venv/bin/joblet" config check "$prefix/joblet-config.yml"

install -m 0644 "$here"/systemd/*.slice "$here"/systemd/*.service "$units/"
systemctl daemon-reload
systemctl enable --quiet joblet-supervisor.service joblet.service
# The server takes the new version at once; the supervisor, which owns the jobs, with its next start.
systemctl start joblet-supervisor.service
systemctl restart joblet.service
echo "joblet.service and joblet-supervisor.service are running; 'joblet doctor' tells whether they have all they need"
