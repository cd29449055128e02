#!/bin/sh
# Builds the Vagrant box joblet/bookworm64 (libvirt, direct kernel boot) from Debian's packages alone.
#
#   build.sh       as root, on Debian, with mmdebstrap, qemu-utils, e2fsprogs and vagrant installed
#
# It takes about 50 s and 400 MB, and does nothing when the box of these very files is there.
# Runs in: the host. May not: use a network but Debian's package source.
set -eu
umask 022
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
box=joblet/bookworm64
installed=${VAGRANT_HOME:-$HOME/.vagrant.d}/boxes/joblet-VAGRANTSLASH-bookworm64/0/libvirt
fingerprint=$(cat "$here"/* | sha256sum | cut -c1-64)

if [ "$(cat "$installed/fingerprint" 2>/dev/null)" = "$fingerprint" ]; then
    echo "the box $box is up to date"
    exit 0
fi

work=$(mktemp -d "${TMPDIR:-/var/tmp}/joblet-box.XXXXXX")
trap 'rm -rf -- "$work"' EXIT
trap 'exit 1' HUP INT TERM # in dash, a signal alone does not end by EXIT

# What a Debian server has, and what the benchmark of launches compares with (bubblewrap).
packages=systemd,systemd-sysv,dbus,udev,kmod,linux-image-cloud-amd64,busybox,openssh-server,sudo,rsync
packages=$packages,iproute2,procps,util-linux,ca-certificates,bubblewrap
packages=$packages,python3,python3-venv,python3-pip

VAGRANT_PUBLIC_KEY=$(find /usr/share -path '*vagrant*/keys/vagrant.pub' | head -n 1)
[ -n "$VAGRANT_PUBLIC_KEY" ] || { echo "build.sh: Vagrant's public key is not below /usr/share: is vagrant installed?" >&2; exit 1; }
export VAGRANT_PUBLIC_KEY

echo "installing Debian into $work"
mmdebstrap --quiet --variant=minbase --include="$packages" \
    --aptopt='Acquire::Languages "none"' \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-exclude=/usr/share/doc/*' \
    --essential-hook="$here/initrd.sh" --customize-hook="$here/customize.sh" \
    bookworm "$work/root"

echo "packing the box"
mkdir "$work/box"
cp "$work"/root/boot/vmlinuz-* "$work/box/vmlinuz"
cp "$work"/root/boot/initrd.img-* "$work/box/initrd.img"
truncate -s 8G "$work/disk.raw"
mkfs.ext4 -q -L root -E lazy_itable_init=1,nodiscard -d "$work/root" "$work/disk.raw"
qemu-img convert -O qcow2 "$work/disk.raw" "$work/box/box.img"
echo '{"provider": "libvirt", "format": "qcow2", "virtual_size": 8}' >"$work/box/metadata.json"
cp "$here/Vagrantfile" "$work/box/Vagrantfile"
echo "$fingerprint" >"$work/box/fingerprint"
tar -C "$work/box" -cf "$work/joblet.box" .
vagrant box add --force --name "$box" "$work/joblet.box"
