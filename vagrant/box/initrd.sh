#!/bin/sh
# mmdebstrap's hook before the kernel is installed: an initrd of two drivers (ext4 is in the kernel) starts seconds
# sooner without KVM than one with every driver.
set -eu
root=$1
install -d "$root/etc/initramfs-tools/conf.d" "$root/usr/share/initramfs-tools/modules.d"
printf 'MODULES=list\nCOMPRESS=lz4\nFSTYPE=ext4\n' >"$root/etc/initramfs-tools/conf.d/joblet"
printf 'virtio_pci\nvirtio_blk\n' >"$root/usr/share/initramfs-tools/modules.d/joblet.conf"
