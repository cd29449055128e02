#!/bin/sh
# What the machine has before its snapshot is taken: everything that is not of this project, so that it stays the same
# while the project changes. Python packages come from vagrant/wheelhouse, never from a network.
# Runs in: the machine, as root; may be run again.
set -eu
wheelhouse=/vagrant/vagrant/wheelhouse

# The public box lacks some of these; the box of vagrant/box/build.sh has them all.
for program in rsync ip bwrap python3; do
    command -v "$program" >/dev/null && continue
    apt-get update -q
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends \
        rsync iproute2 procps ca-certificates bubblewrap python3 python3-venv python3-pip
    break
done

# The server's environment has what the server needs and no more; the tests' sees it, so that they test what is
# installed. Only the first has a pip of its own, which costs half a minute under emulation: an installation needs it.
python3 -m venv /opt/joblet/venv
python3 -m venv --without-pip /opt/joblet-tests
pip() { /opt/joblet/venv/bin/pip --python "$1/bin/python" install --quiet --no-index --no-deps "$2"/*.whl; }
pip /opt/joblet/venv "$wheelhouse/server"
pip /opt/joblet-tests "$wheelhouse/tests"
site=$(cd /opt/joblet/venv/lib/python3.*/site-packages && pwd)
echo "$site" >"/opt/joblet-tests/${site#/opt/joblet/venv/}/server.pth"
